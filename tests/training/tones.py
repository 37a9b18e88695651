"""Two commands that are easy to tell apart, and a short training on them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from recognizer.manifest import Manifest
from training.dataset import ClipSet
from training.hardening import Epoch, Fitted, fit_network
from training.recipe import Recipe

SAMPLES = 7_000


def tones(clips: int, seed: int = 0, *, speakers: list[str] | None = None, wrong: bool = False) -> ClipSet:
    """A low and a high tone of random phase; `wrong` labels them the other way round."""
    rng = np.random.default_rng(seed)
    targets = np.arange(clips) % 2
    hertz = np.where(targets, 1500.0, 300.0) * rng.uniform(0.97, 1.03, clips)
    time = np.arange(SAMPLES) / 16_000
    waveforms = 0.4 * np.sin(2 * np.pi * (hertz[:, None] * time + rng.uniform(0, 1, (clips, 1))))
    table = pd.DataFrame({"path": [f"{i}.wav" for i in range(clips)], "speaker": speakers or ["s"] * clips})
    return ClipSet(
        torch.from_numpy(waveforms.astype(np.float32)),
        torch.from_numpy(1 - targets if wrong else targets),
        Manifest(table, ()),
    )


def fit(
    training: ClipSet,
    validation: ClipSet,
    *,
    checkpoint: Path | None = None,
    on_epoch: Callable[[Epoch], None] | None = None,
    **recipe: object,
) -> Fitted:
    """Train in small batches, 2 epochs where nothing else is said."""
    settings = Recipe.model_validate({"epochs": 2, "batch": 8, **recipe})
    return fit_network(training, validation, 2, settings, sample_rate=16_000, checkpoint=checkpoint, on_epoch=on_epoch)
