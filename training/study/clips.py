"""A split's clips in memory, decoded once a process."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from recognizer.audio import AudioFormat
from recognizer.progress import OnProgress, silent
from training.dataset import ClipSet, load_clips
from training.study.corpus import SplitCorpus


@dataclass(frozen=True)
class SplitClips:
    """What one split's networks train, are selected and tested on.

    Attributes:
        training, validation, test: clips.
        attacked: the test clips that are attacked and smoothed.
        labels: [K] names of the targets.
        sample_rate: Hertz.
    """

    training: ClipSet
    validation: ClipSet
    test: ClipSet
    attacked: ClipSet
    labels: tuple[str, ...]
    sample_rate: int


def load_split(
    corpus: SplitCorpus, labels: Sequence[str], audio: AudioFormat, *, on_progress: OnProgress = silent
) -> SplitClips:
    """Decode a split.

    Raises:
        ManifestError: a part of it holds no clip that can be heard.
    """
    training, validation, test = (
        load_clips(corpus.manifest.split(part), labels, audio, name=f"{corpus.kind} {part}", on_progress=on_progress)
        for part in ("train", "validation", "test")
    )
    is_attacked = [name in corpus.attacked for name in test.manifest.clip_ids]
    return SplitClips(
        training, validation, test, part_of(test, torch.tensor(is_attacked)), tuple(labels), audio.sample_rate
    )


def part_of(clips: ClipSet, is_in: Tensor) -> ClipSet:
    """The clips at which `is_in`, bool [clips], holds."""
    return ClipSet(clips.waveforms[is_in], clips.targets[is_in], clips.manifest.where(is_in.tolist()))
