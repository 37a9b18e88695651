"""One process at work on a study: the clips, networks and rejectors that its jobs need, held while they are needed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch

from recognizer.audio import AudioFormat
from recognizer.defense import DefenseName
from recognizer.network import M5, architecture
from recognizer.neural_rejection import NeuralRejection
from recognizer.progress import OnProgress, silent
from recognizer.smoothing import RandomizedSmoothing
from training.corpora.splits import SplitKind
from training.dataset import ClipSet
from training.study.clips import SplitClips, load_split, part_of
from training.study.configuration import SMOOTHING, UNDEFENDED, Configuration
from training.study.corpus import SplitCorpus
from training.study.folder import StudyFolder, read_network
from training.study.rejection import neural_rejection_of, smoothing_of
from training.study.settings import StudySettings

LOT = 32
"""Clips of a part that takes long: a kill loses no more than a lot's work, and lots run side by side."""


class MissingNetworkError(RuntimeError):
    """The network that a part of the study sits on has not been trained."""


@dataclass(frozen=True)
class Plan:
    """What every process that works on a study is told."""

    folder: StudyFolder
    settings: StudySettings
    corpora: Mapping[SplitKind, SplitCorpus]
    labels: tuple[str, ...]
    audio: AudioFormat
    device: str


class Bench:
    """A process' own; clips are decoded when they are first asked for, and those of one split are held at a time."""

    def __init__(self, plan: Plan, *, on_progress: OnProgress = silent) -> None:
        self.plan = plan
        self.folder, self.settings = plan.folder, plan.settings
        self.device = torch.device(plan.device)
        self.on_progress = on_progress
        self._held: tuple[SplitKind, SplitClips] | None = None

    def clips(self, split: SplitKind) -> SplitClips:
        """A split's clips."""
        if self._held is None or self._held[0] != split:
            self._held = None  # before the next ones come
            plan = self.plan
            loaded = load_split(plan.corpora[split], plan.labels, plan.audio, on_progress=self.on_progress)
            self._held = (split, loaded)
        return self._held[1]

    def attacked(self, split: SplitKind, lot: int | None = None) -> ClipSet:
        """A split's attacked clips, or one lot of them."""
        clips = self.clips(split).attacked
        if lot is None:
            return clips
        places = torch.arange(len(clips))
        return part_of(clips, (places >= lot * LOT) & (places < (lot + 1) * LOT))

    def network(self, split: SplitKind, configuration: Configuration) -> M5:
        """A trained network, on the device.

        Raises:
            MissingNetworkError: it has not been trained.
        """
        name = self.settings.architecture
        place = self.folder.network(split, configuration.key(name))
        if not place.done.exists():
            raise MissingNetworkError(
                f"the network {place.path.name} of the {split} split, on which this sits, is missing"
            )
        network = read_network(place.weights, architecture(name, len(self.plan.labels)))
        return network.to(self.device).eval()

    def neural_rejection(self, split: SplitKind) -> NeuralRejection:
        """Neural rejection on the undefended network."""
        return neural_rejection_of(
            self.network(split, UNDEFENDED),
            self.clips(split),
            self.settings,
            self.folder.rejection(split) / "neural_rejection.safetensors",
        )

    def smoothing(self, split: SplitKind) -> RandomizedSmoothing:
        """Randomized smoothing on its own network."""
        return smoothing_of(self.network(split, SMOOTHING), self.plan.labels, self.settings)

    def rejector(self, split: SplitKind, defense: DefenseName) -> NeuralRejection | RandomizedSmoothing:
        """The one or the other."""
        return self.smoothing(split) if defense is DefenseName.SMOOTHING else self.neural_rejection(split)
