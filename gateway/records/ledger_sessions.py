"""Settling sessions whose window is over: bet on, in the order of their first commands, once each."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa

from gateway.records.engine import writing
from gateway.records.ledger_intake import session_of
from gateway.records.ledger_rows import Write, advance, carry_out, cell_of, delete, state_of, upsert, where_in
from gateway.records.tables import DECISIONS, EVIDENCE, LEDGER_MODELS, SESSIONS, VOICES
from monitoring.evidence import EvidenceKey, GroupEvidence, groups_bet_on, is_new_to
from monitoring.live import LiveSettings
from monitoring.sessions import Session, SessionKey
from monitoring.tally import Cell
from recognizer.groups import UNDECLARED, Vocabulary

_WHO = ("model", "defense", "speaker")
_Who = tuple[str, str, str]


def settle(engine: sa.Engine, settings: LiveSettings, *, now: float, grace: float, at_once: int) -> bool:
    """Bet on the sessions that ended, at most so many at once, in one transaction; see `take_in`.

    Returns:
        Whether there may be more.
    """
    with engine.connect() as connection:
        state = state_of(connection)
        order = (SESSIONS.c.ends_at, SESSIONS.c.first_at, *(SESSIONS.c[name] for name in _WHO))
        ended = sa.select(SESSIONS).where(SESSIONS.c.ends_at <= now - grace).order_by(*order).limit(at_once)
        sessions = [session_of(row) for row in connection.execute(ended)]
        if not sessions or connection.execute(_left(max(session.key.ends_at for session in sessions))).first():
            return False  # what was said in a window may not be taken in yet
        settlement = _Settlement(connection, settings, sessions, position=state.position)
        writes = list(settlement.writes(connection))
    with writing(engine) as connection:
        if not advance(connection, state, position=settlement.position):
            return False
        carry_out(connection, writes)
    return len(sessions) == at_once


def _left(before: int) -> sa.Select[Any]:
    """Whether anything that came before a time, seconds since the epoch, is not taken in. What came after may wait:
    under steady traffic something always does.
    """
    came = DECISIONS.c.received_at < datetime.fromtimestamp(before, UTC)
    return sa.select(DECISIONS.c.request_id).where(DECISIONS.c.is_pending, came).limit(1)


class _Settlement:
    """What some sessions change, computed from what the ledger holds."""

    def __init__(
        self, connection: sa.Connection, settings: LiveSettings, sessions: Sequence[Session], *, position: int
    ) -> None:
        self.position = position
        self._settings = settings
        self._sessions = sessions
        self._vocabularies = _vocabularies(connection, {session.key.model for session in sessions})
        self._evidence = _evidence(connection, settings.tolerance, sessions)
        self._touched: set[EvidenceKey] = set()
        self._voices: dict[tuple[Cell, str], tuple[int, int]] = {}
        self._last: dict[_Who, int] = {}
        self._known: defaultdict[tuple[_Who, str], set[str]] = defaultdict(set)
        whose = {_who(session.key) for session in sessions}
        for row in connection.execute(sa.select(VOICES).where(where_in(connection, VOICES, _WHO, whose))):
            who = (row.model, row.defense, row.speaker)
            self._last[who] = max(row.ends_at, self._last.get(who, row.ends_at))
            self._known[who, row.attribute].add(row.group)
        for session in sessions:
            self._settle(session)
        for key in self._touched:
            self._release(connection, key)

    def _settle(self, session: Session) -> None:
        who, score = _who(session.key), session.score
        is_settled = self._last.get(who, session.key.ends_at - 1) >= session.key.ends_at  # the clock was set
        if score is None or is_settled:
            return
        self.position += 1
        self._last[who] = session.key.ends_at
        for attribute, group in session.groups.items():
            if group == UNDECLARED:
                continue
            known = self._known[who, attribute]
            for other in dict.fromkeys((*groups_bet_on(self._vocabularies[session.key.model], attribute), group)):
                cell = Cell(session.key.model, session.key.defense, attribute, other)
                key = EvidenceKey(cell, self._settings.tolerance, session.key.session_seconds)
                evidence = self._evidence.setdefault(key, GroupEvidence.begin(self._settings.tolerance))
                is_of_group = other == group
                is_new = is_new_to(known, other, is_of_group=is_of_group)
                evidence.add(score, commands=session.decided, is_of_group=is_of_group, is_new=is_new)
                self._touched.add(key)
            known.add(group)
            cell = Cell(session.key.model, session.key.defense, attribute, group)
            self._voices[cell, session.key.speaker] = (session.key.ends_at, self.position)

    def _release(self, connection: sa.Connection, key: EvidenceKey) -> None:
        evidence = self._evidence[key]
        if evidence.is_due(self._settings.release):
            own, rest = (self._heard(connection, key, evidence.through, is_own=is_own) for is_own in (True, False))
            evidence.release(
                self._settings.release, own_speakers=len(own), rest_speakers=len(rest), through=self.position
            )

    def _heard(self, connection: sa.Connection, key: EvidenceKey, through: int, *, is_own: bool) -> set[str]:
        """Speakers of a group, or of the rest, whose sessions were settled since a position: all, or enough of them."""
        cell = key.cell
        of_side = VOICES.c.group == cell.group if is_own else VOICES.c.group != cell.group
        of_attribute = [VOICES.c[name] == getattr(cell, name) for name in ("model", "defense", "attribute")]
        before = (
            sa.select(VOICES.c.speaker)
            .where(*of_attribute, of_side, VOICES.c.position > through)
            .distinct()
            .limit(self._settings.release.speakers)
        )
        now = {
            speaker
            for heard, speaker in self._voices
            if heard[:3] == cell[:3] and (heard.group == cell.group) == is_own
        }
        return now | set(connection.execute(before).scalars())

    def writes(self, connection: sa.Connection) -> Iterator[Write]:
        keys = [session.key for session in self._sessions]
        yield from delete(connection, SESSIONS, SessionKey._fields, keys)
        voices = [
            {**cell._asdict(), "speaker": speaker, "ends_at": ends_at, "position": position}
            for (cell, speaker), (ends_at, position) in self._voices.items()
        ]
        yield from upsert(connection, VOICES, voices)
        rows = [_evidence_row(key, self._evidence[key]) for key in sorted(self._touched)]
        yield from upsert(connection, EVIDENCE, rows)


def _who(key: SessionKey) -> _Who:
    return (key.model, key.defense, key.speaker)


def _vocabularies(connection: sa.Connection, models: set[str]) -> Mapping[str, Vocabulary]:
    rows = connection.execute(sa.select(LEDGER_MODELS).where(LEDGER_MODELS.c.model.in_(models)))
    there = {row.model: {a: tuple(groups) for a, groups in row.vocabulary.items()} for row in rows}
    return {model: there.get(model, {}) for model in models}


def _evidence(
    connection: sa.Connection, tolerance: float, sessions: Sequence[Session]
) -> dict[EvidenceKey, GroupEvidence]:
    under = {(session.key.model, session.key.defense, session.key.session_seconds) for session in sessions}
    chosen = where_in(connection, EVIDENCE, ("model", "defense", "session_seconds"), under)
    rows = connection.execute(sa.select(EVIDENCE).where(chosen, EVIDENCE.c.tolerance == tolerance))
    return {
        EvidenceKey(cell_of(row), row.tolerance, row.session_seconds): GroupEvidence.from_json(
            row.current, row.released, row.tolerance
        )
        for row in rows
    }


def _evidence_row(key: EvidenceKey, evidence: GroupEvidence) -> dict[str, Any]:
    return {
        **key.cell._asdict(),
        "tolerance": key.tolerance,
        "session_seconds": key.session_seconds,
        "released": evidence.released.to_json(),
        "current": evidence.to_json(),
    }
