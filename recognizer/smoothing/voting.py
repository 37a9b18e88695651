"""Where a smoothed network's votes come from: noise keyed by each clip, or, in service, a bank drawn beforehand.

Draws come in blocks of 16 of one clip, each computed by itself: a block's votes are the same whatever is computed
beside it, before it, or by how many threads. Blocks of 16 keep a core's cache warm, and cores are kept busy by blocks,
not by splitting one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from recognizer.decision import Replay
from recognizer.defense import finite
from recognizer.network import M5, Network
from recognizer.smoothing.cores import cores, over_cores, start_cores
from recognizer.smoothing.inference import FoldedM5
from recognizer.smoothing.noise import BLOCK, noise

_TOGETHER = 64  # blocks on an accelerator at a time

Logits = Callable[[Tensor], Tensor]
"""Waveforms, float32 [copies, samples], to logits, [copies, K]."""
Leaders = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Block:
    """Draws `BLOCK * index` ... of one of the clips that are decided together."""

    clip: int
    index: int


class Ballot(Protocol):
    """The votes on some clips."""

    @property
    def replay(self) -> Replay:
        """How the votes can be had again."""
        ...

    @property
    def at_a_time(self) -> int:
        """How many blocks keep the device busy."""
        ...

    def leaders(self, blocks: Sequence[Block]) -> Leaders:
        """The label that each draw votes for, int64 [blocks, BLOCK].

        Raises:
            NetworkError: the network gave NaN or infinity.
        """
        ...


class Voting(Protocol):
    """A network under noise of one sigma."""

    @property
    def sigma(self) -> float:
        """Raw amplitude."""
        ...

    def ballot(self, waveforms: Tensor, *, clip_ids: Sequence[str], seed: int) -> Ballot:
        """The votes on clips, float32 [clips, samples], whose noise is keyed by their ids and the seed."""
        ...


class KeyedVoting:
    """Every draw's noise is keyed by (seed, clip id, draw): *exact* mode in float32, and reproducible at any time."""

    def __init__(self, network: Network, *, sigma: float, precision: torch.dtype = torch.float32) -> None:
        """
        Args:
            network: in evaluation mode. Later changes of its weights may go unheard.
            sigma: raw amplitude.
            precision: of the multiplications; float32 or bfloat16.
        """
        self.device = next(network.parameters()).device
        self.sigma = sigma
        self.precision = precision
        self.logits = _logits_of(network, precision)
        if self.device.type == "cpu":
            start_cores()

    def ballot(self, waveforms: Tensor, *, clip_ids: Sequence[str], seed: int) -> Ballot:
        """See `Voting`."""
        return _KeyedBallot(self, waveforms.to(self.device), tuple(clip_ids), seed)


class _KeyedBallot:
    def __init__(self, voting: KeyedVoting, waveforms: Tensor, clip_ids: tuple[str, ...], seed: int) -> None:
        self._voting, self._waveforms, self._clip_ids, self._seed = voting, waveforms, clip_ids, seed

    @property
    def replay(self) -> Replay:
        return Replay(str(self._voting.precision).removeprefix("torch."))

    @property
    def at_a_time(self) -> int:
        return cores() if self._voting.device.type == "cpu" else _TOGETHER

    def leaders(self, blocks: Sequence[Block]) -> Leaders:
        """See `Ballot`."""
        return compute(self._leaders, blocks, self._voting.device)

    def _leaders(self, blocks: Sequence[Block]) -> Tensor:
        device = self._voting.device
        # on the processor this is one core's work already
        drawn = [self._noise(b) for b in blocks] if device.type == "cpu" else over_cores(self._noise, blocks)
        heard = (drawn[0][None] if len(drawn) == 1 else torch.stack(drawn)).to(device).mul_(self._voting.sigma)
        heard += self._waveforms[[b.clip for b in blocks], None]
        return finite(self._voting.logits(heard.flatten(0, 1))).argmax(dim=1).view(len(blocks), BLOCK)

    def _noise(self, block: Block) -> Tensor:
        samples = self._waveforms.shape[1]
        return noise(self._seed, self._clip_ids[block.clip], BLOCK * block.index, BLOCK, samples)


def compute(work: Callable[[Sequence[Block]], Tensor], blocks: Sequence[Block], device: torch.device) -> Leaders:
    """Votes of blocks: each by itself over the processor's cores, or many at a time on an accelerator.

    Args:
        work: gives int64 [blocks, BLOCK].
        blocks: what it is asked for.
        device: where it computes.

    Returns:
        int64 [blocks, BLOCK].
    """
    if not blocks:
        return np.empty((0, BLOCK), dtype=np.int64)
    if device.type == "cpu":
        parts = over_cores(lambda block: work([block]), blocks)
    else:
        exactly = torch.backends.cudnn.flags(allow_tf32=False)  # float32 means float32 on an accelerator, too
        with torch.inference_mode(), exactly:
            parts = [work(blocks[i : i + _TOGETHER]) for i in range(0, len(blocks), _TOGETHER)]
    return torch.cat(parts).cpu().numpy()


def _logits_of(network: Network, precision: torch.dtype) -> Logits:
    """The network's logits by the fastest way that gives them."""
    if type(network) is M5 and not network.config.tricks:
        return FoldedM5(network, precision)
    if precision == torch.float32:
        return network

    def lowered(waveforms: Tensor) -> Tensor:
        with torch.autocast(waveforms.device.type, precision):
            logits: Tensor = network(waveforms)
        return logits.float()

    return lowered
