"""What a change does to groups: two scores of the same speakers, compared speaker by speaker.

The same function serves a defense against its baseline and one bundle against another. A speaker's two scores share
who speaks, so their difference varies far less than two audits' would. With e_j the speaker's part of a group's change,

    D_g = mu'_g - mu_g,    v(D_g) = J/(J-1) sum_j e_j^2,    e_j = r'_j / N'_g - r_j / N_g,    r_j = s_j - mu_g n_j

The gap is a maximum over pairs, so its change has no interval of its own: where two pairs are about as far apart, which
of them counts is chance. One bootstrap-t over speakers (both scores of a speaker are drawn together) gives three
families of intervals that hold all at once: each pair's difference before, after, and its change. With A the pairs
that may be the widest before, those whose upper bound reaches the largest lower bound, and A' those after,

    min over p in A of max(l(D_p), L' - u(d_p))  <=  gap' - gap  <=  max over p in A' of min(u(D_p), u(d'_p) - L)

with L and L' the largest lower bounds before and after: gap' - gap = gap' - d_p with p the widest pair before, gap' is
at least d'_p and at least L', and likewise from above. Where one pair is the widest beyond doubt, that is about the
interval of its change.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from math import nan

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from monitoring.parity.arguments import check_confidence, check_min_speakers, check_replicates, check_tolerance
from monitoring.parity.resample import resampled_sums
from monitoring.parity.sample import GroupSample, samples_of
from monitoring.parity.table import SpeakerTable
from monitoring.parity.unseen import unseen_share, unseen_variance
from recognizer.groups import UNDECLARED

Numbers = NDArray[np.float64]


class Change(StrEnum):
    """What may be said of a gap's change."""

    WIDER = "wider"
    """the gap grew by more than the tolerance: lower > tolerance"""
    NARROWER = "narrower"
    """it shrank by more than the tolerance: upper < -tolerance"""
    EQUIVALENT = "equivalent"
    """it changed by no more than the tolerance, either way"""
    INCONCLUSIVE = "inconclusive"
    INSUFFICIENT = "insufficient"
    """fewer than two groups have enough speakers"""


@dataclass(frozen=True)
class GroupChange:
    """A group's mean before and after."""

    group: str
    speakers: int
    before: float
    after: float
    difference: float
    """D_g, in [-1, 1]"""
    lower: float
    """t interval of D_g, this group's alone; NaN with one speaker"""
    upper: float


@dataclass(frozen=True)
class GapChange:
    """How the gap between groups changed; `undeclared` has no part in it."""

    before: float
    """gap between the compared groups; NaN if insufficient"""
    after: float
    difference: float
    """gap' - gap; NaN if insufficient"""
    lower: float
    upper: float
    verdict: Change
    groups: tuple[GroupChange, ...]
    """all groups, `undeclared` included, sorted"""
    compared: tuple[str, ...]
    too_small: tuple[str, ...]
    tolerance: float
    confidence: float
    min_speakers: int
    replicates: int
    seed: int


@dataclass(frozen=True, eq=False)
class _Paired:
    """One group's two samples of the same speakers."""

    before: GroupSample
    after: GroupSample

    @property
    def change(self) -> GroupSample:
        """The speakers' changes: mu is D_g, v is v(D_g), r / n how far a speaker's own change lies from D_g."""
        before, after = self.before, self.after
        e = after.r / after.N - before.r / before.N
        J = before.J
        v = float(J / (J - 1) * np.square(e).sum()) if J > 1 else nan
        apart = after.r / after.n - before.r / before.n
        return GroupSample(n=np.ones(J), r=apart, J=J, N=J, mu=after.mu - before.mu, v=v)

    def resample(self, replicates: int, generator: np.random.Generator) -> tuple[Numbers, Numbers]:
        """Errors and variances of mu, mu' and D, each [3, replicates]."""
        before, after = self.before, self.after
        z = np.stack([before.n, before.r, after.n, after.r], axis=1)
        k, l = np.triu_indices(4)  # noqa: E741
        sums = resampled_sums(np.concatenate([z, z[:, k] * z[:, l]], axis=1), replicates, generator)
        N, R, N_, R_ = sums[:, :4].T
        Q = np.empty((replicates, 4, 4))
        Q[:, k, l] = Q[:, l, k] = sums[:, 4:]
        none = np.zeros(replicates)
        of_before = np.stack([-R / N**2, 1 / N, none, none], axis=1)
        of_after = np.stack([none, none, -R_ / N_**2, 1 / N_], axis=1)
        shifts = np.stack([R / N, R_ / N_, R_ / N_ - R / N])
        squares = [np.einsum("bk,bkl,bl->b", a, Q, a) for a in (of_before, of_after, of_after - of_before)]
        return shifts, before.J / (before.J - 1) * np.maximum(np.stack(squares), 0.0)


def gap_change(
    before: SpeakerTable,
    after: SpeakerTable,
    *,
    tolerance: float = 0.0,
    min_speakers: int = 20,
    confidence: float = 0.95,
    replicates: int = 2000,
    seed: int,
) -> GapChange:
    """How much wider or narrower the gap is after a change, and what became of each group; arguments as of `gap`.

    Guarantee: lower <= gap' - gap <= upper, of the compared groups, in about `confidence` of comparisons or more. The
    ends that lie away from 0 allow for speakers whom the sample did not meet, as U of `gap` does.

    Args:
        before: the baseline's scores.
        after: the same speakers' other scores; their clips may differ, as where some could not be heard.

    Raises:
        ValueError: an argument outside its range, or tables of different speakers or groups.
    """
    check_confidence(confidence)
    check_tolerance(tolerance)
    check_min_speakers(min_speakers)
    check_replicates(replicates)
    samples = _paired(before, after)
    compared = {n: s for n, s in samples.items() if n != UNDECLARED and min_speakers <= s.before.J}
    gap_before = gap_after = lower = upper = nan
    verdict = Change.INSUFFICIENT
    if len(compared) >= 2:
        pairs = list(compared.values())
        gap_before, gap_after = (float(np.ptp([getattr(s, when).mu for s in pairs])) for when in ("before", "after"))
        lower, upper = _interval(pairs, confidence, replicates, np.random.default_rng(seed))
        verdict = _verdict(lower, upper, tolerance)
    return GapChange(
        before=gap_before,
        after=gap_after,
        difference=gap_after - gap_before,
        lower=lower,
        upper=upper,
        verdict=verdict,
        groups=tuple(_group_change(name, sample, confidence) for name, sample in samples.items()),
        compared=tuple(compared),
        too_small=tuple(name for name in samples if name != UNDECLARED and name not in compared),
        tolerance=tolerance,
        confidence=confidence,
        min_speakers=min_speakers,
        replicates=replicates,
        seed=seed,
    )


def _paired(before: SpeakerTable, after: SpeakerTable) -> dict[str, _Paired]:
    rows = [np.argsort(table.speaker) for table in (before, after)]
    if not np.array_equal(before.speaker[rows[0]], after.speaker[rows[1]]):
        only = np.setxor1d(before.speaker, after.speaker)
        raise ValueError(
            f"{only.size} speakers are in one table only, the first is {str(only[0])!r}; the same speakers are "
            "accepted: leave out those who were not heard both times"
        )
    moved = np.flatnonzero(before.group[rows[0]] != after.group[rows[1]])
    if moved.size:
        name = str(before.speaker[rows[0]][moved[0]])
        raise ValueError(f"{moved.size} speakers are in another group after than before, the first is {name!r}")
    first, second = (
        samples_of(SpeakerTable(t.speaker[k], t.group[k], t.clips[k], t.score[k]))
        for t, k in zip((before, after), rows, strict=True)
    )
    return {name: _Paired(first[name], second[name]) for name in first}


def _group_change(name: str, sample: _Paired, confidence: float) -> GroupChange:
    change, half = sample.change, nan
    if change.J > 1:
        t = float(stats.t.ppf((1.0 + confidence) / 2.0, change.J - 1))
        half = t * float(np.sqrt(change.v + unseen_variance(change, confidence, groups_claimed=1)))
    return GroupChange(
        group=name,
        speakers=change.J,
        before=sample.before.mu,
        after=sample.after.mu,
        difference=change.mu,
        lower=float(np.maximum(-1.0, change.mu - half)),
        upper=float(np.minimum(1.0, change.mu + half)),
    )


def _interval(
    groups: Sequence[_Paired], confidence: float, replicates: int, generator: np.random.Generator
) -> tuple[float, float]:
    """Bounds of gap' - gap (module docstring)."""
    families = [(s.before, s.after, s.change) for s in groups]
    G = len(groups)
    mu = np.array([[s.mu for s in of] for of in families]).T
    unseen = np.array([[unseen_variance(s, confidence, groups_claimed=G) for s in of] for of in families]).T
    v = np.array([[s.v for s in of] for of in families]).T + unseen
    q = np.array([unseen_share(of[0], confidence, groups_claimed=G) for of in families])
    a, c = (np.concatenate(both) for both in zip(np.triu_indices(G, 1), np.tril_indices(G, -1), strict=True))
    critical = _critical([s.resample(replicates, generator) for s in groups], unseen, confidence)
    d = mu[:, a] - mu[:, c]
    h = critical * np.sqrt(v[:, a] + v[:, c])
    reach = np.maximum(h, np.maximum(q[a], q[c]))
    L, L_ = ((d[k] - h[k]).max() for k in (0, 1))
    may_be_widest, may_be_widest_ = d[0] + reach[0] >= L, d[1] + reach[1] >= L_
    # Like L and U of `gap`: a bound that claims a change rests on h, one that rules it out allows for the unseen, too.
    low = np.where(d[2] - h[2] > 0.0, d[2] - h[2], d[2] - reach[2])
    high = np.where(d[2] + h[2] < 0.0, d[2] + h[2], d[2] + reach[2])
    low = np.maximum(low, L_ - d[0] - reach[0])[may_be_widest]
    high = np.minimum(high, d[1] + reach[1] - L)[may_be_widest_]
    return max(-1.0, float(low.min())), min(1.0, float(high.max()))


def _critical(drawn: Sequence[tuple[Numbers, Numbers]], unseen: Numbers, confidence: float) -> float:
    """The quantile of the largest studentised error over pairs and families, at least z."""
    largest = np.zeros(drawn[0][0].shape[1])
    for a in range(len(drawn)):
        for c in range(a):
            error = np.abs(drawn[a][0] - drawn[c][0])
            deviation = np.sqrt(drawn[a][1] + unseen[:, a, None] + drawn[c][1] + unseen[:, c, None])
            with np.errstate(divide="ignore", invalid="ignore"):
                T = np.where(error > 0.0, error / deviation, 0.0)
            np.maximum(largest, T.max(axis=0), out=largest)
    z = float(stats.norm.ppf((1.0 + confidence) / 2.0))
    return max(z, float(np.quantile(largest, confidence, method="higher")))


def _verdict(lower: float, upper: float, tolerance: float) -> Change:
    if lower > tolerance:
        return Change.WIDER
    if upper < -tolerance:
        return Change.NARROWER
    return Change.EQUIVALENT if -tolerance <= lower and upper <= tolerance else Change.INCONCLUSIVE
