"""What a smoothed decision must cost: multiply-adds, random numbers, bytes, and how fast this machine does them."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import torch

from recognizer.network import KERNEL, POOL, Architecture

_SIZE = 1536  # of the square matrices that are multiplied


@dataclass(frozen=True)
class Work:
    """Of one draw."""

    first_layer: int
    """Multiply-adds."""
    other_layers: int
    normals: int
    row_bytes: int
    """Of one row of a bank: its responses and its noise, float32."""


@dataclass(frozen=True)
class Machine:
    """What all cores together do a second."""

    multiply_adds: float
    """float32, in a large product of matrices."""
    multiply_adds_bfloat16: float
    normals: float
    """torch's, one generator a core."""
    bytes_read: float


def work_of(config: Architecture, samples: int) -> Work:
    """Count one draw's work; pooling, activations and the standardisation are left out.

    Args:
        samples: of a clip.
    """
    time_steps = (samples - KERNEL) // config.stride + 1
    first = time_steps * KERNEL * config.width
    row = 4 * (time_steps // POOL * POOL * config.width + samples)
    others = 0
    for inputs, outputs in pairwise(config.channels):
        time_steps = time_steps // POOL - 2
        others += time_steps * 3 * inputs * outputs
    return Work(first, others + config.last_width * config.labels, samples, row)


def measure_machine() -> Machine:
    """Measure; takes a few seconds."""
    a = torch.randn(_SIZE, _SIZE)
    lower = a.bfloat16()
    large = torch.randn(1 << 26)
    cores = torch.get_num_threads()
    row = torch.empty(1 << 20)
    return Machine(
        multiply_adds=_SIZE**3 / _fastest(lambda: a @ a),
        multiply_adds_bfloat16=_SIZE**3 / _fastest(lambda: lower @ lower),
        normals=cores * len(row) / _fastest(lambda: row.normal_()),
        bytes_read=4 * len(large) / _fastest(lambda: large.sum()),
    )


def floors(work: Work, machine: Machine, draws: int) -> dict[str, float]:
    """Milliseconds of so many draws at the machine's full speed.

    `exact` draws and multiplies everything in float32; `bank` reads rows and multiplies the other layers;
    `bfloat16` draws, and multiplies in bfloat16.
    """
    multiply = (work.first_layer + work.other_layers) / machine.multiply_adds
    lower = (work.first_layer + work.other_layers) / machine.multiply_adds_bfloat16
    drawing = work.normals / machine.normals
    bank = work.row_bytes / machine.bytes_read + work.other_layers / machine.multiply_adds
    seconds = {"exact": multiply + drawing, "bank": bank, "bfloat16": lower + drawing}
    return {name: 1000 * draws * value for name, value in seconds.items()}


def _fastest(work: Callable[[], object], times: int = 5) -> float:
    """Seconds."""
    taken = []
    for _ in range(times + 1):
        started = time.perf_counter()
        work()
        taken.append(time.perf_counter() - started)
    return min(taken[1:])
