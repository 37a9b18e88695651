"""Where a smoothed network's votes come from: noise keyed by each clip, or, in service, a bank drawn beforehand.

Draws come in blocks of 16 of one clip, each computed by itself: a block's votes are the same whatever is computed
beside it, before it, or by how many threads. Blocks of 16 keep a core's cache warm, and cores are kept busy by blocks,
not by splitting one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from recognizer.cores import cores, over_cores, start_cores
from recognizer.decision import Replay
from recognizer.defense import finite
from recognizer.network import M5, Network
from recognizer.smoothing.inference import FoldedM5
from recognizer.smoothing.noise import BLOCK, noise

_TOGETHER = 64  # blocks on an accelerator at a time

Logits = Callable[[Tensor], Tensor]
"""Waveforms, float32 [copies, samples], to logits, [copies, K]."""
Leaders = npt.NDArray[np.int64]


class Ballot(Protocol):
    """The votes on one clip."""

    @property
    def replay(self) -> Replay:
        """How they can be had again."""
        ...


B = TypeVar("B", bound=Ballot)


@dataclass(frozen=True)
class Block(Generic[B]):
    """Draws `BLOCK * index` ... of one clip."""

    ballot: B
    index: int


class Voting(Protocol[B]):
    """A network under noise of one sigma."""

    @property
    def sigma(self) -> float:
        """Raw amplitude."""
        ...

    @property
    def at_a_time(self) -> int:
        """How many blocks keep the device busy."""
        ...

    def ballots(self, waveforms: Tensor, *, clip_ids: Sequence[str], seeds: Sequence[int]) -> list[B]:
        """The votes on clips, float32 [clips, samples], the noise of each keyed by its id and seed."""
        ...

    def leaders(self, blocks: Sequence[Block[B]]) -> Leaders:
        """The label that each draw votes for, int64 [blocks, BLOCK].

        Raises:
            NetworkError: the network gave NaN or infinity.
        """
        ...


@dataclass(frozen=True, eq=False)
class KeyedBallot:
    """A clip whose every draw is keyed by (seed, clip id, draw)."""

    waveform: Tensor
    """float32 [samples], on the network's device."""
    clip_id: str
    seed: int
    replay: Replay

    def noise(self, index: int) -> Tensor:
        """Standard normal, float32 [BLOCK, samples], of a block."""
        return noise(self.seed, self.clip_id, BLOCK * index, BLOCK, len(self.waveform))


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

    @property
    def at_a_time(self) -> int:
        return cores() if self.device.type == "cpu" else _TOGETHER

    def ballots(self, waveforms: Tensor, *, clip_ids: Sequence[str], seeds: Sequence[int]) -> list[KeyedBallot]:
        """See `Voting`."""
        replay = Replay(str(self.precision).removeprefix("torch."))
        return [
            KeyedBallot(waveform, clip_id, seed, replay)
            for waveform, clip_id, seed in zip(waveforms.to(self.device), clip_ids, seeds, strict=True)
        ]

    def leaders(self, blocks: Sequence[Block[KeyedBallot]]) -> Leaders:
        """See `Voting`."""
        return compute(self._leaders, blocks, self.device)

    def _leaders(self, blocks: Sequence[Block[KeyedBallot]]) -> Tensor:
        # on the processor this is one core's work already
        drawn = [_drawn(b) for b in blocks] if self.device.type == "cpu" else over_cores(_drawn, blocks)
        heard = (drawn[0][None] if len(drawn) == 1 else torch.stack(drawn)).to(self.device).mul_(self.sigma)
        heard += torch.stack([block.ballot.waveform for block in blocks]).unsqueeze(1)
        return finite(self.logits(heard.flatten(0, 1))).argmax(dim=1).view(len(blocks), BLOCK)


def _drawn(block: Block[KeyedBallot]) -> Tensor:
    return block.ballot.noise(block.index)


def compute(work: Callable[[Sequence[Block[B]]], Tensor], blocks: Sequence[Block[B]], device: torch.device) -> Leaders:
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
