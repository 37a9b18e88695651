"""One thread that stores decisions: what has queued up shares a transaction, and so the cost of making it durable."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Sequence
from queue import Empty, SimpleQueue

import sqlalchemy as sa

from gateway.records import batch
from gateway.records.answers import forget_old
from gateway.records.clips import ClipFolder
from gateway.records.draft import Draft
from gateway.records.engine import for_writing
from gateway.records.entry import AnsweredBefore, Stored
from gateway.records.errors import RecordsError, cause_of, is_of_a_row

MOST_AT_ONCE = 256
"""Decisions in one transaction."""

_FORGET_SECONDS = 600.0
"""How often old answers are looked for."""

logger = logging.getLogger(__name__)


class Writer:
    """Stores drafts in the order in which they come; a draft's future is resolved once its row is durable."""

    def __init__(
        self, engine: sa.Engine, *, wait: float, clips: ClipFolder | None, at_once: int = MOST_AT_ONCE
    ) -> None:
        """
        Args:
            wait: seconds that one attempt may take, and that a draft may have waited before its own begins.
            clips: where clips are kept, if anywhere.
            at_once: decisions in one transaction.
        """
        self._engine = engine
        self._wait = wait
        self._clips = clips
        self._at_once = at_once
        self._connection: sa.Connection | None = None
        self._queue: SimpleQueue[Draft | None] = SimpleQueue()
        self._is_closed = False
        self._closing = threading.Lock()
        self._forget_at = 0.0
        self._thread = threading.Thread(target=self._run, name="records", daemon=True)
        self._thread.start()

    def add(self, draft: Draft) -> None:
        """
        Raises:
            RecordsError: the writer is closed.
        """
        with self._closing:
            if self._is_closed:
                raise RecordsError("the decision can't be stored: the records are closed")
            self._queue.put(draft)

    def close(self) -> None:
        """Store what is queued, and end."""
        with self._closing:
            if not self._is_closed:
                self._is_closed = True
                self._queue.put(None)
        self._thread.join()

    def _run(self) -> None:
        while drafts := self._take():
            running = [draft for draft in drafts if draft.future.set_running_or_notify_cancel()]
            try:
                self._write(running)
            except Exception as error:  # a fault of ours, which must not keep anybody waiting for ever
                logger.exception("decisions could not be stored")
                self._fail([draft for draft in running if not draft.future.done()], error)
            if self._queue.empty() and time.monotonic() > self._forget_at:
                self._forget()
        self._disconnect()

    def _take(self) -> list[Draft]:
        """What is queued, at least one draft; nothing once the writer is closed."""
        drafts: list[Draft] = []
        draft = self._queue.get()
        while draft is not None:
            drafts.append(draft)
            if len(drafts) == self._at_once:
                return drafts
            try:
                draft = self._queue.get_nowait()
            except Empty:
                return drafts
        if drafts:
            self._queue.put(None)  # the end, met once more when these are stored
        return drafts

    def _write(self, drafts: Sequence[Draft]) -> None:
        """Resolve every draft: stored, or failed. Of those with the same claim, each goes after the one before."""
        first: list[Draft] = []
        repeated: list[Draft] = []
        keys: set[str] = set()
        for draft in drafts:
            key = draft.claim.key if draft.claim else None
            (repeated if key in keys else first).append(draft)
            if key is not None:
                keys.add(key)
        ready = [draft for draft in first if self._is_in_time(draft) and self._keep_clip(draft)]
        try:
            if ready:
                self._store(ready)
        except Exception as error:
            if is_of_a_row(error) and len(ready) > 1:
                self._write_singly(ready)
            else:
                self._fail(ready, error)
        if repeated:
            self._write(repeated)

    def _write_singly(self, drafts: Sequence[Draft]) -> None:
        """Each in a transaction of its own: a row that can't be stored does not take its neighbours along."""
        for position, draft in enumerate(drafts):
            try:
                self._store([draft])
            except Exception as error:
                if not is_of_a_row(error):
                    self._fail(drafts[position:], error)
                    return
                self._fail([draft], error)

    def _is_in_time(self, draft: Draft) -> bool:
        """Whether a draft has time for an attempt; the one before it may have used it up."""
        if draft.waited <= self._wait:
            return True
        self._fail([draft], TimeoutError("the database did not answer in time"))
        return False

    def _keep_clip(self, draft: Draft) -> bool:
        if self._clips is not None and draft.entry.clip is not None:
            try:
                self._clips.keep(draft.entry.request_id, draft.entry.clip)
            except (OSError, ValueError) as error:
                self._fail([draft], error)
                return False
            draft.clip_is_kept = True
        return True

    def _store(self, drafts: Sequence[Draft]) -> None:
        """Store drafts in one transaction, and resolve them.

        Raises:
            Exception: whatever the database says; then none of them is stored, unless the commit itself was cut off.
        """
        answered = self._commit(drafts)
        held = []
        for draft in drafts:
            if draft in answered:
                self._remove_clips([draft])
                draft.future.set_result(answered[draft])
                continue
            try:
                if draft.hold_if_late():
                    held.append(draft)
                else:
                    draft.future.set_result(Stored(draft.decision))
            except Exception as error:
                self._fail([draft], error)
        if held:
            self._hold(held)

    def _commit(self, drafts: Sequence[Draft]) -> dict[Draft, AnsweredBefore]:
        """One transaction, from its beginning to its commit.

        A connection of before may be dead without anybody's knowing (the database was started again), so an attempt on
        one is made twice if time is left; but not its commit, which may have come through.
        """
        is_new = self._connection is None
        try:
            transaction, answered = self._begin(drafts)
        except Exception as error:
            if is_new or is_of_a_row(error) or drafts[0].waited > self._wait:
                raise
            transaction, answered = self._begin(drafts)
        try:
            transaction.commit()
        except BaseException:
            self._disconnect()
            raise
        return answered

    def _begin(self, drafts: Sequence[Draft]) -> tuple[sa.RootTransaction, dict[Draft, AnsweredBefore]]:
        try:
            connection = self._connected()
            transaction = connection.begin()
            return transaction, batch.insert(connection, drafts)
        except BaseException:
            self._disconnect()
            raise

    def _hold(self, drafts: Sequence[Draft]) -> None:
        """Correct rows whose commit ended too late to accept, before anybody is told of them."""
        try:
            connection = self._connected()
            with connection.begin():
                batch.hold(connection, drafts)
        except Exception as error:
            self._disconnect()
            self._fail(drafts, error)
            return
        for draft in drafts:
            draft.future.set_result(Stored(draft.decision))

    def _fail(self, drafts: Sequence[Draft], error: Exception) -> None:
        self._remove_clips(drafts)
        for draft in drafts:
            draft.future.set_exception(RecordsError(f"the decision can't be stored: {cause_of(error)}"))

    def _remove_clips(self, drafts: Sequence[Draft]) -> None:
        if self._clips is None:
            return
        try:
            self._clips.remove(draft.entry.request_id for draft in drafts if draft.clip_is_kept)
        except OSError:  # the retention finds them by their age
            logger.exception("clips without a stored decision could not be removed")

    def _forget(self) -> None:
        """Delete old answers; if that fails, nothing is lost but room."""
        try:
            connection = self._connected()
            with connection.begin():
                is_all = forget_old(connection)
        except Exception:
            is_all = True  # that can be tried for now
            self._disconnect()
        if is_all:
            self._forget_at = time.monotonic() + _FORGET_SECONDS

    def _connected(self) -> sa.Connection:
        if self._connection is None:
            self._connection = for_writing(self._engine.connect())
        return self._connection

    def _disconnect(self) -> None:
        """Let go of the connection, whatever state it is in; what it had not committed is undone."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.invalidate()
            connection.close()
