"""Are groups treated alike? Labels permuted over speakers, and Holm's correction to name the groups that are not.

    T   = max_{a<c} |mu_a - mu_c| / sqrt(v_a + v_c)              over pairs of compared groups
    T_g = |mu_g - mu_rest| / sqrt(v_g + v_rest)                  one group against the speakers of all others
    p   = (1 + #{T* >= T}) / (1 + B)

If a speaker's row (n_j, s_j) has the same law in every group, every way to hand the labels to the speakers is as likely
as the one seen, so P(p <= alpha) <= alpha at any number of speakers. Studentising keeps that true of large groups where
only the means are equal and the spreads are not. A speaker's clips stay together: permuted one by one, clips of one
speaker pass for independent, and the test is wrong many times as often as it says.

To the variance of a group that shows no spread f_g is added, as in `gap`, anew under every permutation: T and T* are
one function of the labels, which is all that the argument needs.

Source: DiCiccio, Vasudevan, Basu, Kenthapadi & Agarwal 2020 (studentised permutation of fairness metrics), Chung &
Romano 2013; Phipson & Smyth 2010 (the 1 + in p); Holm 1979.
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from math import nan

import numpy as np
from numpy.typing import NDArray

from monitoring.parity.arguments import check_confidence, check_min_speakers, check_permutations
from monitoring.parity.label_sums import sums_by_label
from monitoring.parity.labels import shuffled_labels
from monitoring.parity.resample import THREADS
from monitoring.parity.sample import GroupSample, declared_samples
from monitoring.parity.table import SpeakerTable
from monitoring.parity.unseen import unseen_variances

_LABELS_AT_ONCE = 20_000
"""Labels handed out in one step: what a processor's cache holds with the speakers' rows."""
_TIE = 1.0 - 1e-9
"""Sums in another order differ in the last digits; T* this close below T counts as equal to it."""

Numbers = NDArray[np.float64]


@dataclass(frozen=True)
class GroupTest:
    """One group against the speakers of all other compared groups."""

    group: str
    difference: float
    """mu_g - mu_rest"""
    statistic: float
    """T_g"""
    p_value: float
    """of this group alone"""
    p_holm: float
    """after Holm's correction over the compared groups; may be compared with alpha"""


@dataclass(frozen=True)
class PermutationTest:
    """The test that all compared groups are treated alike."""

    statistic: float
    """T; NaN if fewer than two groups have enough speakers"""
    p_value: float
    """likewise"""
    groups: tuple[GroupTest, ...]
    """the compared groups, sorted; empty if insufficient"""
    too_small: tuple[str, ...]
    """declared groups with fewer than `min_speakers` speakers, whose speakers take no part"""
    min_speakers: int
    permutations: int
    seed: int


def permutation_test(
    table: SpeakerTable,
    *,
    min_speakers: int = 20,
    confidence: float = 0.95,
    permutations: int = 2000,
    seed: int,
) -> PermutationTest:
    """Test that speakers of all compared groups are treated alike, and name those that are not.

    Args:
        min_speakers: as of `gap`; >= 10.
        confidence: of the allowance for unseen speakers.
        permutations: B, >= 100; p is no smaller than 1 / (1 + B).
        seed: of `numpy.random.default_rng`.

    Raises:
        ValueError: an argument outside its range.
    """
    check_confidence(confidence)
    check_min_speakers(min_speakers)
    check_permutations(permutations)
    declared = declared_samples(table)
    compared = {name: sample for name, sample in declared.items() if min_speakers <= sample.J}
    statistic = p_value = nan
    groups: tuple[GroupTest, ...] = ()
    if len(compared) >= 2:
        samples = list(compared.values())
        sizes = np.array([sample.J for sample in samples])
        columns = _columns(samples)
        seen = np.add.reduceat(columns, np.cumsum(sizes) - sizes, axis=0)[None]
        pairs, rests, differences = _statistics(seen, sizes, confidence)
        shuffled = _permuted(columns, sizes, permutations, confidence, np.random.default_rng(seed))
        statistic = float(pairs[0])
        p_value = float(_p_value(shuffled[0], pairs))
        p_values = _p_value(shuffled[1], rests)
        groups = tuple(
            GroupTest(group=name, difference=float(d), statistic=float(T), p_value=float(p), p_holm=float(adjusted))
            for name, d, T, p, adjusted in zip(
                compared, differences[0], rests[0], p_values, holm(p_values), strict=True
            )
        )
    return PermutationTest(
        statistic=statistic,
        p_value=p_value,
        groups=groups,
        too_small=tuple(name for name in declared if name not in compared),
        min_speakers=min_speakers,
        permutations=permutations,
        seed=seed,
    )


def holm(p_values: Sequence[float] | Numbers) -> Numbers:
    """Holm's adjusted p-values: reject those <= alpha, and with probability 1 - alpha none of them is true.

    The i-th smallest of m p-values becomes the largest of (m - k + 1) p_(k) over k <= i, at most 1.

    Args:
        p_values: [m].

    Returns:
        float64 [m], in the order given.

    Source: Holm 1979.
    """
    p = np.asarray(p_values, dtype=np.float64)
    order = np.argsort(p, kind="stable")
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(np.maximum.accumulate(np.arange(p.size, 0, -1) * p[order]), 1.0)
    return adjusted


def _columns(samples: Sequence[GroupSample]) -> Numbers:
    """What is summed by group, of every speaker: [J, 9]; scores are centred at the mean of all, to lose no digits."""
    n = np.concatenate([sample.n for sample in samples])
    s = np.concatenate([sample.r + sample.mu * sample.n for sample in samples])
    s = s - s.sum() / n.sum() * n
    m = s / n
    return np.stack([n, s, s * s, s * n, n * n, m, m**2, m**3, m**4], axis=1)


def _permuted(
    columns: Numbers, sizes: NDArray[np.int64], permutations: int, confidence: float, generator: np.random.Generator
) -> tuple[Numbers, Numbers]:
    """T* [permutations] and T*_g [permutations, groups]."""
    J, G = len(columns), sizes.size
    rows = max(1, _LABELS_AT_ONCE // J)
    blocks = [min(rows, permutations - k) for k in range(0, permutations, rows)]
    sums_of = sums_by_label(columns, G, at_once=rows)

    def sums(count: int, own: np.random.Generator) -> Numbers:
        return sums_of(shuffled_labels(sizes, count, own))

    with ThreadPoolExecutor(THREADS if J >= _LABELS_AT_ONCE else 1) as pool:
        found = np.concatenate(list(pool.map(sums, blocks, generator.spawn(len(blocks)))))
    pairs, rests, _ = _statistics(found, sizes, confidence)
    return pairs, rests


def _statistics(sums: Numbers, sizes: NDArray[np.int64], confidence: float) -> tuple[Numbers, Numbers, Numbers]:
    """T [...], and T_g and mu_g - mu_rest [..., groups], of sums [..., groups, 9]."""
    G = sizes.size
    mu, v = _moments(sums, sizes, confidence, G)
    mu_rest, v_rest = _moments(sums.sum(axis=-2, keepdims=True) - sums, sizes.sum() - sizes, confidence, G)
    a, c = np.triu_indices(G, k=1)
    pairs = (np.abs(mu[..., a] - mu[..., c]) / np.sqrt(v[..., a] + v[..., c])).max(axis=-1)
    return pairs, np.abs(mu - mu_rest) / np.sqrt(v + v_rest), mu - mu_rest


def _moments(sums: Numbers, J: NDArray[np.int64], confidence: float, groups_claimed: int) -> tuple[Numbers, Numbers]:
    """mu and v + f of groups of J speakers."""
    N, S, SS, SN, NN, m1, m2, m3, m4 = np.moveaxis(sums, -1, 0)
    mu = S / N
    v = J / (J - 1) * np.maximum(SS - 2.0 * mu * SN + mu**2 * NN, 0.0) / N**2
    d2 = np.maximum(m2 - 2.0 * mu * m1 + mu**2 * J, 0.0)
    d4 = np.maximum(m4 - 4.0 * mu * m3 + 6.0 * mu**2 * m2 - 4.0 * mu**3 * m1 + mu**4 * J, 0.0)
    return mu, v + unseen_variances(J.astype(np.float64), v, d2, d4, confidence, groups_claimed=groups_claimed)


def _p_value(shuffled: Numbers, seen: Numbers) -> Numbers:
    """(1 + #{T* >= T}) / (1 + B) over the first axis."""
    return np.asarray((1 + (shuffled >= _TIE * seen[0]).sum(axis=0)) / (1 + len(shuffled)))
