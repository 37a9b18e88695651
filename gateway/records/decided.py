"""A row of the table, as the decision that it is of."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from recognizer.decision import Certificate, Decision, Part, Reason
from recognizer.steps import steps_of


def decision_of(row: sa.Row[Any]) -> Decision:
    """The decision that a row is of, as far as it is stored: without words, candidates or what a defense was set to.

    Raises:
        ValueError: no evenvoice of this version stores such a row.
    """
    steps = steps_of(row.defense)
    has_certificate = bool(steps.rejectors) and row.confidence is not None
    certificate = Certificate(defense=steps.name, p_value=row.p_value, draws=row.draws) if has_certificate else None
    parts = tuple(_part_of(stored) for stored in row.parts or ())
    return Decision(row.command, Reason(row.reason), "", row.confidence, certificate=certificate, parts=parts)


def _part_of(stored: dict[str, Any]) -> Part:
    reason = Reason(stored["reason"])
    certificate = Certificate(defense=stored["defense"], p_value=stored["p_value"], draws=stored["draws"])
    command = "" if reason is Reason.OK else None  # which one, only the whole decision's row says
    return Part(stored["defense"], Decision(command, reason, "", stored["confidence"], certificate=certificate))
