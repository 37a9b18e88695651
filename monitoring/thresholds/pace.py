"""How long a decision takes, by the number of its draws: measured at some, straight lines between them."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from torch import Tensor

from recognizer.cores import cores
from recognizer.defense import Defense
from recognizer.mode import Mode
from recognizer.smoothing import RandomizedSmoothing, VoteTest, voting_of
from recognizer.smoothing.bank import BANK_ROWS
from recognizer.smoothing.noise import BLOCK

_SHOTS = 5  # decisions that a median is taken of
Milliseconds = npt.NDArray[np.float64]
Clock = Callable[[], float]


@dataclass(frozen=True)
class Pace:
    """Milliseconds of a decision on one clip alone, without its decoding.

    Attributes:
        draws: [knots] rising.
        milliseconds: [knots] measured of decisions of so many draws.
        at_once: draws are computed so many at a time, and the last lot is always whole.
    """

    draws: tuple[int, ...]
    milliseconds: tuple[float, ...]
    at_once: int = 1

    def of(self, draws: npt.NDArray[np.int64]) -> Milliseconds:
        """float64 [clips] of int64 [clips]."""
        whole = -(-draws // self.at_once) * self.at_once
        return np.asarray(np.interp(whole, self.draws, self.milliseconds), dtype=np.float64)


def pace_of_smoothing(
    smoothing: RandomizedSmoothing, clip: Tensor, *, draws: int, clock: Clock = time.perf_counter
) -> Pace:
    """Measured in *fast* mode, as the gateway decides, one clip at a time: at one lot of draws, at as many as a noise
    bank has rows, and at the largest N.

    Args:
        smoothing: whose network and sigma.
        clip: float32 [samples].
        draws: the largest N.
        clock: seconds.
    """
    fast = voting_of(smoothing.network, Mode.FAST, sigma=smoothing.sigma, samples=len(clip), seed=0)
    at_once = BLOCK * cores()
    most = -(-draws // at_once) * at_once
    knots = sorted({at_once, min(max(at_once, BANK_ROWS // at_once * at_once), most), most})
    taken = [
        milliseconds_of(
            RandomizedSmoothing(
                smoothing.network,
                smoothing.labels,
                sigma=smoothing.sigma,
                error_alpha=1.0,
                draws=knot,
                test=VoteTest.FIXED,
                voting=fast,
            ),
            clip,
            clock,
        )
        for knot in knots
    ]
    return Pace(tuple(knots), tuple(taken), at_once)


def milliseconds_of(defense: Defense, clip: Tensor, clock: Clock = time.perf_counter) -> float:
    """The median of a few decisions on one clip, [samples], after one that does not count."""
    taken = []
    for shot in range(1 + _SHOTS):
        started = clock()
        defense.decide(clip[None], clip_ids=[f"pace {shot}"], seed=0)
        taken.append(clock() - started)
    return 1000 * float(np.median(taken[1:]))
