"""Standard normal noise that is keyed by (seed, clip id, draw): the same numbers in any order, batch or worker.

Each block of 16 draws has a Mersenne Twister of its own, whose whole state comes from a hash of its key, and torch's
vectorised Box-Muller transform makes it normal, a block in one go. numpy's counter-based generator with its ziggurat
takes 2.5 to 3 times as long, and noise would then cost more than the network; torch's own seeding keeps 32 bits of a
seed, too few to be secret or to keep ten thousand draws apart. The numbers are the same on one kind of processor; on
another the last bit may differ.
"""

from __future__ import annotations

import hashlib

import numpy as np
import torch
from torch import Tensor

BLOCK = 16  # draws that are made, and computed, together
_WORDS = 624  # of a Mersenne Twister's state, 32 bits each
_HEADER = 24  # bytes before them in torch's state: seed, words left, whether seeded, next word
_TEMPLATE = torch.Generator().get_state().numpy().copy()
_TEMPLATE[8:12].view(np.int32)[0] = 1  # words left: the first number turns the whole state over
_TEMPLATE[16:_HEADER].view(np.uint64)[0] = 0


def noise(seed: int, clip_id: str, first: int, draws: int, samples: int) -> Tensor:
    """Standard normal noise, float32 [draws, samples] on the CPU, of the draws `first`, `first + 1`, ...

    Takes one thread and no global state.
    """
    if draws == 0:
        return torch.empty(0, samples)
    index = range(first // BLOCK, (first + draws - 1) // BLOCK + 1)
    blocks = [_block(f"{seed}\x00{clip_id}\x00{i}", samples) for i in index]
    start = first - BLOCK * index[0]
    return blocks[0][start : start + draws] if len(blocks) == 1 else torch.cat(blocks)[start : start + draws]


def _block(key: str, samples: int) -> Tensor:
    generator = torch.Generator()
    generator.set_state(_state(key))
    return torch.empty(BLOCK, samples).normal_(generator=generator)


def _state(key: str) -> Tensor:
    """A generator's state, uint8, that the key alone decides."""
    state = _TEMPLATE.copy()
    digest = hashlib.shake_128(key.encode()).digest(4 * _WORDS)
    state[_HEADER : _HEADER + 8 * _WORDS].view(np.uint64)[:] = np.frombuffer(digest, dtype="<u4")
    return torch.from_numpy(state)
