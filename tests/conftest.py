"""What the tests share: where the real speech lies, and a corpus of tones with a bundle trained on it."""

from __future__ import annotations

import itertools
import os
from pathlib import Path

import hypothesis
import numpy as np
import pandas as pd
import pytest
import soundfile
import torch

from recognizer.decision import UNKNOWN
from recognizer.manifest import SPLITS, load_manifest, write_table
from training.build import BuildSettings, build_bundle
from training.recipe import Recipe

hypothesis.settings.register_profile(
    "evenvoice", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("evenvoice")  # no test says how fast things are

torch.set_num_threads(1)  # small networks run faster so, and sums in one order whatever the machine's cores

TONES = {"go": 300.0, "left": 700.0, "right": 1500.0}
"""Command -> Hertz of the tone that says it."""
ACCENTS, GENDERS = ("north", "south"), ("female", "male")
TAKES = 6


@pytest.fixture(scope="session")
def speech() -> Path:
    """The folder with real speech: EVENVOICE_SPEECH."""
    folder = os.environ.get("EVENVOICE_SPEECH", "")
    if not (Path(folder) / "duke_digits" / "manifest.csv").is_file():
        pytest.skip(f"no real speech in {folder!r}; set EVENVOICE_SPEECH to the folder that holds duke_digits/")
    return Path(folder).resolve()


@pytest.fixture(scope="session")
def tone_manifest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`manifest.csv` of 288 clips: 3 commands that are tones and `unknown`, which is a burst of noise.

    12 speakers, one of each accent and gender in each split; `<speaker>/<command>_<take>.wav`, 16 kHz, about 0.5 s.
    Read only.
    """
    folder = tmp_path_factory.mktemp("tones")
    rng = np.random.default_rng(7)
    rows = []
    for split, accent, gender in itertools.product(SPLITS, ACCENTS, GENDERS):
        speaker = f"{split}-{accent}-{gender}"
        (folder / speaker).mkdir()
        pitch = rng.uniform(0.98, 1.02)
        for command, take in itertools.product((*TONES, UNKNOWN), range(TAKES)):
            path = f"{speaker}/{command}_{take}.wav"
            soundfile.write(folder / path, sound_of(command, pitch, rng), 16_000, subtype="PCM_16")
            rows.append(
                {"path": path, "command": command, "speaker": speaker, "split": split, "accent": accent}
                | {"gender": gender}
            )
    write_table(pd.DataFrame(rows), folder / "manifest.csv")
    return folder / "manifest.csv"


@pytest.fixture(scope="session")
def bundle(tone_manifest: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle trained on the tones, with all three defenses; smoothing is the default. Read only: break a copy."""
    folder = tmp_path_factory.mktemp("bundles") / "tones"
    recipe = Recipe(epochs=10, batch=16)
    build_bundle(load_manifest(tone_manifest), folder, BuildSettings(name="tones", recipe=recipe))
    return folder


def sound_of(command: str, pitch: float, rng: np.random.Generator) -> np.ndarray:
    """One take: a tone or a burst of noise, faded in and out, over a little background noise."""
    samples = int(rng.uniform(0.4, 0.6) * 16_000)
    if command == UNKNOWN:
        sound = rng.normal(0, 0.3, samples)
    else:
        phase = 2 * np.pi * TONES[command] * pitch * np.arange(samples) / 16_000
        sound = np.sin(phase + rng.uniform(0, 2 * np.pi))
    sound = np.clip(rng.uniform(0.3, 0.7) * sound * np.hanning(samples), -0.95, 0.95)
    return sound + rng.normal(0, 0.002, samples)
