"""When a sample of a stream was here."""

from __future__ import annotations

from collections import deque

from gateway.microphone.sources import WIDTH, Block

_KEPT = 1024  # blocks: ten seconds


class Arrivals:
    """Follows one unbroken stream of blocks."""

    def __init__(self, channels: int) -> None:
        self._frame = WIDTH * channels
        self._bytes = 0
        self._blocks: deque[tuple[int, float]] = deque(maxlen=_KEPT)

    def add(self, block: Block) -> None:
        self._bytes += len(block.data)
        self._blocks.append((self._bytes // self._frame, block.heard_at))

    def at(self, position: int) -> float:
        """`time.monotonic()` seconds at which so many samples a channel had come."""
        return next((heard_at for samples, heard_at in self._blocks if samples >= position), self._blocks[-1][1])
