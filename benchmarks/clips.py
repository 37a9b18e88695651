"""What benchmarks of serving say: WAV files of a manifest's test clips, or tones where there is none."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from recognizer.audio import AudioError, Clip, decode, read_clip
from recognizer.manifest import load_manifest
from recognizer.recognizer import Recognizer


def spoken(manifest: Path, recognizer: Recognizer, count: int) -> list[bytes]:
    """WAV files, 16 bit, of test clips that pass the gate; every n-th of them, so that there are many speakers."""
    paths = [Path(path) for path in load_manifest(manifest).split("test").table["path"]]
    found: list[bytes] = []
    for path in paths[:: max(1, len(paths) // (2 * count))]:
        try:
            clip = wav(read_clip(path, recognizer.audio))
            decode(clip, recognizer.audio)
        except AudioError:
            continue
        found.append(clip)
    return _enough(found[:count], manifest)


def sounds(recognizer: Recognizer, count: int) -> list[bytes]:
    """WAV files, 16 bit, of tones that rise or fall."""
    rng, rate = np.random.default_rng(3), recognizer.audio.sample_rate
    found = []
    for _ in range(count):
        times = np.arange(round(rng.uniform(0.4, 0.9) * rate)) / rate
        phase = 2 * np.pi * (rng.uniform(200, 1800) * times + rng.uniform(-200, 200) * times**2)
        wave = 0.5 * np.sin(phase) * np.hanning(len(times)) + rng.normal(0, 0.002, len(times))
        found.append(encoded(wave, rate))
    return found


def wav(clip: Clip) -> bytes:
    """A decoded clip at the recogniser's rate."""
    return encoded(clip.waveform, round(len(clip.waveform) / clip.seconds))


def encoded(samples: Any, rate: int, kind: str = "WAV") -> bytes:
    """16-bit samples as a file's bytes."""
    file = io.BytesIO()
    soundfile.write(file, samples, rate, format=kind, subtype="PCM_16")
    return file.getvalue()


def _enough(found: Sequence[bytes], manifest: Path) -> list[bytes]:
    if not found:
        raise SystemExit(f"{manifest} has no test clip that the recogniser's gate lets through")
    return list(found)
