"""One take: what was recorded, and where the speech in it is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from gateway.microphone.sources import WIDTH, Block, Lost, Source, SourceError
from gateway.streaming.endpointing import Endpointing, Event, Utterance
from gateway.streaming.listening import Listener
from gateway.streaming.vad import SpeechDetector
from recognizer.audio import Waveform

_PAUSE = 700  # milliseconds that end a take: longer than for a command, for whoever hesitates between two words of it


class TakeBroken(SourceError):
    """Samples were lost in the middle of a take."""


class SourceEnded(SourceError):
    """There is nothing more to record from."""


@dataclass(frozen=True)
class Take:
    """A recording from beginning to end, not only the speech that a detector found in it: what a detector misses, and
    whose, is for an audit to say."""

    waveform: Waveform
    """float32 [samples], mono, raw amplitude in [-1, 1]."""
    sample_rate: int
    """Hertz"""
    speech: tuple[float, float] | None
    """From when to when, seconds; None where the detector heard none."""

    @property
    def seconds(self) -> float:
        return len(self.waveform) / self.sample_rate


def record_take(source: Source, detector: SpeechDetector, *, seconds: float, on_begun: Callable[[], None]) -> Take:
    """Record until the speech is over, or for so many seconds where none is heard to end.

    Args:
        source: open.
        on_begun: called when the first samples are here, and so whatever is said from now on.

    Raises:
        TakeBroken: samples were lost.
        SourceEnded: none came.
    """
    listener = Listener(
        detector,
        sample_rate=source.sample_rate,
        channels=source.channels,
        endpointing=Endpointing(min_silence_ms=_PAUSE),
    )
    dropped, data = source.dropped, b""
    utterance: Utterance | None = None
    wanted = round(seconds * source.sample_rate) * source.channels * WIDTH
    for came in source.captured():
        if isinstance(came, Lost):
            raise TakeBroken(f"{came.why}; then record this again")
        if isinstance(came, Block):
            if not data:
                on_begun()
            data += came.data
            utterance = _first(listener.feed(came.data))
            if utterance is not None or len(data) >= wanted:
                data = data[:wanted]
                break
    if not data:
        raise SourceEnded(f"no sound is left in {source.name}")
    if utterance is None:
        utterance = _first(listener.finish())
    if source.dropped > dropped:
        raise TakeBroken(f"{source.dropped - dropped} blocks were lost while recording; close other programs")
    frames = np.frombuffer(data[: len(data) - len(data) % (WIDTH * source.channels)], dtype="<i2").astype(np.float32)
    waveform = (frames.reshape(-1, source.channels) / 32768.0).mean(axis=1)
    speech = None if utterance is None else (utterance.start, utterance.end)
    return Take(waveform, source.sample_rate, speech)


def _first(events: Sequence[Event]) -> Utterance | None:
    return next((event for event in events if isinstance(event, Utterance)), None)
