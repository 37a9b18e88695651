"""The gap between groups, and how sure one can be of it."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import combinations
from math import nan

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from monitoring.parity.arguments import check_confidence, check_min_speakers, check_replicates, check_tolerance
from monitoring.parity.resample import resample
from monitoring.parity.sample import GroupSample, declared_samples
from monitoring.parity.table import SpeakerTable
from monitoring.parity.unseen import unseen_share, unseen_variance

POWER = 0.8
"""Of the minimum detectable gap."""


class Verdict(StrEnum):
    """What an audit may say of a gap."""

    DISPARITY = "disparity"
    """the gap exceeds the tolerance: lower > tolerance"""
    EQUIVALENT = "equivalent"
    """the gap is within the tolerance: upper <= tolerance"""
    INCONCLUSIVE = "inconclusive"
    """the speakers at hand leave both possible"""
    INSUFFICIENT = "insufficient"
    """fewer than two groups have enough speakers to be compared"""


@dataclass(frozen=True)
class Gap:
    """The gap between groups, with a simultaneous interval; `undeclared` is in none of its numbers."""

    value: float
    """max - min of mu_g over all declared groups: the paper's parity, biased upward; NaN under two groups"""
    value_compared: float
    """max - min of mu_g over the compared groups; NaN if insufficient"""
    lower: float
    """L, of the gap between the compared groups, in [0, 1]; NaN if insufficient"""
    upper: float
    """U, likewise"""
    verdict: Verdict
    compared: tuple[str, ...]
    """declared groups with at least `min_speakers` speakers, sorted"""
    too_small: tuple[str, ...]
    """the other declared groups, sorted"""
    highest: str | None
    """compared group with the largest mean; None if insufficient"""
    lowest: str | None
    minimum_detectable_gap: float
    """(1.96 + 0.84) sqrt(v_a + v_c) of `highest` and `lowest`: the true gap that a test of these two alone tells from 0
    with 80 % power. A `disparity` takes a larger one, since the interval holds for all pairs and the tolerance comes on
    top: see `monitoring.parity.planning`. NaN if insufficient"""
    tolerance: float
    confidence: float
    min_speakers: int
    replicates: int
    seed: int


def gap(
    table: SpeakerTable,
    *,
    tolerance: float,
    min_speakers: int = 20,
    confidence: float = 0.95,
    replicates: int = 2000,
    seed: int,
) -> Gap:
    """The max - min gap between groups, with an interval that holds for all pairs of groups at once.

    Speaker bootstrap-t, stratified by group (multinomial weights on speakers), over all pairs of compared
    groups, i.e. those with at least `min_speakers` speakers:

        T*_b = max_{a<c} |(mu*_a - mu*_c) - (mu_a - mu_c)| / sqrt(v*_a + v*_c)
        h_ac = c sqrt(v_a + v_c),    c = the `confidence` quantile of T*, at least z
        L = max_{a<c} max(0, |mu_a - mu_c| - h_ac)
        U = max_{a<c} |mu_a - mu_c| + max(h_ac, q_a, q_c), at most 1

    q is the unseen share (see `monitoring.parity`, G = the number of compared groups). Hence two groups are never
    `equivalent` at a tolerance below ln(2 / (1 - confidence)) / J, J the speakers of the smaller one, whatever was
    seen: 0.05 at 95 % takes 74 speakers each, and more where the means differ, speakers vary much or nobody shows any
    spread. v and v* of a group that shows none are both raised by f_g. A replicate in which a pair's difference moved
    although no variance is left counts as T* = infinity, which can only widen the interval.

    Guarantee: L <= gap <= U for the compared groups in about `confidence` of audits, hence a false `disparity` or
    `equivalent` in about 1 - confidence of them at worst. It holds as the speakers become many; the tests simulate
    25 to 150 a group: equal groups, unequal ones, rare rejections, and a few speakers who are always turned away. It
    says nothing of the groups in `too_small`, and it is one interval: among many verdicts some are false.

    Args:
        tolerance: gap that is still acceptable, in [0, 1].
        min_speakers: a group with fewer is listed in `too_small` and not compared; >= 10.
        replicates: bootstrap replicates, >= 100.
        seed: of `numpy.random.default_rng`.

    Raises:
        ValueError: an argument outside its range.

    Source: max-T over pairs as in Romano & Wolf 2005.
    """
    check_confidence(confidence)
    check_tolerance(tolerance)
    check_min_speakers(min_speakers)
    check_replicates(replicates)

    declared = declared_samples(table)
    compared = {name: sample for name, sample in declared.items() if min_speakers <= sample.J}
    value = _range([sample.mu for sample in declared.values()])
    value_compared = lower = upper = detectable = nan
    highest = lowest = None
    verdict = Verdict.INSUFFICIENT
    if len(compared) >= 2:
        samples = list(compared.values())
        unseen = np.array([unseen_variance(sample, confidence, groups_claimed=len(samples)) for sample in samples])
        q = np.array([unseen_share(sample, confidence, groups_claimed=len(samples)) for sample in samples])
        mu = np.array([sample.mu for sample in samples])
        v = np.array([sample.v for sample in samples]) + unseen
        z = float(stats.norm.ppf((1.0 + confidence) / 2.0))
        c = max(z, _bootstrap_quantile(samples, unseen, confidence, replicates, np.random.default_rng(seed)))
        lower, upper = _invert(mu, v, c, q)
        verdict = _verdict(lower, upper, tolerance)
        value_compared = _range(mu)
        top, bottom = int(mu.argmax()), int(mu.argmin())
        highest, lowest = list(compared)[top], list(compared)[bottom]
        detectable = float((z + stats.norm.ppf(POWER)) * np.sqrt(v[top] + v[bottom]))
    return Gap(
        value=value,
        value_compared=value_compared,
        lower=lower,
        upper=upper,
        verdict=verdict,
        compared=tuple(compared),
        too_small=tuple(name for name in declared if name not in compared),
        highest=highest,
        lowest=lowest,
        minimum_detectable_gap=detectable,
        tolerance=tolerance,
        confidence=confidence,
        min_speakers=min_speakers,
        replicates=replicates,
        seed=seed,
    )


def _bootstrap_quantile(
    samples: Sequence[GroupSample],
    unseen: NDArray[np.float64],
    confidence: float,
    replicates: int,
    generator: np.random.Generator,
) -> float:
    """The `confidence` quantile of T*, the largest studentised error over all pairs."""
    drawn = [resample(sample, replicates, generator) for sample in samples]
    largest = np.zeros(replicates)
    for a, c in combinations(range(len(samples)), 2):
        error = np.abs(drawn[a][0] - drawn[c][0])
        deviation = np.sqrt(drawn[a][1] + unseen[a] + drawn[c][1] + unseen[c])
        with np.errstate(divide="ignore", invalid="ignore"):
            T = np.where(error > 0.0, error / deviation, 0.0)
        np.maximum(largest, T, out=largest)
    return float(np.quantile(largest, confidence, method="higher"))


def _invert(mu: NDArray[np.float64], v: NDArray[np.float64], c: float, q: NDArray[np.float64]) -> tuple[float, float]:
    """L and U of max - min over all pairs of groups."""
    a, b = np.triu_indices(mu.size, k=1)
    difference = np.abs(mu[a] - mu[b])
    h = c * np.sqrt(v[a] + v[b])
    reach = np.maximum(h, np.maximum(q[a], q[b]))
    return max(0.0, float((difference - h).max())), min(1.0, float((difference + reach).max()))


def _verdict(lower: float, upper: float, tolerance: float) -> Verdict:
    if lower > tolerance:
        return Verdict.DISPARITY
    return Verdict.EQUIVALENT if upper <= tolerance else Verdict.INCONCLUSIVE


def _range(values: Sequence[float] | NDArray[np.float64]) -> float:
    return float(max(values) - min(values)) if len(values) >= 2 else nan
