"""Noise that was drawn beforehand: the first layer's work, two thirds of M5-small's, is done once for many decisions.

The responses to a clip under noise are the sum of the responses to the clip and to the noise; standardising each copy
stays exact, since its variance needs one product of the clip with the noise.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from recognizer.cores import cores, over_cores
from recognizer.decision import Replay
from recognizer.defense import finite
from recognizer.network import M5, POOL
from recognizer.smoothing.inference import FoldedM5
from recognizer.smoothing.noise import BLOCK, noise
from recognizer.smoothing.voting import Block, KeyedBallot, KeyedVoting, Leaders, compute

BANK_ROWS = 1024


class NoiseBank:
    """Noise drawn beforehand, and what a network's first layer makes of it.

    The rows are independent, and a vote never uses one twice: each test is as good as with fresh noise, as long as the
    bank's seed is unknown to who chooses the clips. Votes on several clips share rows and depend on each other, so
    averages over clips are taken in exact mode. A bank that is used for long could be learnt from its decisions:
    replace it from time to time.
    """

    def __init__(self, network: FoldedM5, *, sigma: float, samples: int, rows: int, seed: int, device: torch.device):
        """
        Args:
            network: float32.
            sigma: raw amplitude.
            samples: of a clip.
            rows: a multiple of BLOCK.
            seed: secret while the bank is in use.
            device: where it lies.

        Raises:
            ValueError: another number of rows.
        """
        if rows < BLOCK or rows % BLOCK:
            raise ValueError(f"a bank has {rows} rows; a multiple of {BLOCK} is accepted")
        self.network = network
        self.sigma = sigma
        self.seed = seed
        self.blocks = rows // BLOCK
        self.noise = torch.empty(self.blocks, BLOCK, samples, device=device)
        time = network.frames_pooled(samples)
        self.responses = torch.empty(self.blocks, BLOCK, POOL, time * network.width, device=device)

        def fill(index: int) -> None:
            drawn = sigma * bank_noise(seed, index, samples).to(device)
            self.noise[index] = drawn
            self.responses[index] = self._by_pool(network.responses(drawn))

        for start in range(0, self.blocks, cores()):  # few at a time: decisions under way come in between
            over_cores(fill, range(start, min(start + cores(), self.blocks)))
        self.mean = self.noise.mean(dim=2)
        self.power = self.noise.square().mean(dim=2)

    def _by_pool(self, responses: Tensor) -> Tensor:
        """[copies, POOL, time * channels]: the values that meet in a pool lie apart, neighbours stay neighbours."""
        copies, time, channels = responses.shape
        return responses.reshape(copies, time // POOL, POOL, channels).transpose(1, 2).flatten(2)

    def logits(self, clips: Sequence[ClipResponses], index: Sequence[int]) -> Tensor:
        """Clips under the noise of one block of rows each.

        Args:
            clips: [blocks], see `of_clip`.
            index: [blocks] which rows.

        Returns:
            float32 [blocks, BLOCK, K].
        """
        responses, waveforms, power = (
            _stacked([getattr(clip, name) for clip in clips]) for name in ("responses", "waveform", "power")
        )
        pooled = (_of(self.responses, index) + responses.unsqueeze(1)).amax(dim=2)
        mean = _of(self.mean, index)  # the clip's is 0
        product = (_of(self.noise, index) @ waveforms.unsqueeze(2)).squeeze(2) / waveforms.shape[1]
        second = power.unsqueeze(1) + _of(self.power, index) + 2 * product
        deviation = (second - mean.square()).clamp_min(0).sqrt()
        copies = pooled.view(len(index) * BLOCK, -1, self.network.width)
        return self.network.logits(copies, mean.flatten(), deviation.flatten()).view(len(index), BLOCK, -1)

    def leaders(self, blocks: Sequence[Block[BankBallot]]) -> Tensor:
        """The label that each draw votes for, int64 [blocks, BLOCK].

        Raises:
            NetworkError: the network gave NaN or infinity.
        """
        rows = [block.ballot.row(block.index) for block in blocks]
        return finite(self.logits([block.ballot.clip for block in blocks], rows)).argmax(dim=2)

    def of_clip(self, waveform: Tensor) -> ClipResponses:
        """What is computed once a clip, float32 [samples].

        Its mean, which the network does not hear, is taken off: the variance of a copy is the mean of squares less the
        square of the mean, and would else lose its digits.
        """
        centred = waveform - waveform.mean()
        responses = self._by_pool(self.network.responses(centred[None]))[0]
        return ClipResponses(centred, responses, centred.square().mean())


@dataclass(frozen=True)
class ClipResponses:
    """A clip of mean 0, float32 [samples], its first layer's responses, [POOL, time * channels], and its power, []."""

    waveform: Tensor
    responses: Tensor
    power: Tensor


def _of(table: Tensor, places: Sequence[int]) -> Tensor:
    """Rows of a table; a single one is not copied, for a block of responses is two megabytes."""
    return table[places[0]].unsqueeze(0) if len(places) == 1 else table[list(places)]


def _stacked(tensors: Sequence[Tensor]) -> Tensor:
    return tensors[0].unsqueeze(0) if len(tensors) == 1 else torch.stack(list(tensors))


class BankVoting:
    """A vote's first draws take their noise from a bank, in an order of the clip's own; later ones are keyed."""

    def __init__(self, network: M5, *, sigma: float, samples: int, seed: int, rows: int = BANK_ROWS) -> None:
        """
        Args:
            network: in evaluation mode, no Tricks variant.
            sigma: raw amplitude.
            samples: of a clip.
            seed: of the bank; secret.
            rows: of the bank.
        """
        self.device = next(network.parameters()).device
        self.sigma = sigma
        self._keyed = KeyedVoting(network, sigma=sigma)
        self._folded = FoldedM5(network)
        self._samples, self._rows = samples, rows
        self.bank = self._drawn(seed)

    def renew(self, seed: int) -> None:
        """Replace the bank; votes under way keep the old one."""
        self.bank = self._drawn(seed)

    @property
    def at_a_time(self) -> int:
        return self._keyed.at_a_time

    def ballots(self, waveforms: Tensor, *, clip_ids: Sequence[str], seeds: Sequence[int]) -> list[BankBallot]:
        """See `Voting`.

        Raises:
            ValueError: clips of another length than the bank was drawn for.
        """
        if waveforms.shape[1] != self._samples:
            raise ValueError(f"the clips have {waveforms.shape[1]} samples; the bank was drawn for {self._samples}")
        bank = self.bank
        keyed = self._keyed.ballots(waveforms, clip_ids=clip_ids, seeds=seeds)
        clips = over_cores(bank.of_clip, [ballot.waveform for ballot in keyed])
        return [BankBallot(bank, clip, ballot) for clip, ballot in zip(clips, keyed, strict=True)]

    def leaders(self, blocks: Sequence[Block[BankBallot]]) -> Leaders:
        """See `Voting`."""
        out = np.empty((len(blocks), BLOCK), dtype=np.int64)
        places: dict[NoiseBank | None, list[int]] = {}  # by bank: a renewed one has clips for a while
        for place, block in enumerate(blocks):
            is_banked = block.index < block.ballot.bank.blocks
            places.setdefault(block.ballot.bank if is_banked else None, []).append(place)
        for bank, of_bank in places.items():
            some = [blocks[place] for place in of_bank]
            if bank is None:
                out[of_bank] = self._keyed.leaders([Block(block.ballot.keyed, block.index) for block in some])
            else:
                out[of_bank] = compute(bank.leaders, some, self.device)
        return out

    def _drawn(self, seed: int) -> NoiseBank:
        return NoiseBank(
            self._folded, sigma=self.sigma, samples=self._samples, rows=self._rows, seed=seed, device=self.device
        )


@dataclass(frozen=True, eq=False)
class BankBallot:
    """A clip whose first draws come from a bank, and later ones keyed."""

    bank: NoiseBank
    clip: ClipResponses
    keyed: KeyedBallot

    @property
    def replay(self) -> Replay:
        return Replay("float32", bank=self.bank.seed, rows=BLOCK * self.bank.blocks)

    def row(self, index: int) -> int:
        """The bank's block that is the clip's block of that index."""
        return (first_block(self.keyed.seed, self.keyed.clip_id, self.bank.blocks) + index) % self.bank.blocks


def first_block(seed: int, clip_id: str, blocks: int) -> int:
    """Where in a bank a clip's vote begins: keyed by the seed and the clip."""
    digest = hashlib.blake2b(f"{seed}\x00{clip_id}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") % blocks


def bank_noise(seed: int, index: int, samples: int) -> Tensor:
    """Standard normal noise of one block of a bank's rows, float32 [BLOCK, samples]: what a replay needs."""
    return noise(seed, "bank", BLOCK * index, BLOCK, samples)
