"""Bare samples from another program: `arecord -t raw -f S16_LE -r 16000 | evenvoice listen --stdin --rate 16000`."""

from __future__ import annotations

import os
import select
import time
from collections.abc import Iterator
from types import TracebackType
from typing import Self

from gateway.microphone.sources import WIDTH, Block, block_frames, check_layout

_TICK = 0.1  # seconds that a pipe without samples is waited for before the reader looks around


class StdinSource:
    """Signed 16-bit little-endian samples until the pipe ends."""

    name = "standard input"
    waits = True
    dropped = 0

    def __init__(self, descriptor: int, *, sample_rate: int, channels: int = 1) -> None:
        """
        Args:
            descriptor: of the pipe, of which nothing was read: a buffer above it would keep samples back.

        Raises:
            SourceError: a rate or a number of channels that is not accepted.
        """
        check_layout(self.name, sample_rate, channels)
        self._descriptor = descriptor
        self.sample_rate, self.channels = sample_rate, channels

    def captured(self) -> Iterator[Block | None]:
        """See `Source`; the last block may end within a sample."""
        frame = WIDTH * self.channels
        size = frame * block_frames(self.sample_rate)
        begun = b""  # of a frame whose rest has not come
        while True:
            if not select.select([self._descriptor], [], [], _TICK)[0]:
                yield None
                continue
            came = os.read(self._descriptor, size)
            data = begun + came
            whole = len(data) - len(data) % frame if came else len(data)
            begun = data[whole:]
            if whole:
                yield Block(data[:whole], time.monotonic())
            if not came:
                return

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """The pipe is its owner's."""
