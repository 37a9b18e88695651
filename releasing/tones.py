"""A corpus of tones, the same on every machine and with every numpy: what the kept bundle hears."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import soundfile

from recognizer.decision import UNKNOWN
from recognizer.manifest import write_table

RATE = 16_000
HERTZ = {"go": 300.0, "left": 700.0, "right": 1500.0}
"""Command -> the tone that says it; what is no command is noise."""
SPEAKERS = {"train": 4, "validation": 4, "test": 24}
TAKES = {"train": 4, "validation": 2, "test": 1}
SEEDS = tuple(range(100, 112))
"""Of the clips whose decisions are kept."""
FAINT = 0.1
"""What a faint clip's amplitude is multiplied with."""

Waveform = npt.NDArray[np.float32]


def tone(command: str, seed: int) -> Waveform:
    """Half a second of a command, [samples]."""
    random = np.random.RandomState(seed)  # the one whose numbers numpy promises never to change
    time = np.arange(RATE // 2) / RATE
    pitch, loudness, phase = random.uniform(0.98, 1.02), random.uniform(0.3, 0.7), random.uniform(0, 2 * np.pi)
    sound: Any = random.normal(0, 0.3, len(time))
    if command != UNKNOWN:
        sound = np.sin(2 * np.pi * HERTZ[command] * pitch * time + phase)
    sound = np.clip(loudness * sound * np.hanning(len(time)), -0.95, 0.95) + random.normal(0, 0.002, len(time))
    waveform: Waveform = sound.astype(np.float32)
    return waveform


def clips() -> list[tuple[str, Waveform]]:
    """(clip id, waveform) of the clips whose decisions are kept: clear ones, two commands at once, and faint ones that
    noise can hide."""
    commands = list(itertools.islice(itertools.cycle([*HERTZ, UNKNOWN]), len(SEEDS)))
    pure = [(f"{c}-{seed}", tone(c, seed)) for c, seed in zip(commands, SEEDS, strict=True)]
    mixed = [(f"mixed-{seed}", 0.5 * tone("left", seed) + 0.5 * tone("right", seed + 1)) for seed in SEEDS[:4]]
    faint = [(f"faint-{clip_id}", np.float32(FAINT) * waveform) for clip_id, waveform in pure]
    return pure + mixed + faint


def write_corpus(folder: Path) -> Path:
    """Clips of 32 speakers in three splits, two genders each, and their `manifest.csv`, which is returned."""
    rows, seed = [], 0
    for split, speakers in SPEAKERS.items():
        for number in range(speakers):
            speaker = f"{split}-{number}"
            (folder / speaker).mkdir(parents=True)
            for command, take in itertools.product((*HERTZ, UNKNOWN), range(TAKES[split])):
                path = f"{speaker}/{command}_{take}.wav"
                soundfile.write(folder / path, tone(command, seed := seed + 1), RATE, subtype="PCM_16")
                row = {"path": path, "command": command, "speaker": speaker, "split": split}
                rows.append(row | {"gender": ("female", "male")[number % 2]})
    write_table(pd.DataFrame(rows), folder / "manifest.csv")
    return folder / "manifest.csv"
