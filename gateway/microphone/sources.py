"""Where samples come from: a microphone, a file or standard input, behind one protocol."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import Protocol, Self

from recognizer.audio import MAX_CHANNELS, MAX_RATE, MIN_RATE

WIDTH = 2  # bytes a sample
BLOCK_SECONDS = 0.01  # a third of what a detector hears at once, which so waits little for its last sample


class SourceError(RuntimeError):
    """Samples that can't be had; the message says why, and what to do."""


@dataclass(frozen=True)
class Block:
    """Samples, in order."""

    data: bytes
    """Signed 16-bit little-endian, channels interleaved."""
    heard_at: float
    """`time.monotonic()` seconds at which the last of them was here."""


@dataclass(frozen=True)
class Lost:
    """The samples break off: what comes next does not follow what came."""

    why: str


class Source(Protocol):
    """Open between `__enter__` and `__exit__`; the rate is known from then on."""

    @property
    def name(self) -> str:
        """For people."""
        ...

    @property
    def sample_rate(self) -> int:
        """Hertz."""
        ...

    @property
    def channels(self) -> int: ...

    @property
    def waits(self) -> bool:
        """Whether nothing is lost where the reader is slow."""
        ...

    @property
    def dropped(self) -> int:
        """Blocks that were lost since it was opened."""
        ...

    def captured(self) -> Iterator[Block | Lost | None]:
        """Blocks as they come; None every now and then where none comes, so that the reader can look around."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


def block_frames(sample_rate: int) -> int:
    """Samples a channel in a block."""
    return round(BLOCK_SECONDS * sample_rate)


def check_layout(name: str, sample_rate: int, channels: int) -> None:
    """
    Raises:
        SourceError: a rate or a number of channels that no gateway takes.
    """
    if not MIN_RATE <= sample_rate <= MAX_RATE:
        raise SourceError(f"{name} has {sample_rate:,} samples a second; {MIN_RATE:,} to {MAX_RATE:,} are accepted")
    if not 1 <= channels <= MAX_CHANNELS:
        raise SourceError(f"{name} has {channels} channels; 1 or 2 are accepted")
