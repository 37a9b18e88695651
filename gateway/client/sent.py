"""When each sample of a stream was sent."""

from __future__ import annotations

from collections import deque
from threading import Lock
from typing import NamedTuple

from gateway.client.answer import LONGEST_VALID_MS

ROUNDING = 0.0002  # seconds: the gateway tells where an utterance ended to a tenth of a millisecond


class _Piece(NamedTuple):
    end: float
    """Seconds of the stream."""
    at: float
    """`clock.now()` seconds before it was sent."""


class SentLog:
    """Of one stream; written by who sends, read by who listens. Keeps no more than an acceptance can be old."""

    def __init__(self) -> None:
        self._pieces: deque[_Piece] = deque()
        self._from = 0.0  # seconds of the stream; what lies before is forgotten
        self._lock = Lock()

    def note(self, end: float, at: float) -> None:
        """The stream was sent up to `end` seconds of it, from `at` on."""
        with self._lock:
            while self._pieces and self._pieces[0].at < at - LONGEST_VALID_MS / 1000:
                self._from = self._pieces.popleft().end
            self._pieces.append(_Piece(end, at))

    def when(self, position: float) -> float | None:
        """When the sample at `position` seconds was sent, or somewhat before; None where none was, or long ago."""
        with self._lock:
            if not self._pieces or not self._from <= position <= self._pieces[-1].end + ROUNDING:
                return None
            at = self._pieces[-1].at
            for piece in reversed(self._pieces):  # what is asked for is recent
                if piece.end < position - ROUNDING:
                    break
                at = piece.at
            return at
