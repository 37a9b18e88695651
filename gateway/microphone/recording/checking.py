"""Whether a take is good enough to be kept, and what to change where it is not."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from pydantic import BaseModel, ConfigDict

from gateway.microphone.level import decibels, rms
from gateway.microphone.recording.taking import Take
from recognizer.audio import FULL_SCALE, WINDOW_SECONDS, Waveform

CLIPPED_RUN = 3  # samples in a row at full scale: flattened, not a peak that just touches it
_FRAME = 0.02  # seconds
_MARGIN = 0.1  # seconds around the speech that count as neither speech nor background


@dataclass(frozen=True)
class Bounds:
    """What a good take is like."""

    quietest: float = -30.0
    """dBFS; the peak of the speech is above."""
    loudest_background: float = -40.0
    """dBFS, root mean square"""
    clearest: float = 15.0
    """Decibels by which speech is louder than the background at least."""
    shortest: float = 0.15
    """Seconds of speech"""
    longest: float = WINDOW_SECONDS
    """Seconds of speech; a recogniser hears no more."""


class Quality(BaseModel):
    """What was measured of a take."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    seconds: float
    speech_seconds: float | None
    """None where no speech was heard."""
    peak_dbfs: float
    """Of the speech; of everything where none was heard."""
    speech_dbfs: float | None
    """Root mean square"""
    background_dbfs: float | None
    """The same of half of what is not speech; None where nothing but speech was recorded."""
    clipped_samples: int
    """In runs of at least `CLIPPED_RUN`."""
    problems: tuple[str, ...]
    """What to change; empty for a good take."""

    @property
    def words(self) -> str:
        """What was measured, for people."""
        told = [f"peak {self.peak_dbfs:.0f} dBFS"]
        if self.speech_dbfs is not None and self.background_dbfs is not None:
            told.append(f"{self.speech_dbfs - self.background_dbfs:.0f} dB above the background")
        if self.speech_seconds is not None:
            told.append(f"{self.speech_seconds:.2f} s of speech")
        return ", ".join(told)


def check(take: Take, bounds: Bounds | None = None) -> Quality:
    """Measure a take and hold it to bounds."""
    bounds = bounds or Bounds()
    speech, background = _parts(take)
    heard = take.waveform if take.speech is None else speech
    measured = Quality(
        seconds=round(take.seconds, 3),
        speech_seconds=None if take.speech is None else round(take.speech[1] - take.speech[0], 3),
        peak_dbfs=round(decibels(float(np.abs(heard).max(initial=0.0))), 1),
        speech_dbfs=None if take.speech is None else round(decibels(rms(speech)), 1),
        background_dbfs=_background_dbfs(background, take.sample_rate),
        clipped_samples=clipped_samples(take.waveform),
        problems=(),
    )
    problems = _problems(measured, bounds)
    if take.speech is not None and measured.background_dbfs is not None and take.seconds - take.speech[1] < _MARGIN:
        problems.append("the recording ended before the word did: speak as soon as the word is shown")
    return measured.model_copy(update={"problems": tuple(problems)})


def clipped_samples(waveform: Waveform) -> int:
    """How many samples of float32 [samples] lie in runs of at least `CLIPPED_RUN` at full scale."""
    at_scale = np.concatenate(([False], np.abs(waveform) >= FULL_SCALE, [False])).astype(np.int8)
    steps = np.diff(at_scale)
    runs = np.flatnonzero(steps == -1) - np.flatnonzero(steps == 1)
    return int(runs[runs >= CLIPPED_RUN].sum())


def _background_dbfs(outside: Waveform, sample_rate: int) -> float | None:
    """The median loudness of frames: a soft beginning of the word, or a click of the key, is no background."""
    size = round(_FRAME * sample_rate)
    frames = outside[: len(outside) - len(outside) % size].reshape(-1, size)
    return round(decibels(float(np.median([rms(frame) for frame in frames]))), 1) if len(frames) else None


def _parts(take: Take) -> tuple[Waveform, Waveform]:
    """The speech, and what is well outside it."""
    if take.speech is None:
        return take.waveform[:0], take.waveform
    first, last = (round(at * take.sample_rate) for at in take.speech)
    margin = round(_MARGIN * take.sample_rate)
    outside = np.concatenate((take.waveform[: max(first - margin, 0)], take.waveform[last + margin :]))
    return take.waveform[first:last], outside


def _problems(measured: Quality, bounds: Bounds) -> list[str]:
    problems = []
    if measured.clipped_samples:
        problems.append("it was too loud and is distorted: move away from the microphone, or lower its level")
    if measured.speech_seconds is None or measured.speech_dbfs is None:
        problems.append("no speech was heard: speak after the word is shown, louder or closer")
    else:
        if measured.peak_dbfs < bounds.quietest:
            problems.append("it is too quiet: speak up, come closer, or raise the microphone's level")
        if measured.speech_seconds < bounds.shortest:
            problems.append(f"only {measured.speech_seconds:.2f} s of speech were heard: say the whole word")
        if measured.speech_seconds > bounds.longest:
            problems.append(
                f"{measured.speech_seconds:.2f} s is longer than the {bounds.longest:g} s that a recogniser hears: "
                "say it more briskly, and nothing else"
            )
        if measured.background_dbfs is None:
            problems.append("the speech fills the recording: wait until the word is shown, then speak")
        elif measured.background_dbfs > bounds.loudest_background:
            problems.append("the background is loud: find a quieter place, or switch off what hums")
        elif measured.speech_dbfs - measured.background_dbfs < bounds.clearest:
            problems.append("the speech hardly stands out of the background: come closer, or find a quieter place")
    return problems
