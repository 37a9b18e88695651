"""Every decision, stored before it is answered: no record, no acceptance."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from gateway.records.answers import answers_of
from gateway.records.clips import ClipFolder
from gateway.records.draft import Draft
from gateway.records.engine import open_engine, parse_url, writing
from gateway.records.entry import AnsweredBefore, Claim, Entry, Recorded, Stored
from gateway.records.errors import LabelledBefore, NotRecorded, RecordsError, cause_of
from gateway.records.register import TableRegister
from gateway.records.tables import DECISIONS
from gateway.records.writer import MOST_AT_ONCE, Writer
from gateway.settings import Sync
from recognizer.decision import Decision, Outcome

if TYPE_CHECKING:
    from gateway.records.ledger import Ledger
    from monitoring.live import LiveSettings


class Records:
    """The records that a URL names; usable from several threads, and beside other processes."""

    def __init__(
        self,
        url: str,
        *,
        sync: Sync = Sync.NORMAL,
        audio: Path | None = None,
        busy_seconds: float = 2.0,
        at_once: int = MOST_AT_ONCE,
    ) -> None:
        """
        Args:
            url: SQLAlchemy's, of SQLite or PostgreSQL, that `migrate` has seen.
            sync: what a stored decision survives.
            audio: a folder for clips as they came; without it nothing of audio is stored.
            busy_seconds: how long a database that is locked or gone may keep anybody waiting, about.
            at_once: decisions in one transaction.

        Raises:
            RecordsError: the database can't be opened, or an older or newer evenvoice made it.
        """
        wait = busy_seconds / 2  # an attempt may have to wait for the one before it
        self._engine = open_engine(parse_url(url), sync=sync, wait=wait)
        try:
            self._clips = None if audio is None else ClipFolder(audio, sync=sync)
        except OSError as error:
            self._engine.dispose()
            raise RecordsError(f"the folder for audio {audio} can't be made: {error.strerror}") from None
        self._writer = Writer(self._engine, wait=wait, clips=self._clips, at_once=at_once)

    def add(
        self, entry: Entry, *, until: float, late: Callable[[Decision], Decision], claim: Claim | None = None
    ) -> Future[Stored | AnsweredBefore]:
        """Store one decision; once the future is resolved, it is durable.

        Args:
            entry: the decision and what belongs to it.
            until: `time.perf_counter()` after which it is too late to accept.
            late: what an acceptance becomes then; called in the thread that writes.
            claim: stores the answer too, once for all requests with the claim's key.

        Returns:
            A future that is resolved within about `busy_seconds`; it raises `RecordsError` where the decision could
            not be stored.

        Raises:
            RecordsError: the records are closed.
        """
        draft = Draft(entry, until, late, claim, entry.decision)
        self._writer.add(draft)
        return draft.future

    def earlier(self, key: str) -> AnsweredBefore | None:
        """What a claim's key was answered before; None where it was not.

        Raises:
            RecordsError: the records can't be read.
        """
        try:
            with self._engine.connect() as connection:
                return answers_of(connection, [key]).get(key)
        except (sa.exc.SQLAlchemyError, OSError) as error:
            raise RecordsError(f"the stored answers can't be read: {cause_of(error)}") from None

    def label(self, request_id: str, true_command: str) -> Recorded:
        """Store the true command of a decision, once ever, whichever process is asked first.

        Raises:
            NotRecorded: no such decision.
            LabelledBefore: it has a label.
            RecordsError: it could not be stored.
        """
        wanted = DECISIONS.c.request_id == request_id
        try:
            with writing(self._engine) as connection:
                changed = connection.execute(
                    DECISIONS.update()
                    .where(wanted, DECISIONS.c.true_command.is_(None))
                    .values(true_command=true_command, labelled_at=datetime.now(UTC), is_label_pending=True)
                ).rowcount
                row = connection.execute(sa.select(DECISIONS).where(wanted)).one_or_none()
        except (sa.exc.SQLAlchemyError, OSError) as error:
            raise RecordsError(f"the label can't be stored: {cause_of(error)}") from None
        if row is None:
            raise NotRecorded(f"no decision has the request id {request_id}")
        if not changed:
            raise LabelledBefore("the decision has its true command already; it is counted once")
        return Recorded(Outcome(row.outcome), row.command, row.defense, row.speaker, row.groups, row.model)

    def register(self) -> TableRegister:
        """The register of speakers beside the decisions; it is closed with the records."""
        return TableRegister(self._engine, self._clips)

    def ledger(self, settings: LiveSettings | None = None, **options: Any) -> Ledger:
        """The ledger of live fairness beside the decisions, for these settings and options of its own; see there. It
        is closed with the records.
        """
        from gateway.records.ledger import Ledger  # which loads torch, as the command line need not
        from monitoring.live import LiveSettings

        return Ledger(self._engine, settings or LiveSettings(), **options)

    def close(self) -> None:
        """Store what is under way, and let go of the database."""
        self._writer.close()
        self._engine.dispose()
