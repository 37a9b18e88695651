"""How many speakers a group takes, before anyone is asked to speak.

The plan is that of `gap`'s own interval, for G groups of J speakers each, whose mean scores have the SD sd:

    v(J) = sd^2 / J + f(J)            f, q: the allowance for unseen speakers; f only where sd < SPREAD_SD
    c(J) = 1.02 Tukey's studentised range / sqrt(2), 2 (J - 1) degrees of freedom: all pairs' largest statistic
    a gap d is found            if  d - tolerance >= (c(J) + z_power) sqrt(2 v(J))
    no gap is `equivalent`      if  tolerance >= r_power sqrt(v(J)) + max(c(J) sqrt(2 v(J)), q(J)),
                                    r_power the quantile of the range of G means of which no two differ

so that a plan promises nothing that `gap` can't conclude: no tolerance below q(J) = ln(G / (1 - confidence)) / J, and
nothing from fewer than `min_speakers`. It can't know whether the spread will be carried by enough speakers to be
believed (`SPREAD_SPEAKERS`): events that fewer than four speakers of a group meet take more speakers than it says.

Source: Games & Howell 1976 (pairs with variances of their own).
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from math import log, sqrt

from scipy import stats

from monitoring.parity.additive import pooled_speaker_variance
from monitoring.parity.arguments import FEWEST_SPEAKERS, check_confidence, check_min_speakers, check_tolerance
from monitoring.parity.gaps import POWER
from monitoring.parity.sample import GroupSample, declared_samples
from monitoring.parity.table import SpeakerTable
from monitoring.parity.unseen import SPREAD_SD

MOST_SPEAKERS = 10_000_000
"""A plan that would take more is refused."""
_BOOTSTRAP_ERROR = 1.02
"""`gap` takes c from a bootstrap, whose error, never below z, makes it larger than in theory by about so much."""
_ROUNDS = 8  # of alternating between c and J; three settle it


@dataclass(frozen=True)
class Aim:
    """What an audit of several groups is to be able to say."""

    groups: int = 2
    """G, that are compared"""
    tolerance: float = 0.0
    confidence: float = 0.95
    power: float = POWER
    """share of audits that are to find it"""
    min_speakers: int = 20

    def __post_init__(self) -> None:
        check_confidence(self.confidence)
        check_tolerance(self.tolerance)
        check_min_speakers(self.min_speakers)
        if self.groups < 2:
            raise ValueError(f"groups is {self.groups}; two or more are compared")
        if not 0.5 <= self.power < 1.0:
            raise ValueError(f"power is {self.power}; a probability of 0.5 or more is accepted")


@dataclass(frozen=True)
class GroupPlan:
    """One group's speakers, as they are and as they ought to be."""

    group: str
    speakers: int
    clips_per_speaker: float
    speaker_sd: float
    """of speakers' mean scores; of all groups together where this one has fewer than 10 speakers"""
    detectable_gap: float
    """what as many speakers as this group has, in each group, would find; inf under `min_speakers`"""
    speakers_for_gap: int
    """that the group takes for the gap to be found, if the other groups have what they take, too"""
    speakers_for_equivalence: int | None
    """that it takes for no gap to be called `equivalent`; None at a tolerance of 0, which nothing is within"""


def detectable_gap(speakers: int, *, speaker_sd: float, aim: Aim) -> float:
    """The smallest true gap, on the scale [0, 1], that `power` of audits with J speakers a group call a `disparity`.

    Args:
        speakers: J, of each group.
        speaker_sd: sd of speakers' mean scores within a group (`speaker_sd` of `monitoring.parity.design` plans it).

    Returns:
        d; inf where J is under `min_speakers`, and above 1 where no gap there can be is found.
    """
    _check_sd(speaker_sd)
    if speakers < aim.min_speakers:
        return float("inf")
    return _detectable(speakers, speaker_sd, aim, _critical(aim.groups, aim.confidence, speakers))


def speakers_for_gap(gap: float, *, speaker_sd: float, aim: Aim) -> int:
    """The fewest speakers of each group with which `power` of audits call a true gap a `disparity`.

    Args:
        gap: the true gap d, above the tolerance, at most 1.

    Raises:
        ValueError: an argument outside its range, or a gap that would take more than `MOST_SPEAKERS`.
    """
    _check_sd(speaker_sd)
    if not aim.tolerance < gap <= 1.0:
        raise ValueError(f"gap is {gap}; one above the tolerance, {aim.tolerance}, and at most 1 is accepted")
    return _fewest(lambda J, c: _detectable(J, speaker_sd, aim, c) <= gap, aim, f"a gap of {gap}")


def speakers_for_equivalence(*, speaker_sd: float, aim: Aim) -> int:
    """The fewest speakers of each group with which `power` of audits call equal groups `equivalent`.

    Raises:
        ValueError: an argument outside its range, a tolerance of 0, or more than `MOST_SPEAKERS`.
    """
    _check_sd(speaker_sd)
    if aim.tolerance <= 0.0:
        raise ValueError("tolerance is 0; no number of speakers shows that groups differ by nothing at all")
    r_power = float(stats.studentized_range.ppf(aim.power, aim.groups, float("inf")))

    def is_enough(J: int, c: float) -> bool:
        v = _variance(J, speaker_sd, aim)
        reach = max(c * sqrt(2.0 * v), _unseen(J, aim))
        return r_power * speaker_sd / sqrt(J) + reach <= aim.tolerance

    return _fewest(is_enough, aim, f"a tolerance of {aim.tolerance}")


def plan(table: SpeakerTable, *, gap: float, aim: Aim) -> tuple[GroupPlan, ...]:
    """What each declared group of an audit at hand takes for the next one, sorted; `aim.groups` is taken as it is.

    Raises:
        ValueError: as `speakers_for_gap`; no declared group with two speakers or more.
    """
    samples = declared_samples(table)
    if not any(sample.J > 1 for sample in samples.values()):
        raise ValueError("no declared group has two speakers; speakers' spread can't be told, so give it by hand")
    sigma = sqrt(pooled_speaker_variance(list(samples.values())))
    plans = []
    for name, sample in samples.items():
        sd = sample.speaker_sd if sample.J >= FEWEST_SPEAKERS else _pooled_sd(sample, sigma)
        plans.append(
            GroupPlan(
                group=name,
                speakers=sample.J,
                clips_per_speaker=sample.N / sample.J,
                speaker_sd=sd,
                detectable_gap=detectable_gap(sample.J, speaker_sd=sd, aim=aim),
                speakers_for_gap=speakers_for_gap(gap, speaker_sd=sd, aim=aim),
                speakers_for_equivalence=speakers_for_equivalence(speaker_sd=sd, aim=aim) if aim.tolerance else None,
            )
        )
    return tuple(plans)


def _pooled_sd(sample: GroupSample, sigma: float) -> float:
    """sqrt(J v~), v~ the pooled variance of this group's mean."""
    return sigma * sqrt(sample.J * float((sample.n**2).sum())) / sample.N


def _detectable(J: int, sd: float, aim: Aim, c: float) -> float:
    return aim.tolerance + (c + float(stats.norm.ppf(aim.power))) * sqrt(2.0 * _variance(J, sd, aim))


def _variance(J: int, sd: float, aim: Aim) -> float:
    """v(J)"""
    z = float(stats.norm.ppf((1.0 + aim.confidence) / 2.0))
    return sd**2 / J + (0.0 if sd >= SPREAD_SD else (_unseen(J, aim) / z) ** 2)


def _unseen(J: int, aim: Aim) -> float:
    """q(J)"""
    return log(aim.groups / (1.0 - aim.confidence)) / J


@cache
def _critical(groups: int, confidence: float, speakers: int) -> float:
    """c(J); of two groups it is Student's quantile."""
    if groups == 2:
        return _BOOTSTRAP_ERROR * float(stats.t.ppf((1.0 + confidence) / 2.0, 2 * (speakers - 1)))
    return _BOOTSTRAP_ERROR * float(stats.studentized_range.ppf(confidence, groups, 2 * (speakers - 1))) / sqrt(2.0)


def _fewest(is_enough: Callable[[int, float], bool], aim: Aim, what: str) -> int:
    """The fewest J >= min_speakers that are enough at c(J)."""
    J = aim.min_speakers
    for _ in range(_ROUNDS):
        c = _critical(aim.groups, aim.confidence, J)
        found = _bisect(lambda k, c=c: is_enough(k, c), aim.min_speakers, what)  # type: ignore[misc]
        if found == J:
            break
        J = found
    while not is_enough(J, _critical(aim.groups, aim.confidence, J)):
        J += 1
    return J


def _bisect(is_enough: Callable[[int], bool], fewest: int, what: str) -> int:
    """The smallest J from `fewest` on of which it is true, and of all above it."""
    low, high = fewest - 1, fewest
    while not is_enough(high):
        if high >= MOST_SPEAKERS:
            raise ValueError(f"{what} would take more than {MOST_SPEAKERS:,} speakers a group; aim at a larger one")
        low, high = high, min(2 * high, MOST_SPEAKERS)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if is_enough(middle) else (middle, high)
    return high


def _check_sd(speaker_sd: float) -> None:
    if not 0.0 <= speaker_sd <= 0.5:
        raise ValueError(f"speaker_sd is {speaker_sd}; scores in [0, 1] have one in [0, 0.5]")
