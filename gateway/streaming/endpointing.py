"""Where utterances begin and end: blocks of samples with the probability of speech in, events out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from recognizer.audio import AudioFormat, Clip, TooLong, Waveform, admit


@dataclass(frozen=True)
class Endpointing:
    """When speech counts as an utterance."""

    threshold: float = 0.5
    """Speech begins at this probability ..."""
    hysteresis: float = 0.15
    """... and pauses this much below it, as in Silero's own `VADIterator`."""
    min_speech_ms: int = 100
    """Shorter sounds are no utterance, milliseconds."""
    min_silence_ms: int = 300
    """So long a pause ends an utterance, milliseconds."""
    pre_roll_ms: int = 200
    """What goes before the speech into its waveform, milliseconds."""
    post_roll_ms: int = 100
    """What of the pause goes into it, milliseconds."""
    max_utterance_ms: int = 4000
    """A longer waveform is cut, milliseconds."""

    def __post_init__(self) -> None:
        if not 0 < self.threshold - self.hysteresis <= self.threshold < 1:
            raise ValueError(
                f"the threshold, {self.threshold}, and the threshold less hysteresis, "
                f"{self.threshold - self.hysteresis:g}, must lie in (0, 1), the latter not above"
            )
        if min(self.min_speech_ms, self.pre_roll_ms, self.post_roll_ms) < 0:
            raise ValueError("min_speech_ms, pre_roll_ms and post_roll_ms are at least 0")
        if self.min_silence_ms < max(self.post_roll_ms, 1):
            raise ValueError(
                f"min_silence_ms, {self.min_silence_ms}, must be positive and not below post_roll_ms, "
                f"{self.post_roll_ms}: the latter is part of the pause"
            )
        shortest = self.pre_roll_ms + self.min_speech_ms + self.post_roll_ms
        if self.max_utterance_ms <= shortest:
            raise ValueError(
                f"max_utterance_ms, {self.max_utterance_ms}, must be above the shortest utterance, {shortest} ms"
            )


@dataclass(frozen=True)
class SpeechStarted:
    """An utterance is under way; an `Utterance` will follow."""

    at: float
    """Seconds of the stream."""


@dataclass(frozen=True)
class Utterance:
    """One stretch of speech. Positions are samples since the stream began."""

    waveform: Waveform
    """float32 [samples]: pre-roll, speech and post-roll; no sample is in two utterances"""
    sample_rate: int
    """Hertz"""
    first: int
    """Of the waveform."""
    speech_start: int
    speech_end: int
    """Where the pause began."""
    ended_at: int
    """How much of the stream had been heard when the utterance was over."""
    is_cut: bool
    """The speech went on beyond the maximum; the rest of it is in no utterance."""

    @property
    def start(self) -> float:
        """Of the speech, seconds of the stream."""
        return self.speech_start / self.sample_rate

    @property
    def end(self) -> float:
        """Of the speech, seconds of the stream."""
        return self.speech_end / self.sample_rate

    @property
    def endpoint_ms(self) -> float:
        """What was waited after the speech to know that it is over, milliseconds."""
        return 1000 * (self.ended_at - self.speech_end) / self.sample_rate


Event: TypeAlias = SpeechStarted | Utterance


def clip_of(utterance: Utterance, audio: AudioFormat) -> Clip:
    """An utterance through the gate that uploaded clips pass.

    Raises:
        AudioError: as `recognizer.audio.admit`; TooLong also where it was cut.
    """
    if utterance.is_cut:  # what came so far may be half a sentence
        seconds = len(utterance.waveform) / utterance.sample_rate
        raise TooLong(f"the speech went on for more than {seconds:g} s; say one command, then pause")
    return admit(utterance.waveform, audio, sample_rate=utterance.sample_rate)


class Endpointer:
    """Follows one stream.

    Speech that outlasts the maximum is cut, and its rest is passed over up to the next pause: its tail is no command
    of its own. Memory is bounded by the maximum and one pause.
    """

    def __init__(self, sample_rate: int, settings: Endpointing) -> None:
        self.sample_rate = sample_rate
        self.settings = settings
        self._heard = 0
        self._free = 0  # the first sample that is in no utterance yet
        self._kept: list[Waveform] = []
        self._kept_from = 0
        self._speech: int | None = None  # where it began
        self._pause: int | None = None  # where it paused
        self._is_announced = self._is_cut = False

    @property
    def heard(self) -> int:
        """Samples fed so far."""
        return self._heard

    def feed(self, block: Waveform, probability: float) -> list[Event]:
        """What this block begins or ends.

        Args:
            block: float32 [samples], of about 32 ms: positions are as fine as blocks.
            probability: that speech is in it.
        """
        settings = self.settings
        begun, self._heard = self._heard, self._heard + len(block)
        self._kept.append(block)
        is_quiet = probability < settings.threshold - settings.hysteresis
        if probability >= settings.threshold:
            self._pause = None
            if self._speech is None:
                self._speech = begun
        elif is_quiet and self._pause is None:
            self._pause = begun
        if self._speech is None:
            self._drop_before(max(self._free, self._heard - self._samples(settings.pre_roll_ms)))
            return []
        if is_quiet and self._pause is not None and self._heard - self._pause >= self._samples(settings.min_silence_ms):
            return self._end(self._pause)
        return self._started() + self._cut()

    def finish(self) -> list[Event]:
        """End what is under way: the stream ended, or somebody let go of a button."""
        if self._speech is None:
            return []
        return self._started() + self._end(self._heard if self._pause is None else self._pause)

    def _started(self) -> list[Event]:
        assert self._speech is not None
        lasted = (self._heard if self._pause is None else self._pause) - self._speech
        if self._is_announced or self._is_cut or lasted < self._samples(self.settings.min_speech_ms):
            return []
        self._is_announced = True
        return [SpeechStarted(self._speech / self.sample_rate)]

    def _end(self, speech_end: int) -> list[Event]:
        events: list[Event] = []
        if self._is_announced:
            last = min(speech_end + self._samples(self.settings.post_roll_ms), self._heard)
            events = [self._utterance(speech_end, last, is_cut=False)]
        elif self._is_cut:
            self._free = self._heard
        self._speech = None
        self._is_announced = self._is_cut = False
        self._drop_before(max(self._free, self._heard - self._samples(self.settings.pre_roll_ms)))
        return events

    def _cut(self) -> list[Event]:
        """The utterance so far, where it is too long: once, and nothing more until it is over."""
        if self._is_cut:
            self._drop_before(self._heard)
            return []
        last = self._first() + self._samples(self.settings.max_utterance_ms)
        is_pausing = self._pause is not None and self._heard - self._pause < self._samples(self.settings.min_silence_ms)
        if self._heard <= last or is_pausing:  # a pause may yet end it in time
            return []
        events: list[Event] = [self._utterance(last, last, is_cut=True)] if self._is_announced else []
        self._is_announced, self._is_cut = False, True
        self._drop_before(self._heard)
        return events

    def _utterance(self, speech_end: int, last: int, *, is_cut: bool) -> Utterance:
        assert self._speech is not None
        first = self._first()
        waveform = np.concatenate(self._kept)[first - self._kept_from : last - self._kept_from]
        self._free = last
        return Utterance(waveform, self.sample_rate, first, self._speech, speech_end, self._heard, is_cut)

    def _first(self) -> int:
        assert self._speech is not None
        return max(self._free, self._speech - self._samples(self.settings.pre_roll_ms))

    def _drop_before(self, position: int) -> None:
        while self._kept and self._kept_from + len(self._kept[0]) <= position:
            self._kept_from += len(self._kept.pop(0))
        if self._kept and position > self._kept_from:
            self._kept[0] = self._kept[0][position - self._kept_from :]
            self._kept_from = position

    def _samples(self, milliseconds: int) -> int:
        return self.sample_rate * milliseconds // 1000
