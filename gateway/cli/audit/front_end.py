"""`evenvoice audit run --front-end`: whole recordings through the voice-activity endpointing, as a stream hears them.

A command whose speech is not noticed is turned away like any other, and more often of some voices than of others. So a
recording without an utterance is a rejection (`missed`). Of several utterances the first counts: a robot acts on the
first answer, whatever it may hear afterwards.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
import soundfile

from gateway.streaming.endpointing import Utterance, clip_of
from gateway.streaming.listening import Listener
from gateway.streaming.vad import SileroDetector
from monitoring.report import Grid
from recognizer.audio import CORPUS_FORMATS, AudioError, AudioFormat, Clip, read_clip
from recognizer.decision import UNKNOWN
from recognizer.manifest import Manifest
from recognizer.progress import OnProgress, Stage, silent

TABLE_FILE = "front_end.parquet"
MAX_SECONDS = 60.0
"""Of a recording; a clip that is given to a recogniser by itself is bounded more tightly."""


@dataclass(frozen=True)
class Heard:
    """What the front end made of one recording."""

    seconds: float
    utterances: tuple[Utterance, ...]


class FrontEnd:
    """A `monitoring.audit.Cut`: the first utterance of a recording, as the gateway's stream would hand it over."""

    def __call__(self, path: Path, audio: AudioFormat) -> Clip | None:
        found = listen(path, audio)
        return clip_of(found.utterances[0], audio) if found.utterances else None


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


def front_end_table(manifest: Manifest, audio: AudioFormat, *, on_progress: OnProgress = silent) -> pd.DataFrame:
    """One row a recording that can be heard: `clip, speaker, command`, attributes, `seconds, utterances`, and of the
    first one `start` and `end` (seconds; NaN where it was missed) and `is_cut`."""
    rows = []
    table = manifest.table.assign(clip=manifest.clip_ids)
    for number, row in enumerate(table.to_dict("records"), start=1):
        if (found := _listened(Path(row["path"]), audio)) is not None:
            first = found.utterances[0] if found.utterances else None
            rows.append(
                {key: row[key] for key in ("clip", "speaker", "command", *manifest.attributes)}
                | {"seconds": found.seconds, "utterances": len(found.utterances)}
                | {"start": np.nan, "end": np.nan, "is_cut": False}
                | ({} if first is None else {"start": first.start, "end": first.end, "is_cut": first.is_cut})
            )
        on_progress(Stage("listening for speech", number, len(table)))
    return pd.DataFrame(rows)


def front_end_grid(table: pd.DataFrame, attributes: tuple[str, ...]) -> Grid:
    """Of each group, how many recordings of commands were missed, and how many held several utterances."""
    commands = table[table["command"] != UNKNOWN]
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


def _listened(path: Path, audio: AudioFormat) -> Heard | None:
    try:
        return listen(path, audio)
    except AudioError:  # the audit lists it among the unheard, with the reason
        return None


def _rate_of(path: Path, audio: AudioFormat) -> int:
    """Hertz, so that nothing is resampled but what the stream resamples itself."""
    try:
        return int(soundfile.info(path).samplerate)
    except soundfile.LibsndfileError:
        return audio.sample_rate  # reading it says what is wrong
