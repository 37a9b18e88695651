"""Networks and votes that are solved by hand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from recognizer.decision import Replay
from recognizer.smoothing.noise import BLOCK
from recognizer.smoothing.voting import Block


class HalfSpace(nn.Module):
    """Label 1 where the first sample exceeds `at`, else label 0: under noise p_A = Phi(distance / sigma) exactly."""

    def __init__(self, at: float, labels: int = 2) -> None:
        super().__init__()
        self.at = nn.Parameter(torch.tensor(at))
        self.labels = labels
        self.heard: list[Tensor] = []
        """Blocks of copies, in the order in which they were computed."""

    def forward(self, waveforms: Tensor) -> Tensor:
        self.heard.append(waveforms.clone())
        logits = torch.full((len(waveforms), self.labels), -9.0)
        logits[:, 1] = waveforms[:, 0] - self.at
        logits[:, 0] = self.at - waveforms[:, 0]
        return logits


@dataclass(frozen=True, eq=False)
class CastBallot:
    clip: int
    replay: Replay = field(default_factory=lambda: Replay("float32"))


class Cast:
    """Votes that are given, [clips, draws]; draws beyond them go to label 0."""

    at_a_time = 1

    def __init__(self, leaders: Sequence[Sequence[int]] | NDArray[np.int64], sigma: float = 0.1) -> None:
        self._leaders = np.asarray(leaders, dtype=np.int64)
        self.sigma = sigma
        self.asked: list[Block[CastBallot]] = []

    def leaders(self, blocks: Sequence[Block[CastBallot]]) -> NDArray[np.int64]:
        self.asked += blocks
        clips, draws = self._leaders.shape
        whole = np.zeros((clips, -(-max(draws, 1) // BLOCK) * BLOCK), dtype=np.int64)
        whole[:, :draws] = self._leaders
        return np.stack([whole[b.ballot.clip, BLOCK * b.index : BLOCK * (b.index + 1)] for b in blocks])

    def ballots(self, waveforms: Tensor, *, clip_ids: Sequence[str], seeds: Sequence[int]) -> list[CastBallot]:
        del clip_ids, seeds
        return [CastBallot(clip) for clip in range(len(waveforms))]
