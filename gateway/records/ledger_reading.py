"""Reading what the ledger has released."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

import sqlalchemy as sa

from gateway.records.ledger_rows import CELL, State, cell_of
from gateway.records.tables import EVIDENCE, LEDGER_MODELS, TALLIES, TALLY_DAYS
from monitoring.evidence import Standing
from monitoring.fairness import Bundle, Snapshot
from monitoring.live import LiveSettings
from monitoring.tally import Cell, Tally

SHOWN = timedelta(days=30)
"""The series of a bundle end so long after it was last served."""

DAYS = timedelta(days=90)
"""How far back single days are told."""


@dataclass(frozen=True)
class Day:
    """What was released of a group on one day."""

    day: date
    """UTC"""
    accepted: int
    rejected: int


def read_snapshot(connection: sa.Connection, state: State, settings: LiveSettings, *, now: float) -> Snapshot:
    """
    Args:
        state: read before, so that what is newer is read again.
        now: seconds since the epoch.
    """
    since = datetime.fromtimestamp(now, UTC) - SHOWN
    models = connection.execute(sa.select(LEDGER_MODELS).where(LEDGER_MODELS.c.served_at >= since)).all()
    shown = [row.model for row in models]
    tallies = connection.execute(sa.select(TALLIES).where(TALLIES.c.model.in_(shown)))
    evidence = connection.execute(
        sa.select(EVIDENCE).where(
            EVIDENCE.c.model.in_(shown),
            EVIDENCE.c.tolerance == settings.tolerance,
            EVIDENCE.c.session_seconds == settings.session_seconds,
        )
    )
    return Snapshot(
        ledger=state.id,
        passed_at=state.passed_at,
        settings=settings,
        bundles=tuple(
            Bundle(row.model, {a: tuple(groups) for a, groups in row.vocabulary.items()}, tuple(row.defenses))
            for row in models
        ),
        tallies={cell_of(row): Tally.from_json(row.tally) for row in tallies},
        standings={cell_of(row): Standing.from_json(row.released, row.tolerance) for row in evidence},
    )


def days_of(connection: sa.Connection, *, now: float) -> Mapping[Cell, Sequence[Day]]:
    """Each cell's days on which something was released, in order."""
    since = (datetime.fromtimestamp(now, UTC) - DAYS).date()
    columns = [TALLY_DAYS.c[name] for name in (*CELL, "day", "accepted", "rejected")]
    rows = connection.execute(sa.select(*columns).where(TALLY_DAYS.c.day >= since).order_by(TALLY_DAYS.c.day))
    days: defaultdict[Cell, list[Day]] = defaultdict(list)
    for *cell, day, accepted, rejected in rows:  # there may be tens of thousands
        days[Cell(*cell)].append(Day(day, accepted, rejected))
    return days
