"""The register of speakers as a table beside the decisions."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from gateway.records.clips import ClipFolder
from gateway.records.engine import writing
from gateway.records.errors import RecordsError, cause_of
from gateway.records.retention import erase_speaker, truncate_log
from gateway.records.tables import SPEAKERS
from gateway.speakers import (
    AlreadyEnrolled,
    Declared,
    Enrolled,
    Erased,
    Groups,
    UnknownSpeaker,
    check_id,
    clean_declared,
    groups_of,
    is_id,
    nobody,
)
from recognizer.groups import Vocabulary


class TableRegister:
    """A `gateway.speakers.Register`; each look-up asks the database, so that an erasure holds at once everywhere."""

    def __init__(self, engine: sa.Engine, clips: ClipFolder | None = None) -> None:
        """
        Args:
            engine: of the records.
            clips: where clips are kept, if anywhere; a speaker's are erased with the speaker.
        """
        self._engine = engine
        self._clips = clips

    def groups(self, speaker: str | None, vocabulary: Vocabulary) -> Groups:
        return nobody(vocabulary) if speaker is None else groups_of(self.get(speaker).declared, vocabulary)

    def get(self, speaker: str) -> Enrolled:
        if not is_id(speaker):
            raise UnknownSpeaker
        with _errors(), self._engine.connect() as connection:
            row = connection.execute(sa.select(SPEAKERS).where(SPEAKERS.c.speaker == speaker)).one_or_none()
        if row is None:
            raise UnknownSpeaker
        return _enrolled(row)

    def enrol(self, speaker: str, declared: Declared, vocabulary: Vocabulary) -> Enrolled:
        check_id(speaker)
        now = datetime.now(UTC)
        entry = Enrolled(speaker, clean_declared(declared, vocabulary), now, now)
        with _errors(), writing(self._engine) as connection:
            statement = _insert(connection).on_conflict_do_nothing().returning(SPEAKERS.c.speaker)
            is_new = connection.execute(statement, [_row(entry)]).all()
        if not is_new:
            raise AlreadyEnrolled
        return entry

    def change(self, speaker: str, declared: Declared, vocabulary: Vocabulary) -> Enrolled:
        if not is_id(speaker):
            raise UnknownSpeaker
        cleaned = clean_declared(declared, vocabulary)
        wanted = SPEAKERS.c.speaker == speaker
        with _errors(), writing(self._engine) as connection:
            connection.execute(
                SPEAKERS.update().where(wanted).values(declared=dict(cleaned), changed_at=datetime.now(UTC))
            )
            row = connection.execute(sa.select(SPEAKERS).where(wanted)).one_or_none()
        if row is None:
            raise UnknownSpeaker
        return _enrolled(row)

    def erase(self, speaker: str) -> Erased:
        if "\0" in speaker:  # which no database stores; any other text may be an id of an older register
            raise UnknownSpeaker
        with _errors():
            with writing(self._engine) as connection:  # first of all: from now on nobody can name the speaker
                was_there = connection.execute(SPEAKERS.delete().where(SPEAKERS.c.speaker == speaker)).rowcount
            erased = erase_speaker(self._engine, self._clips, speaker)
            truncate_log(self._engine)
        if not was_there and erased == Erased():
            raise UnknownSpeaker
        return erased

    def list(self, *, after: str = "", limit: int = 1000) -> Sequence[Enrolled]:
        chosen = sa.select(SPEAKERS).where(SPEAKERS.c.speaker > after).order_by(SPEAKERS.c.speaker).limit(limit)
        with _errors(), self._engine.connect() as connection:
            return [_enrolled(row) for row in connection.execute(chosen)]

    def put(self, entries: Iterable[Enrolled]) -> tuple[int, int]:
        """Enrol speakers, and change those that are there, all of them or, where one fails, none.

        Returns:
            How many were enrolled, and how many changed.

        Raises:
            RecordsError: they can't be stored.
        """
        now = datetime.now(UTC)
        enrolled = changed = 0
        with _errors(), writing(self._engine) as connection:
            for entry in entries:
                row = _row(Enrolled(entry.speaker, entry.declared, now, now))
                new = _insert(connection).on_conflict_do_nothing().returning(SPEAKERS.c.speaker)
                if connection.execute(new, [row]).all():
                    enrolled += 1
                    continue
                there = SPEAKERS.update().where(SPEAKERS.c.speaker == entry.speaker)
                connection.execute(there.values(declared=dict(entry.declared), changed_at=now))
                changed += 1
        return enrolled, changed


def _insert(connection: sa.Connection) -> sqlite.Insert | postgresql.Insert:
    return (sqlite.insert if connection.dialect.name == "sqlite" else postgresql.insert)(SPEAKERS)


def _row(entry: Enrolled) -> dict[str, object]:
    return {
        "speaker": entry.speaker,
        "declared": dict(entry.declared),
        "enrolled_at": entry.enrolled_at,
        "changed_at": entry.changed_at,
    }


def _enrolled(row: sa.Row[tuple[object, ...]]) -> Enrolled:
    return Enrolled(row.speaker, row.declared, _utc(row.enrolled_at), _utc(row.changed_at))


def _utc(stored: datetime) -> datetime:
    """SQLite keeps no time zone; everything is stored in UTC."""
    return stored.replace(tzinfo=UTC) if stored.tzinfo is None else stored.astimezone(UTC)


@contextmanager
def _errors() -> Iterator[None]:
    try:
        yield
    except (sa.exc.SQLAlchemyError, OSError) as error:
        raise RecordsError(f"the register can't be read or written: {cause_of(error)}") from None
