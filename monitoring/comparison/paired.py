"""The mean of paired differences, when speakers, not clips, are what was sampled.

For speaker j with n_j clips let D_j = sum_i (b_ij - a_ij), in [-n_j, n_j]. Then

    delta = sum_j D_j / N,    v = J / (J - 1) * sum_j (D_j - delta n_j)^2 / N^2,    h = t_{J-1} sqrt(v + f)

with f the allowance where speakers show no spread, and q the unseen share, both as in `monitoring.parity`: speakers
whom no sample met may fare otherwise. Pairing takes out what speakers and clips have in common, so that far smaller
differences are seen than between two samples.

    p = P(|sum_j e_j D_j| >= |sum_j D_j|)    over signs e_j = +-1, all alike: A and B exchanged, speaker by speaker

Source: Cameron, Gelbach & Miller 2008 (clusters); Good 2005, Permutation Tests (sign flips of matched pairs).
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from math import nan

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from monitoring.parity.sample import GroupSample
from monitoring.parity.unseen import unseen_share, unseen_variance

EXACT = 12
"""Speakers with a difference up to whom every one of the 2^J signs is looked at."""
_TIE = 1.0 - 1e-9
"""Sums in another order differ in the last digits."""
_DRAWS_AT_ONCE = 2_000_000

Numbers = NDArray[np.float64]


@dataclass(frozen=True)
class PairedMean:
    """delta, and how sure one can be of it."""

    speakers: int
    clips: int
    mean: float
    """delta, in [-1, 1]"""
    half: float
    """h; NaN with one speaker"""
    unseen: float
    """q"""


def paired_mean(
    clips: NDArray[np.int64], difference: Numbers, *, confidence: float, intervals_claimed: int = 1
) -> PairedMean:
    """
    Args:
        clips: [speakers], n_j >= 1.
        difference: [speakers], D_j.
        confidence: of `intervals_claimed` such intervals together (Bonferroni).
    """
    J, N = clips.size, int(clips.sum())
    delta = float(difference.sum() / N)
    each = 1.0 - (1.0 - confidence) / intervals_claimed
    if J < 2:
        return PairedMean(J, N, delta, nan, 1.0)
    r = difference - delta * clips
    v = float(J / (J - 1) * np.square(r).sum() / N**2)
    sample = GroupSample(n=clips.astype(np.float64), r=r, J=J, N=N, mu=delta, v=v)
    f = unseen_variance(sample, each, groups_claimed=1)
    half = float(stats.t.ppf((1.0 + each) / 2.0, J - 1) * np.sqrt(v + f))
    return PairedMean(J, N, delta, half, unseen_share(sample, each, groups_claimed=1))


def sign_flip_p(difference: Numbers, *, permutations: int, seed: int) -> float:
    """The two-sided p-value that A and B are alike: exact up to `EXACT` speakers who differ, else (1 + #) / (1 + B).

    Speakers whose |D_j| are equal are drawn together: how many of them turn positive is binomial.

    Args:
        difference: [speakers], D_j.
        seed: of `numpy.random.default_rng`.
    """
    sizes = np.abs(difference[difference != 0.0])
    if not sizes.size:
        return 1.0
    seen = abs(float(difference.sum())) * _TIE
    if sizes.size <= EXACT:
        signs = np.array(list(product((-1.0, 1.0), repeat=sizes.size)))
        return float((np.abs(signs @ sizes) >= seen).mean())
    generator = np.random.default_rng(seed)
    values, times = np.unique(sizes, return_counts=True)
    as_extreme, block = 0, max(1, _DRAWS_AT_ONCE // values.size)
    for first in range(0, permutations, block):
        rows = min(block, permutations - first)
        positive = generator.binomial(times, 0.5, size=(rows, values.size))
        as_extreme += int((np.abs((2.0 * positive - times) @ values) >= seen).sum())
    return (1 + as_extreme) / (1 + permutations)
