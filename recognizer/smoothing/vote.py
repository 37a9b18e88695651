"""The statistics of a vote: whether its leader leads by more than chance, at a fixed number of draws or sequentially.

The test of the top two counts is Hung & Fithian 2019, "Rank verification for exponential families", as Cohen et al.
2019 use it. The sequential test is ours: it spends 1 % of error_alpha on a test that holds at every draw, and the rest
on Cohen's at the last one.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import numpy as np
import numpy.typing as npt
from scipy.special import betainc, betaincinv, betaln  # scipy.stats takes a second to load

Counts = npt.NDArray[np.int64]
"""int64 [..., K]: votes a label."""
Floats = npt.NDArray[np.float64]

EARLY_SHARE = 0.01
"""w: the part of error_alpha that stopping early may cost."""

SCORE_ALPHA = 0.001
"""The smallest error_alpha of the rejection score (eq. 2). A vote goes on until it is settled at this alpha too, even
where error_alpha is larger: a vote that stops early then has the score 0, as it nearly always would have at N draws."""


class VoteTest(StrEnum):
    """When a vote ends."""

    FIXED = "fixed"
    """After N draws: Cohen et al."""
    SEQUENTIAL = "sequential"
    """Once it is settled, after N draws at the latest."""


class InfeasibleSmoothing(ValueError):
    """Settings under which no clip could ever be accepted, or that mean nothing."""


def p_value(counts: Counts) -> Floats:
    """Two-sided binomial p-value that the top two labels are equally likely.

    p = min(1, 2 P[Bin(n_A + n_B, 1/2) >= n_A]) = min(1, 2 I_{1/2}(n_A, n_B + 1)), n_A >= n_B the two largest counts; a
    tie gives 1. One p-value serves every error_alpha: RS abstains iff p > error_alpha. It is valid at a number of draws
    that was fixed beforehand.

    Args:
        counts: int64 [..., K], K >= 2.

    Returns:
        float64 [...].
    """
    n_a, n_b = _top_two(np.asarray(counts))
    return np.asarray(np.minimum(1.0, 2.0 * betainc(np.maximum(n_a, 1), n_b + 1, 0.5)), dtype=np.float64)


def log_e_value(counts: Counts) -> Floats:
    """Natural logarithm of the e-value that the top two labels are equally likely.

    e = 2^(a+b) B(a + 1/2, b + 1/2) / B(1/2, 1/2), a >= b the two largest counts: a bet on the next vote, after those so
    far, by the Beta(1/2, 1/2) mixture (Krichevsky & Trofimov). If a label that is not the likeliest leads, its e-value
    against the likeliest exceeds 1/c at any draw at all with probability at most c (Ville); the runner-up's is the
    smallest e-value that a leader has against anyone.

    Args:
        counts: int64 [..., K], K >= 2.

    Returns:
        float64 [...].
    """
    a, b = _top_two(np.asarray(counts))
    return np.asarray((a + b) * np.log(2.0) + betaln(a + 0.5, b + 0.5) - betaln(0.5, 0.5), dtype=np.float64)


def lower_bound(successes: int, draws: int, error_alpha: float) -> float:
    """One-sided Clopper-Pearson lower bound of a probability at confidence 1 - error_alpha."""
    if successes == 0:
        return 0.0
    return float(betaincinv(successes, draws - successes + 1, error_alpha))


@dataclass(frozen=True)
class VoteRule:
    """How a vote is held, and when it is settled.

    Attributes:
        labels: K, at least 2.
        draws: N, the most draws a vote has.
        error_alpha: the probability, at most, that the leader of an accepted vote is not the likeliest label.
        test: when the vote ends.
    """

    labels: int
    draws: int
    error_alpha: float
    test: VoteTest

    def __post_init__(self) -> None:
        """
        Raises:
            InfeasibleSmoothing: K < 2, N < 1, error_alpha outside (0, 1], or so small that N unanimous draws have a
                larger p-value.
        """
        if self.labels < 2:
            raise InfeasibleSmoothing(f"a vote needs at least 2 labels; there is {self.labels}")
        if self.draws < 1:
            raise InfeasibleSmoothing(f"{self.draws} draws decide nothing; at least 1 is needed")
        if not 0 < self.error_alpha <= 1:
            raise InfeasibleSmoothing(f"error_alpha is {self.error_alpha}; it must lie in (0, 1]")
        least = 2.0 ** (1 - self.draws)
        share, name = (1.0, "") if self.test is VoteTest.FIXED else (1 - EARLY_SHARE, f"{1 - EARLY_SHARE:g} ")
        if self.error_alpha < 1 and self.error_alpha * share < least:
            needed = int(np.ceil(1 - np.log2(self.error_alpha * share)))
            raise InfeasibleSmoothing(
                f"with {self.draws} draws even a unanimous vote has p = 2^(1-{self.draws}) > {name}error_alpha = "
                f"{self.error_alpha * share:g}: every clip would be rejected; take at least {needed} draws or a larger "
                "error_alpha"
            )

    @property
    def log_e_to_settle(self) -> float:
        """Logarithm of the e-value at which a vote may end: (K - 1) / (w alpha), alpha the smallest in use."""
        return float(np.log(self.labels - 1) - np.log(EARLY_SHARE * min(self.error_alpha, SCORE_ALPHA)))

    def p_value_of_e(self, log_e: Floats) -> Floats:
        """min(1, (K - 1) / (w e)), e the largest e-value that the leader has had while it led: valid at any draw, for
        every error_alpha at once."""
        return np.asarray(np.minimum(1.0, np.exp(np.log(self.labels - 1) - np.log(EARLY_SHARE) - log_e)))


class Votes:
    """The votes on several clips as they come, and what they settle.

    What becomes of a clip depends on the order of its own votes alone, not on how many come at a time, nor on the clips
    beside it.
    """

    def __init__(self, clips: int, rule: VoteRule) -> None:
        self.rule = rule
        self.counts: Counts = np.zeros((clips, rule.labels), dtype=np.int64)
        """int64 [clips, K], of the draws up to the settling one."""
        self.draws: npt.NDArray[np.int64] = np.zeros(clips, dtype=np.int64)
        """int64 [clips]."""
        self.is_settled: npt.NDArray[np.bool_] = np.zeros(clips, dtype=np.bool_)
        """bool [clips]: no further draw counts."""
        self._log_e: Floats = np.zeros((clips, rule.labels))  # each label's largest while it led

    def join(self, clips: int) -> None:
        """Further clips, without a vote yet, after those there are."""
        new = Votes(clips, self.rule)
        for name in ("counts", "draws", "is_settled", "_log_e"):
            setattr(self, name, np.concatenate([getattr(self, name), getattr(new, name)]))

    def of(self, clips: npt.NDArray[np.bool_]) -> Votes:
        """The votes on some of the clips, bool [clips], by themselves."""
        some = Votes(0, self.rule)
        for name in ("counts", "draws", "is_settled", "_log_e"):
            setattr(some, name, getattr(self, name)[clips])
        return some

    def add(self, clips: npt.NDArray[np.int64], leaders: npt.NDArray[np.int64]) -> None:
        """Count the next draws of some clips. Draws after the settling one are dropped.

        Args:
            clips: int64 [n] places, none twice.
            leaders: int64 [n, draws], the label that each draw votes for.
        """
        is_open = ~self.is_settled[clips]
        clips, leaders = clips[is_open], leaders[is_open]
        if leaders.size == 0:
            return
        before = self.draws[clips]
        last = np.minimum(leaders.shape[1], self.rule.draws - before) - 1  # place of the last draw that counts
        running = (leaders[:, :, None] == np.arange(self.rule.labels)).cumsum(axis=1) + self.counts[clips][:, None]
        is_enough = np.zeros(len(clips), dtype=np.bool_)
        if self.rule.test is VoteTest.SEQUENTIAL:
            log_e = log_e_value(running)
            settles = log_e >= self.rule.log_e_to_settle
            is_enough = settles.any(axis=1) & (settles.argmax(axis=1) <= last)
            last = np.where(is_enough, settles.argmax(axis=1), last)
            log_e[np.arange(leaders.shape[1]) > last[:, None]] = 0.0
            leads = running.argmax(axis=2)[:, :, None] == np.arange(self.rule.labels)
            self._log_e[clips] = np.maximum(self._log_e[clips], np.where(leads, log_e[:, :, None], 0.0).max(axis=1))
        self.counts[clips] = running[np.arange(len(clips)), last]
        self.draws[clips] = before + last + 1
        self.is_settled[clips] = is_enough | (self.draws[clips] >= self.rule.draws)

    def p_values(self) -> Floats:
        """float64 [clips]: RS abstains iff p > error_alpha, at whatever error_alpha.

        Fixed: Cohen's p-value of a vote that is over. Sequential: min(1, p_N / (1 - w), (K - 1) / (w max e)), p_N
        Cohen's p-value once there are N draws, e the leader's; before that the last term alone, which holds at any
        draw. What another label's lead was once worth says nothing of the one that leads now, and a tie has p = 1.
        """
        if self.rule.test is VoteTest.FIXED:
            return np.where(self.is_settled, p_value(self.counts), 1.0)
        leader = self.counts.argmax(axis=1)
        early = self.rule.p_value_of_e(self._log_e[np.arange(len(leader)), leader])
        at_the_end = np.minimum(early, p_value(self.counts) / (1 - EARLY_SHARE))
        p = np.where(self.draws >= self.rule.draws, np.minimum(1.0, at_the_end), early)
        first, second = _top_two(self.counts)
        return np.where(first == second, 1.0, p)


def _top_two(counts: Counts) -> tuple[Counts, Counts]:
    """The largest and the second largest count, int64 [...]."""
    top = np.partition(counts, counts.shape[-1] - 2, axis=-1)
    return top[..., -1], top[..., -2]
