"""`evenvoice audit run --front-end`: whole recordings through the voice-activity endpointing, as a stream hears them.

A command whose speech is not noticed is turned away like any other, and more often of some voices than of others. So a
recording without an utterance is a rejection (`missed`). Of several utterances the first counts: a robot acts on the
first answer, whatever it may hear afterwards.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import nan
from pathlib import Path

import numpy as np
import pandas as pd
import soundfile

from gateway.streaming.endpointing import Utterance, clip_of
from gateway.streaming.listening import Listener
from gateway.streaming.vad import SileroDetector
from monitoring.audit import Listened, Recording
from monitoring.report import Grid
from recognizer.audio import CORPUS_FORMATS, AudioFormat, read_clip
from recognizer.decision import UNKNOWN

MAX_SECONDS = 60.0
"""Of a recording; a clip that is given to a recogniser by itself is bounded more tightly."""


@dataclass(frozen=True)
class Heard:
    """What the front end made of one recording."""

    seconds: float
    utterances: tuple[Utterance, ...]


class FrontEnd:
    """A `monitoring.audit.Cut`: the first utterance of a recording, as the gateway's stream would hand it over."""

    def __call__(self, path: Path, audio: AudioFormat) -> Recording:
        heard = listen(path, audio)
        first = heard.utterances[0] if heard.utterances else None
        return Recording(
            clip=None if first is None else clip_of(first, audio),
            listened=Listened(
                seconds=heard.seconds,
                utterances=len(heard.utterances),
                utterance_start=nan if first is None else first.start,
                utterance_end=nan if first is None else first.end,
                is_cut=first is not None and first.is_cut,
            ),
        )


def listen(path: Path, audio: AudioFormat) -> Heard:
    """Play a recording, at the rate that it came with, to the Silero network and the endpointing of streams.

    Raises:
        AudioError: it can't be decoded, is silent throughout, or lasts more than `MAX_SECONDS`.
        DetectorUnavailable: the network is not there.
    """
    as_it_came = replace(audio, sample_rate=_rate_of(path, audio), max_seconds=MAX_SECONDS)
    recording = read_clip(path, as_it_came, formats=CORPUS_FORMATS)
    listener = Listener(SileroDetector(), sample_rate=recording.sample_rate)
    samples = np.rint(32768 * recording.waveform).clip(-32768, 32767).astype("<i2")
    events = [*listener.feed(samples.tobytes()), *listener.finish()]
    return Heard(recording.seconds, tuple(event for event in events if isinstance(event, Utterance)))


def front_end_grid(outcomes: pd.DataFrame, attributes: tuple[str, ...]) -> Grid:
    """Of each group, how many recordings of commands were missed, and how many held several utterances.

    Args:
        outcomes: of an audit with `FrontEnd`.
    """
    commands = outcomes[outcomes["command"] != UNKNOWN].drop_duplicates("clip")
    parts: dict[str, pd.DataFrame] = {"all": commands}
    for attribute in attributes:
        parts |= {f"{attribute}: {group}": part for group, part in commands.groupby(attribute)}
    columns = ("group", "speakers", "recordings", "missed", "missed, %", "several", "cut")
    return Grid("What the front end heard", columns, tuple((name, *_counts(part)) for name, part in parts.items()))


def _counts(part: pd.DataFrame) -> tuple[str, ...]:
    missed = int((part["utterances"] == 0).sum())
    several, cut = int((part["utterances"] > 1).sum()), int(part["is_cut"].sum())
    return (
        str(part["speaker"].nunique()),
        str(len(part)),
        str(missed),
        f"{100 * missed / len(part):.1f}" if len(part) else "-",
        str(several),
        str(cut),
    )


def _rate_of(path: Path, audio: AudioFormat) -> int:
    """Hertz, so that nothing is resampled but what the stream resamples itself."""
    try:
        return int(soundfile.info(path).samplerate)
    except soundfile.LibsndfileError:
        return audio.sample_rate  # reading it says what is wrong
