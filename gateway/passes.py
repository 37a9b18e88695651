"""The ledger's passes, one after the other, in a thread of their own."""

from __future__ import annotations

import logging
from threading import Event, Thread

from gateway.records import RecordsError
from gateway.records.ledger import Ledger

_HALF = 0.5
"""Of the time between two passes: a process leaves one out where another has just passed."""

logger = logging.getLogger(__name__)


class Passes:
    """Passes through the stored decisions every so many seconds, until it is closed."""

    def __init__(self, ledger: Ledger, *, seconds: float) -> None:
        self._ledger, self._seconds = ledger, seconds
        self._closing = Event()
        self._fails = False
        self._thread = Thread(target=self._run, name="ledger", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Return once no pass is under way; what it leaves, the next gateway counts."""
        self._closing.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._closing.wait(self._seconds):
            try:
                self._ledger.run(unless_within=_HALF * self._seconds, is_over=self._closing.is_set)
            except RecordsError as error:
                self._tell(str(error))
            except Exception:
                logger.exception("stored decisions could not be counted")
            else:
                self._fails = False

    def _tell(self, words: str) -> None:
        """Once, until it works again: a database that is gone is tried every second."""
        if not self._fails:
            logger.warning("%s; this is tried again", words)
        self._fails = True
