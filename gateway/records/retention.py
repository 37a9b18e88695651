"""Erasing what is stored: of one speaker, or of everybody after some days."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

import sqlalchemy as sa

from gateway.records.clips import ClipFolder
from gateway.records.engine import pragma, writing
from gateway.records.errors import RecordsError
from gateway.records.ledger_rows import advance
from gateway.records.tables import ANSWERS, DECISIONS, HELD, SESSIONS, VOICES
from gateway.speakers import Erased

_AT_ONCE = 500
"""Decisions erased in one transaction: what is being served waits for it."""

_HOLDING = (HELD, SESSIONS, VOICES)
"""The ledger's tables that name speakers."""


def erase_speaker(engine: sa.Engine, clips: ClipFolder | None, speaker: str) -> Erased:
    """Erase the decisions, answers and clips of a speaker, and what the ledger holds back of them; cut off in the
    middle, it can be run again.

    Raises:
        RecordsError: there are kept clips, and no folder is given.
        SQLAlchemyError, OSError: something could not be erased.
    """
    erased = _erase(engine, clips, DECISIONS.c.speaker == speaker)  # first: a pass could take them in again
    return erased + _erase_held(engine, [table.c.speaker == speaker for table in _HOLDING])


def erase_older(engine: sa.Engine, clips: ClipFolder | None, than: datetime) -> Erased:
    """Erase what was received before a time: decisions, answers, clips, and what the ledger holds back of it.

    Raises:
        RecordsError: there are kept clips, and no folder is given.
        SQLAlchemyError, OSError: something could not be erased.
    """
    before = than.astimezone(UTC)
    which = [HELD.c.since < before, SESSIONS.c.first_at < before, VOICES.c.ends_at < before.timestamp()]
    erased = _erase(engine, clips, DECISIONS.c.received_at < before) + _erase_held(engine, which)
    left = 0 if clips is None else clips.remove_older(than)  # whose decision was never stored
    return erased + Erased(clips=left)


def truncate_log(engine: sa.Engine) -> bool:
    """Take what was erased out of SQLite's write-ahead log too; PostgreSQL's is its server's affair.

    Returns:
        Whether nothing is left in it; a reader at work keeps it.
    """
    if engine.dialect.name != "sqlite":
        return True
    answer = pragma(engine, "wal_checkpoint(TRUNCATE)")
    return answer is not None and answer[0] == 0  # 1: busy


def _erase_held(engine: sa.Engine, which: Sequence[sa.ColumnElement[bool]]) -> Erased:
    """Erase rows of the tables that name speakers; what was released of them stays, in sums."""
    with writing(engine) as connection:
        advance(connection)  # a pass that has read them writes nothing
        tallies = connection.execute(sa.select(HELD.c.tally).where(which[0], ~HELD.c.is_of_labels)).scalars()
        uncounted = sum(sum(tally["outcomes"].values()) for tally in tallies)
        for table, condition in zip(_HOLDING, which, strict=True):
            connection.execute(table.delete().where(condition))
    return Erased(uncounted=uncounted)


def _erase(engine: sa.Engine, clips: ClipFolder | None, which: sa.ColumnElement[bool]) -> Erased:
    erased = Erased()
    while True:
        with writing(engine) as connection:
            advance(connection)  # a pass that has read them writes nothing
            columns = (DECISIONS.c.request_id, DECISIONS.c.clip_type, DECISIONS.c.is_pending)
            chosen = sa.select(*columns).where(which).limit(_AT_ONCE)
            rows = connection.execute(chosen).all()
            ids = [row.request_id for row in rows]
            if clips is None and any(row.clip_type is not None for row in rows):
                raise RecordsError(
                    "clips were kept with these decisions; say in which folder, and they are erased with them"
                )
            # the clips first: cut off here, the rows still say that there are some
            removed = clips.remove(ids) if clips is not None else 0
            answers = connection.execute(ANSWERS.delete().where(ANSWERS.c.request_id.in_(ids))).rowcount
            connection.execute(DECISIONS.delete().where(DECISIONS.c.request_id.in_(ids)))
        erased += Erased(len(ids), answers, removed, uncounted=sum(row.is_pending is True for row in rows))
        if len(ids) < _AT_ONCE:
            return erased
