"""Taking decisions and labels into the ledger: held back, released in lots, and added to their speakers' sessions."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, NamedTuple

import sqlalchemy as sa

from gateway.records.decided import decision_of
from gateway.records.engine import writing
from gateway.records.ledger_rows import (
    CELL,
    Write,
    advance,
    carry_out,
    cell_of,
    delete,
    state_of,
    unmark,
    upsert,
    utc,
    where_in,
)
from gateway.records.tables import DECISIONS, HELD, LEDGER_MODELS, SESSIONS, TALLIES, TALLY_DAYS
from monitoring.live import LiveSettings, count, count_label, label_result
from monitoring.release import NOBODY, Lot, Lots
from monitoring.sessions import Session, SessionKey
from monitoring.tally import Cell, Tally
from recognizer.decision import Decision
from recognizer.recognizer import short_version

_READ = [
    DECISIONS.c[name]
    for name in (
        *("request_id", "received_at", "speaker", "groups", "model", "true_command"),
        *("reason", "command", "defense", "confidence", "p_value", "draws", "parts"),
    )
]
"""What is counted of a decision, and `decision_of` asks for."""

_HELD_KEY = (*CELL, "is_of_labels", "speaker")
_SESSION_KEY = SessionKey._fields
_DAY_COUNTS = frozenset({"accepted", "rejected"})

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Seen:
    """One stored decision."""

    row: sa.Row[Any]
    decision: Decision


class _Voice(NamedTuple):
    """Who said something, in which groups, under what; all of one voice counts alike."""

    model: str
    """Short version of the bundle."""
    defense: str
    speaker: str | None
    groups: tuple[tuple[str, str], ...]
    """Attribute, group."""

    @property
    def cells(self) -> list[Cell]:
        return [Cell(self.model, self.defense, attribute, group) for attribute, group in self.groups]


@dataclass
class _Heard:
    """What one voice adds."""

    since: datetime
    """Of the first of it."""
    tally: Tally = field(default_factory=Tally)


def take_in(engine: sa.Engine, settings: LiveSettings, *, now: float, grace: float, at_once: int) -> bool:
    """Take in what was stored last, in one transaction.

    Args:
        now: seconds since the epoch.
        grace: what came less than so many seconds ago is left for later.
        at_once: decisions, and labels, at most.

    Returns:
        Whether there may be more.
    """
    with engine.connect() as connection:
        state = state_of(connection)
        decisions = connection.execute(due(now, grace).limit(at_once)).all()
        waiting = sa.select(*_READ).where(DECISIONS.c.is_label_pending).order_by(DECISIONS.c.labelled_at)
        labels = connection.execute(waiting.limit(at_once)).all()
        if not decisions and not labels:
            return False
        day = datetime.fromtimestamp(now, UTC)
        writes = [
            *_Intake(connection, settings, _readable(decisions), _readable(labels)).writes(connection, day),
            *unmark(connection, "is_pending", [row.request_id for row in decisions]),
            *unmark(connection, "is_label_pending", [row.request_id for row in labels]),
        ]
    with writing(engine) as connection:
        if not advance(connection, state):
            return False  # somebody else does it
        carry_out(connection, writes)
    return max(len(decisions), len(labels)) == at_once


def due(now: float, grace: float) -> sa.Select[Any]:
    """The decisions that are to be taken in, in the order in which they came.

    Those of the future came before the clock was set back.
    """
    received = DECISIONS.c.received_at
    before, after = (datetime.fromtimestamp(now + sign * grace, UTC) for sign in (-1, 1))
    is_due = (received <= before) | (received > after)
    return sa.select(*_READ).where(DECISIONS.c.is_pending, is_due).order_by(received)


class _Intake:
    """What some decisions and labels change, computed from what the ledger holds."""

    def __init__(
        self, connection: sa.Connection, settings: LiveSettings, decisions: Sequence[_Seen], labels: Sequence[_Seen]
    ) -> None:
        commands: dict[_Voice, _Heard] = {}
        for seen in decisions:
            count(seen.decision, _tally_of(seen.row, commands))
        labelled: dict[_Voice, _Heard] = {}
        for seen in labels:
            result = label_result(seen.decision.outcome, seen.decision.command, seen.row.true_command)
            if result is not None:
                count_label(result, _tally_of(seen.row, labelled))
        cells = {cell for voice in (*commands, *labelled) for cell in voice.cells}
        self._held_before = _held(connection, cells)
        self._since = {key: since for key, (since, _) in self._held_before.items()}
        by_lot: dict[Lot, dict[str, Tally]] = {}
        for (cell, is_of_labels, speaker), (_, tally) in self._held_before.items():
            by_lot.setdefault(Lot(cell, is_of_labels, speaker != NOBODY), {})[speaker] = tally
        self._lots = Lots(settings.release, by_lot)
        self._hold(commands, is_label=False)
        self._hold(labelled, is_label=True)
        self._released = self._lots.release()
        self._tallies = _tallies(connection, {lot.cell for lot in self._released})
        for lot, tally in self._released.items():
            self._tallies.setdefault(lot.cell, Tally()).add(tally)
        self._sessions = _sessions(connection, settings.session_seconds, decisions)
        self._models = {cell.model for cell in cells}

    def _hold(self, by_voice: Mapping[_Voice, _Heard], *, is_label: bool) -> None:
        for voice, heard in by_voice.items():
            for cell in voice.cells:
                self._lots.add(cell, heard.tally, speaker=voice.speaker, is_label=is_label)
                key = (cell, is_label, voice.speaker or NOBODY)
                self._since[key] = min(heard.since, self._since.get(key, heard.since))

    def writes(self, connection: sa.Connection, day: datetime) -> Iterator[Write]:
        """
        Args:
            day: on which it is released.
        """
        gone = [
            (*cell, is_of_labels, speaker)
            for cell, is_of_labels, speaker in self._held_before
            if Lot(cell, is_of_labels, speaker != NOBODY) in self._released
        ]
        yield from delete(connection, HELD, _HELD_KEY, gone)
        yield from upsert(connection, HELD, list(self._held_rows()))
        tallies = [{**cell._asdict(), "tally": tally.to_json()} for cell, tally in self._tallies.items()]
        yield from upsert(connection, TALLIES, tallies)
        yield from upsert(connection, TALLY_DAYS, list(self._day_rows(day)), summed=_DAY_COUNTS)
        yield from upsert(connection, SESSIONS, [_session_row(session) for session in self._sessions])
        yield from upsert(connection, LEDGER_MODELS, self._unnamed_models(connection, day))

    def _held_rows(self) -> Iterable[dict[str, Any]]:
        for lot, by_speaker in self._lots.held.items():
            for speaker, tally in by_speaker.items():
                since = self._since[lot.cell, lot.is_of_labels, speaker]
                key = dict(zip(_HELD_KEY, (*lot.cell, lot.is_of_labels, speaker), strict=True))
                yield {**key, "since": since, "tally": tally.to_json()}

    def _day_rows(self, day: datetime) -> Iterable[dict[str, Any]]:
        by_cell: dict[Cell, Tally] = {}
        for lot, tally in self._released.items():
            by_cell.setdefault(lot.cell, Tally()).add(tally)
        for cell, tally in by_cell.items():
            counts = {name: tally.outcomes[name] for name in _DAY_COUNTS}
            if any(counts.values()):
                yield {**cell._asdict(), "day": day.date(), **counts}

    def _unnamed_models(self, connection: sa.Connection, now: datetime) -> list[dict[str, Any]]:
        """Bundles that are served no more, or not since there is a ledger: what is released of them is shown too."""
        there = set(connection.execute(sa.select(LEDGER_MODELS.c.model)).scalars())
        unnamed = sorted(self._models - there)
        return [{"model": model, "defenses": [], "vocabulary": {}, "served_at": now} for model in unnamed]


def _readable(rows: Sequence[sa.Row[Any]]) -> list[_Seen]:
    """The rows that can be read; one that can't, of whatever made it, must not hold up those after it for ever."""
    seen = []
    for row in rows:
        try:
            seen.append(_Seen(row, decision_of(row)))
        except (ValueError, LookupError, TypeError) as error:
            logger.error("the decision %s can't be counted: %s", row.request_id, error)
    return seen


def _tally_of(row: sa.Row[Any], heard: dict[_Voice, _Heard]) -> Tally:
    """What a decision, or its label, is added to first: its voice's own sum, one for all its cells."""
    received = utc(row.received_at)
    voice = _Voice(short_version(row.model), row.defense, row.speaker, tuple(row.groups.items()))
    if voice not in heard:
        heard[voice] = _Heard(received)
    heard[voice].since = min(received, heard[voice].since)
    return heard[voice].tally


def _held(connection: sa.Connection, cells: Iterable[Cell]) -> dict[tuple[Cell, bool, str], tuple[datetime, Tally]]:
    rows = connection.execute(sa.select(HELD).where(where_in(connection, HELD, CELL, list(cells))))
    return {(cell_of(row), row.is_of_labels, row.speaker): (utc(row.since), Tally.from_json(row.tally)) for row in rows}


def _tallies(connection: sa.Connection, cells: Iterable[Cell]) -> dict[Cell, Tally]:
    rows = connection.execute(sa.select(TALLIES).where(where_in(connection, TALLIES, CELL, list(cells))))
    return {cell_of(row): Tally.from_json(row.tally) for row in rows}


def _sessions(connection: sa.Connection, session_seconds: int, decisions: Sequence[_Seen]) -> list[Session]:
    """The sessions of registered speakers, as these decisions leave them."""
    of_speakers = [
        (
            SessionKey.of(
                utc(seen.row.received_at),
                session_seconds,
                model=short_version(seen.row.model),
                defense=seen.row.defense,
                speaker=seen.row.speaker,
            ),
            seen,
        )
        for seen in decisions
        if seen.row.speaker is not None
    ]
    keys = {key for key, _ in of_speakers}
    rows = connection.execute(sa.select(SESSIONS).where(where_in(connection, SESSIONS, _SESSION_KEY, keys)))
    sessions = {session.key: session for session in map(session_of, rows)}
    for key, seen in of_speakers:
        at, groups = utc(seen.row.received_at), seen.row.groups
        if key not in sessions:
            sessions[key] = Session(key, at, groups)
        sessions[key].add(at, groups, seen.decision.outcome)
    return list(sessions.values())


def session_of(row: sa.Row[Any]) -> Session:
    key = SessionKey(*(row._mapping[name] for name in _SESSION_KEY))
    return Session(key, utc(row.first_at), row.groups, row.decided, row.rejected)


def _session_row(session: Session) -> Mapping[str, Any]:
    return {
        **session.key._asdict(),
        "first_at": session.first_at,
        "groups": dict(session.groups),
        "decided": session.decided,
        "rejected": session.rejected,
    }
