"""Noise that is drawn beforehand is drawn anew from time to time, so that nobody can learn it from decisions."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Sequence
from threading import Event, Thread

from recognizer.smoothing import BankVoting

logger = logging.getLogger(__name__)


class BankRenewal:
    """Replaces banks every so many seconds, in a thread of its own, until it is closed."""

    def __init__(self, banks: Sequence[BankVoting], *, seconds: float) -> None:
        self._banks, self._seconds = tuple(banks), seconds
        self._closing = Event()
        self._thread = Thread(target=self._run, name="bank-renewal", daemon=True)
        if self._banks:
            self._thread.start()

    def close(self) -> None:
        """Return once no bank is being drawn."""
        self._closing.set()
        if self._banks:
            self._thread.join()

    def _run(self) -> None:
        while not self._closing.wait(self._seconds):
            for bank in self._banks:
                try:
                    bank.renew(secrets.randbits(62))
                except (MemoryError, RuntimeError):  # torch's of no room; the old bank serves on until the next attempt
                    logger.exception("the noise bank could not be replaced; the old one stays in use")
