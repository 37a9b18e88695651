"""A manifest's clips as tensors, decoded once and kept in memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from recognizer.audio import AudioError, AudioFormat, fit_window, read_clip
from recognizer.manifest import Manifest, ManifestError
from recognizer.progress import OnProgress, Stage, silent


@dataclass(frozen=True)
class ClipSet:
    """Decoded clips.

    Attributes:
        waveforms: float32 [clips, window], raw amplitude in [-1, 1].
        targets: int64 [clips], indices into the labels.
        manifest: the clips' rows, in the same order.
        skipped: why a clip of the manifest is not among them, a line each.
    """

    waveforms: Tensor
    targets: Tensor
    manifest: Manifest
    skipped: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.targets)


def load_clips(
    manifest: Manifest, labels: Sequence[str], audio: AudioFormat, *, name: str = "", on_progress: OnProgress = silent
) -> ClipSet:
    """Decode every clip of a manifest; those that no recogniser could hear are skipped and named.

    Raises:
        ManifestError: a command that is no label, or no clip that can be heard.
    """
    commands = manifest.table["command"].tolist()
    strange = sorted(set(commands) - set(labels))
    if strange:
        raise ManifestError(f"the commands {strange} are none of the labels {list(labels)}")
    index = {label: i for i, label in enumerate(labels)}
    rows, targets, heard, skipped = [], [], [], []
    for done, (path, command) in enumerate(zip(manifest.table["path"], commands, strict=True), start=1):
        try:
            rows.append(fit_window(read_clip(Path(path), audio).waveform, audio.window))
            targets.append(index[command])
            heard.append(True)
        except AudioError as error:
            skipped.append(str(error))
            heard.append(False)
        on_progress(Stage(f"reading {name} clips", done, len(commands)))
    if not rows:
        raise ManifestError(f"none of the {len(commands)} clips can be heard; the first: {skipped[0]}")
    return ClipSet(
        torch.from_numpy(np.stack(rows)),
        torch.tensor(targets, dtype=torch.int64),
        manifest.where(heard) if skipped else manifest,
        tuple(skipped),
    )
