"""What a stream may ask of a gateway."""

from __future__ import annotations

from dataclasses import dataclass, field

from gateway.serving import LARGEST_MESSAGE
from gateway.settings import Settings
from gateway.streaming.endpointing import Endpointing

MAX_FRAME_BYTES = LARGEST_MESSAGE
MAX_TEXT_BYTES = 4 << 10
SPEED = 4.0  # seconds of audio a second, in the long run
BURST_SECONDS = 5.0  # of audio, as fast as it comes: what a network that stalled has to make up for
CONTROL_SECONDS = 0.5  # of audio that asking for a decision counts for: no more of them than by speaking
MESSAGE_SECONDS = 0.002  # of audio that a message counts for at least, so that empty ones are paced too


@dataclass(frozen=True)
class StreamLimits:
    """Of one worker."""

    streams: int = 16
    """Open at once."""
    idle_seconds: float = 30.0
    """A stream that sends nothing for so long is closed."""
    stream_seconds: float = 3600.0
    """So long a stream may be, by its audio and by the clock."""
    endpointing: Endpointing = field(default_factory=Endpointing)

    @classmethod
    def of(cls, settings: Settings) -> StreamLimits:
        return cls(settings.streams, settings.stream_idle_seconds, settings.stream_seconds)


class Pace:
    """How far a sender is ahead of `SPEED` times real time: a bucket that leaks."""

    def __init__(self, now: float) -> None:
        self._ahead = 0.0  # seconds of audio
        self._at = now

    def wait(self, seconds: float, now: float) -> float:
        """Seconds to wait before anything more is read, after so many seconds of audio came.

        What is not read fills the connection's buffers, and TCP slows the sender down; nothing is lost.
        """
        self._ahead = max(0.0, self._ahead - SPEED * (now - self._at)) + max(seconds, MESSAGE_SECONDS)
        self._at = now
        return max(0.0, self._ahead - BURST_SECONDS) / SPEED
