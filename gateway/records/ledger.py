"""The ledger of live fairness: counts stored decisions by group, exactly once, whichever process does it.

A pass takes in what was stored, holds it back, and releases what holds enough (`ledger_intake`), and settles the
sessions whose window is over (`ledger_sessions`), in small transactions. Each reads and computes first, holding no lock
that a decision could wait for, and then writes only if the ledger's version is still what it read: of several processes
that pass at once one writes, and what is erased meanwhile does not come back.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from threading import Lock
from typing import Any

import sqlalchemy as sa

from gateway.records.engine import writing
from gateway.records.errors import RecordsError, cause_of
from gateway.records.ledger_intake import take_in
from gateway.records.ledger_reading import Day, days_of, read_snapshot
from gateway.records.ledger_rows import State, advance, carry_out, state_of, upsert
from gateway.records.ledger_sessions import settle
from gateway.records.tables import LEDGER, LEDGER_MODELS
from monitoring.fairness import Bundle, Snapshot
from monitoring.live import LiveSettings
from monitoring.tally import Cell

AT_ONCE = {"sqlite": (32, 32), "postgresql": (256, 1024)}
"""Decisions and labels, or sessions, in one transaction: in the first of a pass, and at most in those after it, each of
which takes in twice as many as the one before. On SQLite a decision that is to be stored may wait for it. On PostgreSQL
none does, and what is read and written once a transaction is most of its work; where a large one takes longer than a
statement may, the small ones of the next pass go on all the same."""

GRACE_SECONDS = 4.0
"""How long after a command came its row may still be corrected, with the default deadline."""

_BETWEEN_SECONDS = 0.005
"""Between two transactions of a pass, for the decisions that wait to be stored; more where one took longer, so that a
pass with much to do leaves half of the time to others."""

_IDLE_SECONDS = 5.0
"""How often a pass that finds nothing says that it passed."""

_ANNOUNCE_SECONDS = 3600.0
"""How often a gateway says what it serves."""


class Ledger:
    """The ledger beside the decisions; usable from several threads, and beside other processes."""

    def __init__(
        self,
        engine: sa.Engine,
        settings: LiveSettings,
        *,
        grace: float = GRACE_SECONDS,
        now: Callable[[], float] = time.time,
    ) -> None:
        """
        Args:
            engine: of the records.
            settings: the same in every gateway on these records.
            grace: seconds since a command came within which its row may still be corrected: it is not counted before.
            now: seconds since the epoch.
        """
        self.settings = settings
        self._engine = engine
        self._grace = grace
        self._now = now
        self._served: Bundle | None = None
        self._announced = -_ANNOUNCE_SECONDS
        self._read: tuple[int, Snapshot] | None = None
        """The ledger's version, and what is released of it."""
        self._reading = Lock()

    def serve(self, bundle: Bundle) -> None:
        """Say that a bundle is served: its series begin, at zero, in every gateway on these records.

        Raises:
            RecordsError: that could not be stored; a pass will try again.
        """
        self._served, self._announced = bundle, -_ANNOUNCE_SECONDS
        try:
            self._announce()
        except (sa.exc.SQLAlchemyError, OSError) as error:
            raise RecordsError(f"the ledger can't be written: {cause_of(error)}") from None

    def run(self, *, unless_within: float = 0.0, is_over: Callable[[], bool] = lambda: False) -> None:
        """One pass: everything that is due.

        Args:
            unless_within: nothing is done if any process passed within so many seconds.
            is_over: asked between two transactions, whether to stop.

        Raises:
            RecordsError: the records can't be read or written; what was not done is done by a later pass.
        """
        try:
            self._announce()  # also where another process always passes first
            before = self._state()
            age = self._now() - before.passed_at
            if 0 <= age < unless_within or not self._go_through(is_over):
                return
            if not 0 <= age < _IDLE_SECONDS or self._state().version != before.version:
                self._say_passed()  # last: a pass that fails in its middle each time must not look like one
        except (sa.exc.SQLAlchemyError, OSError) as error:
            raise RecordsError(f"stored decisions can't be counted: {cause_of(error)}") from None

    def snapshot(self) -> Snapshot:
        """What is released. It is read anew where it has changed, and is never older than what another process showed
        before: Prometheus takes a counter that goes back for one that began again.

        Raises:
            RecordsError: it can't be read.
        """
        try:
            with self._reading, self._engine.connect() as connection:
                state = state_of(connection)
                if self._read is None or self._read[0] != state.version:
                    self._read = (state.version, read_snapshot(connection, state, self.settings, now=self._now()))
                return replace(self._read[1], passed_at=state.passed_at)
        except (sa.exc.SQLAlchemyError, OSError) as error:
            raise RecordsError(f"the ledger can't be read: {cause_of(error)}") from None

    def days(self) -> Mapping[Cell, Sequence[Day]]:
        """What was released on each of the last days.

        Raises:
            RecordsError: it can't be read.
        """
        try:
            with self._engine.connect() as connection:
                return days_of(connection, now=self._now())
        except (sa.exc.SQLAlchemyError, OSError) as error:
            raise RecordsError(f"the ledger can't be read: {cause_of(error)}") from None

    def _go_through(self, is_over: Callable[[], bool]) -> bool:
        """Do everything that is due; says whether it came to the end."""
        for step in (take_in, settle):  # a window is settled once all that was said in it is taken in
            at_once, most = AT_ONCE[self._engine.dialect.name]
            begun = time.monotonic()
            while step(self._engine, self.settings, now=self._now(), grace=self._grace, at_once=at_once):
                if is_over():
                    return False
                at_once = min(2 * at_once, most)
                time.sleep(max(_BETWEEN_SECONDS, time.monotonic() - begun))
                begun = time.monotonic()
        return True

    def _state(self) -> State:
        with self._engine.connect() as connection:
            return state_of(connection)

    def _announce(self) -> None:
        bundle = self._served
        if bundle is None or time.monotonic() - self._announced < _ANNOUNCE_SECONDS:
            return
        row: dict[str, Any] = {
            "model": bundle.model,
            "defenses": list(bundle.defenses),
            "vocabulary": {attribute: list(groups) for attribute, groups in bundle.vocabulary.items()},
            "served_at": datetime.fromtimestamp(self._now(), UTC),
        }
        with writing(self._engine) as connection:
            advance(connection)
            carry_out(connection, upsert(connection, LEDGER_MODELS, [row]))
        self._announced = time.monotonic()

    def _say_passed(self) -> None:
        with writing(self._engine) as connection:
            connection.execute(LEDGER.update().values(passed_at=self._now()))
