"""Bare samples from another program: `arecord -t raw -f S16_LE -r 16000 | evenvoice listen --stdin --rate 16000`."""

from __future__ import annotations

import time
from collections.abc import Iterator
from types import TracebackType
from typing import BinaryIO, Self

from gateway.microphone.sources import WIDTH, Block, block_frames, check_layout


class StdinSource:
    """Signed 16-bit little-endian samples until the pipe ends."""

    name = "standard input"
    waits = True
    dropped = 0

    def __init__(self, pipe: BinaryIO, *, sample_rate: int, channels: int = 1) -> None:
        """
        Raises:
            SourceError: a rate or a number of channels that is not accepted.
        """
        check_layout(self.name, sample_rate, channels)
        self._pipe = pipe
        self.sample_rate, self.channels = sample_rate, channels

    def captured(self) -> Iterator[Block]:
        """See `Source`; the last block may end within a sample."""
        size = WIDTH * self.channels * block_frames(self.sample_rate)
        while data := self._pipe.read(size):
            yield Block(data, time.monotonic())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """The pipe is its owner's."""
