"""Audits in the records, beside the decisions that they are to be compared with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict

import sqlalchemy as sa

from gateway.records.engine import writing
from gateway.records.errors import RecordsError, cause_of
from gateway.records.tables import AUDITS
from monitoring.audit.history import HistoryRow


def store_audit(engine: sa.Engine, rows: Sequence[HistoryRow]) -> None:
    """Store an audit's rows; a run that is stored already is replaced.

    Raises:
        RecordsError: the database does not take them; none is stored then.
    """
    if not rows:
        return
    try:
        with writing(engine) as connection:
            connection.execute(sa.delete(AUDITS).where(AUDITS.c.run.in_({row.run for row in rows})))
            connection.execute(sa.insert(AUDITS), [asdict(row) for row in rows])
    except (sa.exc.SQLAlchemyError, OSError) as error:
        raise RecordsError(f"the audit can't be stored in the records: {cause_of(error)}") from None
