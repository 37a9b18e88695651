"""How far apart groups are, and how sure one can be of it, when speakers, not clips, are what was sampled.

One row per speaker j of group g, with n_j clips and the sum s_j of their scores, carries every estimate:

    mu_g = sum_j s_j / N_g,    N_g = sum_j n_j
    v_g  = J_g / (J_g - 1) * sum_j (s_j - mu_g n_j)^2 / N_g^2        (cluster-robust, J_g speakers)

**Speakers whom the sample did not meet.** Speakers who are always turned away and make up a share q of a group are
absent from J_g of its speakers with probability (1 - q)^J_g < exp(-q J_g). So no sample excludes, at (1 - confidence)
over G groups, an *unseen share* of

    q_g = ln(G / (1 - confidence)) / J_g,

the rule of three counted in speakers: 3 / J_g for one group at 95 %. It needs scores in [0, 1], and is used twice:

- Whatever spread is seen, the upper bound U of a gap reaches q_g beyond the gap in the sample: see `gap`.
- v_g is 0, and says nothing, when no speaker of the sample met a rare event. A group *shows its spread* if its
  speakers' standard deviation sqrt(J_g v_g) is at least `SPREAD_SD`, and at least `SPREAD_SPEAKERS` speakers (a
  quarter of the group if that is fewer) carry it, counted as (sum_j d_j^2)^2 / sum_j d_j^4 with d_j = s_j / n_j - mu_g:
  if k of many speakers deviate, alike, and the rest do not, that is k. To any other group's variance we add an unseen
  speaker's, f_g = (q_g / z)^2, z the two-sided normal quantile, so that z sqrt(f_g) = q_g. L and c rest on it.

Source: Cameron, Gelbach & Miller 2008 (cluster bootstrap-t); Hanley & Lippman-Hand 1983 (rule of three).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import combinations
from math import isnan, log, nan
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from recognizer.groups import UNDECLARED

FEWEST_SPEAKERS = 10
"""`min_speakers` goes no lower: one smaller group makes the joint interval of all groups useless."""
FEWEST_REPLICATES = 100
SPREAD_SPEAKERS = 4
"""Speakers that must carry a group's spread before it is believed."""
SPREAD_SD = 0.01
"""Standard deviation of speakers' scores, on the scale [0, 1], below which a group counts as constant."""
POWER = 0.8
"""Of the minimum detectable gap."""
_DRAWS_AT_ONCE = 2_000_000
"""Speakers drawn in one step of the bootstrap: some 50 MB."""


@dataclass(frozen=True, eq=False)
class SpeakerTable:
    """One row per speaker: what every estimate is computed from.

    Raises:
        ValueError: no rows, columns of unequal length, a speaker listed twice, a speaker without clips, or a
            score that is not a sum of `clips` scores in [0, 1].
    """

    speaker: NDArray[np.str_]
    """[speakers], each once"""
    group: NDArray[np.str_]
    """[speakers], value of one attribute; `undeclared` where there is none"""
    clips: NDArray[np.int64]
    """[speakers], n_j >= 1"""
    score: NDArray[np.float64]
    """[speakers], s_j: sum of the per-clip scores, in [0, n_j]"""

    def __post_init__(self) -> None:
        _check_columns(speaker=self.speaker, group=self.group, clips=self.clips, score=self.score)
        if np.unique(self.speaker).size != self.speaker.size:
            raise ValueError("a speaker is listed twice; one row per speaker is accepted: see from_clips")
        if self.clips.min() < 1:
            raise ValueError("a speaker has no clips; leave such speakers out")
        if not np.all((self.score >= 0.0) & (self.score <= self.clips)):
            raise ValueError("a speaker's score is NaN or outside [0, clips]; a sum of scores in [0, 1] is accepted")

    @classmethod
    def from_clips(cls, *, speaker: ArrayLike, group: ArrayLike, score: ArrayLike) -> Self:
        """Sums per-clip scores by speaker; the order of the clips changes nothing, to the last bit.

        Args:
            speaker: str [clips], opaque ids.
            group: str [clips], the speaker's value of one attribute, `undeclared` where there is none.
            score: float [clips], per-clip scores in [0, 1] (`monitoring.scores`).

        Raises:
            ValueError: no clips, columns of unequal length, ids or groups that are not strings, a score
                that is NaN or outside [0, 1], or a speaker in two groups.
        """
        speakers, groups = _strings(speaker, "speaker"), _strings(group, "group")
        scores = np.asarray(score, dtype=np.float64)
        _check_columns(speaker=speakers, group=groups, score=scores)
        outside = ~((scores >= 0.0) & (scores <= 1.0))
        if outside.any():
            raise ValueError(
                f"{int(outside.sum())} of {scores.size} scores are NaN or outside [0, 1], the first is "
                f"{scores[outside][0]}; leave out clips that have no score, and scale others to [0, 1]"
            )
        names, row = np.unique(speakers, return_inverse=True)
        order = np.lexsort((scores, row))
        row, scores, groups = row[order], scores[order], groups[order]
        start = np.flatnonzero(np.diff(row, prepend=-1))
        clips = np.diff(start, append=row.size)
        group_of_speaker = groups[start]
        stray = np.flatnonzero(groups != group_of_speaker[row])
        if stray.size:
            first = row[stray[0]]
            raise ValueError(
                f"speaker {str(names[first])!r} is in two groups, {str(group_of_speaker[first])!r} and "
                f"{str(groups[stray[0]])!r}; one value per speaker is accepted: settle it in the manifest"
            )
        total = np.add.reduceat(scores, start)
        return cls(speaker=names, group=group_of_speaker, clips=clips.astype(np.int64), score=total)


@dataclass(frozen=True)
class GroupMean:
    """A group's mean score with its uncertainty over speakers."""

    group: str
    speakers: int
    """J_g"""
    clips: int
    """N_g"""
    mean: float
    """mu_g, in [0, 1]"""
    variance: float
    """v_g, cluster-robust, as observed; NaN with one speaker"""
    lower: float
    """t interval with J_g - 1 degrees of freedom, cut to [0, 1]; NaN with one speaker"""
    upper: float


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
    """(1.96 + 0.84) sqrt(v_a + v_c) of `highest` and `lowest`: the true gap between these two that samples like
    theirs tell from 0 in 80 % of audits; NaN if insufficient"""
    tolerance: float
    confidence: float
    min_speakers: int
    replicates: int
    seed: int


def group_means(table: SpeakerTable, *, confidence: float = 0.95) -> tuple[GroupMean, ...]:
    """Mean, cluster-robust variance and t interval of every group, `undeclared` included, sorted by group.

    The interval is mu_g +- t sqrt(v_g), t with J_g - 1 degrees of freedom; a group that shows no spread gets
    v_g + f_g (above, with G = 1) instead of v_g. A group that shows its spread gets no more than Student's interval:
    it does not allow for the unseen share, and must not be read as a bound on rare speakers who are always turned away.

    Raises:
        ValueError: confidence outside (0, 1).
    """
    _check_confidence(confidence)
    means = []
    for name, sample in _groups(table).items():
        half = nan
        if sample.J > 1:
            t = float(stats.t.ppf((1.0 + confidence) / 2.0, sample.J - 1))
            half = t * float(np.sqrt(sample.v + _unseen_variance(sample, confidence, groups_claimed=1)))
        means.append(
            GroupMean(
                group=name,
                speakers=sample.J,
                clips=sample.N,
                mean=sample.mu,
                variance=sample.v,
                lower=nan if isnan(half) else max(0.0, sample.mu - half),
                upper=nan if isnan(half) else min(1.0, sample.mu + half),
            )
        )
    return tuple(means)


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

    q is the unseen share (module docstring, G = the number of compared groups). Hence two groups are never
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
    _check_confidence(confidence)
    if not 0.0 <= tolerance <= 1.0:
        raise ValueError(f"tolerance is {tolerance}; a gap in [0, 1] is accepted")
    if min_speakers < FEWEST_SPEAKERS:
        raise ValueError(f"min_speakers is {min_speakers}; {FEWEST_SPEAKERS} or more are accepted")
    if replicates < FEWEST_REPLICATES:
        raise ValueError(f"replicates is {replicates}; {FEWEST_REPLICATES} or more are accepted")

    declared = {name: sample for name, sample in _groups(table).items() if name != UNDECLARED}
    compared = {name: sample for name, sample in declared.items() if min_speakers <= sample.J}
    value = _range([sample.mu for sample in declared.values()])
    value_compared = lower = upper = detectable = nan
    highest = lowest = None
    verdict = Verdict.INSUFFICIENT
    if len(compared) >= 2:
        samples = list(compared.values())
        unseen = np.array([_unseen_variance(sample, confidence, groups_claimed=len(samples)) for sample in samples])
        q = np.array([_unseen_share(sample, confidence, groups_claimed=len(samples)) for sample in samples])
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


@dataclass(frozen=True)
class _Group:
    """One group's speakers and moments, in the symbols of the module docstring."""

    n: NDArray[np.float64]
    r: NDArray[np.float64]
    """s_j - mu_g n_j"""
    J: int
    N: int
    mu: float
    v: float


def _groups(table: SpeakerTable) -> dict[str, _Group]:
    names, member = np.unique(table.group, return_inverse=True)
    rows = np.split(np.argsort(member, kind="stable"), np.cumsum(np.bincount(member))[:-1])
    return {str(name): _group(table.clips[own], table.score[own]) for name, own in zip(names, rows, strict=True)}


def _group(clips: NDArray[np.int64], score: NDArray[np.float64]) -> _Group:
    J, N = clips.size, int(clips.sum())
    mu = float(score.sum() / N)
    r = score - mu * clips
    v = float(J / (J - 1) * np.square(r).sum() / N**2) if J > 1 else nan
    return _Group(n=clips.astype(np.float64), r=r, J=J, N=N, mu=mu, v=v)


def _unseen_share(sample: _Group, confidence: float, *, groups_claimed: int) -> float:
    """q_g (module docstring)."""
    return log(groups_claimed / (1.0 - confidence)) / sample.J


def _unseen_variance(sample: _Group, confidence: float, *, groups_claimed: int) -> float:
    """f_g, or 0 for a group that shows its spread (module docstring)."""
    squares = np.square(sample.r / sample.n)
    is_carried = squares.sum() ** 2 >= min(SPREAD_SPEAKERS, sample.J / 4) * np.square(squares).sum()
    if is_carried and np.sqrt(sample.J * sample.v) >= SPREAD_SD:
        return 0.0
    z = float(stats.norm.ppf((1.0 + confidence) / 2.0))
    return (_unseen_share(sample, confidence, groups_claimed=groups_claimed) / z) ** 2


def _bootstrap_quantile(
    samples: Sequence[_Group],
    unseen: NDArray[np.float64],
    confidence: float,
    replicates: int,
    generator: np.random.Generator,
) -> float:
    """The `confidence` quantile of T*, the largest studentised error over all pairs."""
    drawn = [_resample(sample, replicates, generator) for sample in samples]
    largest = np.zeros(replicates)
    for a, c in combinations(range(len(samples)), 2):
        error = np.abs(drawn[a][0] - drawn[c][0])
        deviation = np.sqrt(drawn[a][1] + unseen[a] + drawn[c][1] + unseen[c])
        with np.errstate(divide="ignore", invalid="ignore"):
            T = np.where(error > 0.0, error / deviation, 0.0)
        np.maximum(largest, T, out=largest)
    return float(np.quantile(largest, confidence, method="higher"))


def _resample(
    sample: _Group, replicates: int, generator: np.random.Generator
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """mu* - mu and v* of `replicates` resamples of J speakers with replacement, each float64 [replicates]."""
    n, r, J = sample.n, sample.r, sample.J
    columns = np.stack([n, r, r * r, r * n, n * n], axis=1)
    sums = np.empty((replicates, columns.shape[1]))
    block = max(1, _DRAWS_AT_ONCE // J)
    for first in range(0, replicates, block):
        rows = min(block, replicates - first)
        drawn = generator.integers(J, size=(rows, J)) + J * np.arange(rows)[:, None]
        weights = np.bincount(drawn.ravel(), minlength=rows * J).reshape(rows, J)
        sums[first : first + rows] = weights @ columns
    N, R, RR, RN, NN = sums.T
    shift = R / N
    squares = np.maximum(RR - 2.0 * shift * RN + shift**2 * NN, 0.0)
    return shift, J / (J - 1) * squares / N**2


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


def _strings(values: ArrayLike, name: str) -> NDArray[np.str_]:
    array = np.asarray(values)
    if array.dtype.kind != "U" and not all(isinstance(value, str) for value in array.flat):
        raise ValueError(f"{name} holds values that are no strings; strings are accepted, {UNDECLARED!r} for no group")
    return array.astype(np.str_)


def _check_columns(**columns: NDArray[Any]) -> None:
    shapes = {name: column.shape for name, column in columns.items()}
    if len(set(shapes.values())) != 1 or any(len(shape) != 1 for shape in shapes.values()):
        raise ValueError(f"the columns have shapes {shapes}; flat columns of one length are accepted")
    if any(column.size == 0 for column in columns.values()):
        raise ValueError("there is no clip to measure; one row or more is accepted")


def _check_confidence(confidence: float) -> None:
    if not 0.0 < confidence < 1.0:
        raise ValueError(f"confidence is {confidence}; a probability between 0 and 1 is accepted")
