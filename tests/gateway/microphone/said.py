"""What is said in the tests of listening and recording."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

RATE = 16_000
COMMANDS = ("four", "seven")


def background(seconds: float, *, seed: int = 0, amplitude: float = 1e-3) -> np.ndarray:
    """Faint noise, float64 [samples] at `RATE`."""
    return np.random.default_rng(seed).normal(0, amplitude, round(seconds * RATE))


def pcm(samples: np.ndarray) -> bytes:
    """s16le of float [samples]."""
    return np.rint(32767 * samples.clip(-1, 1)).astype("<i2").tobytes()


@dataclass(frozen=True)
class Session:
    """A recording of several words."""

    path: Path
    commands: tuple[str, ...]
    clips: list[np.ndarray]
    """float32 [samples] at `RATE` each"""

    @property
    def words(self) -> dict[str, np.ndarray]:
        """One clip of each word: its first, which the detector hears wherever among its blocks it begins."""
        return dict(zip(reversed(self.commands), reversed(self.clips), strict=True))

    def samples(self, pause: float = 0.9, *, seed: int = 0) -> np.ndarray:
        """The words with so many seconds of background around each."""
        parts = [background(pause, seed=seed)]
        for number, clip in enumerate(self.clips):
            parts += [clip, background(pause, seed=seed + number + 1)]
        return np.concatenate(parts)
