"""Fairness by betting: evidence that a group is turned away more, or less, than the rest, however often one looks.

A session is a speaker's day: the mean score (rejected or not) of the commands that one speaker gave on one day, in
[0, 1]. Whenever there are new sessions of the group and of the rest, their means are paired, and a gambler who believes
in a difference bets on it. Where there is none beyond the tolerance he wins nothing in the long run, so his wealth
exceeds 1 / alpha, at any time at all, with probability at most alpha (Ville).

Log-wealth is a sum over pairs for each fixed bet, so that of several workers, or of before and after a restart, is
added. Source: Chugg, Cortes-Gomez, Wilder, Ramdas 2023, "Auditing fairness by betting"; a fixed grid of bets here in
the place of their online Newton step, whose state can't be added up.

The guarantee is for the voices that are heard. Where few speakers come again and again, evidence says that *these*
speakers fare differently, and nothing of the group behind them.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
from scipy.special import logsumexp

Floats = npt.NDArray[np.float64]

SIDES = ("more", "less")
"""What is bet on: the group is turned away more than the rest, or less."""

BETS: tuple[float, ...] = (0.02, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 0.95)
"""Shares of what may be staked on a pair: 1 / (1 + tolerance) of the wealth, beyond which a pair could ruin it."""


def log_growth(differences: Floats, tolerance: float) -> Floats:
    """What each bet gains on pairs.

    Args:
        differences: float64 [..., pairs], group minus rest, in [-1, 1].
        tolerance: the difference that is still acceptable, in [0, 1).

    Returns:
        float64 [..., SIDES, BETS, pairs]: natural logarithms; the sum over pairs is the log-wealth.

    Raises:
        ValueError: a difference or a tolerance outside its range.
    """
    if not 0 <= tolerance < 1:
        raise ValueError(f"the tolerance is {tolerance}; it must lie in [0, 1)")
    if not (np.abs(differences) <= 1).all():  # NaN is not
        raise ValueError("a difference lies outside [-1, 1]; scores in [0, 1] are accepted")
    sides = np.stack((differences, -differences), axis=-2)[..., None, :] - tolerance
    stakes = np.array(BETS)[:, None] / (1 + tolerance)
    return np.log1p(stakes * sides)


def log_evidence(log_wealth: Floats) -> Floats:
    """The gambler's whole log-wealth, who spread 1 evenly over sides and bets: float64 [...] of [..., SIDES, BETS]."""
    return np.asarray(logsumexp(log_wealth, axis=(-2, -1)) - np.log(len(SIDES) * len(BETS)), dtype=np.float64)


def alarm_level(groups: int, alpha: float) -> float:
    """Logarithm of the evidence at which one of so many groups raises an alarm: groups / alpha (Bonferroni).

    Over all groups and all time the probability of a false alarm is at most alpha.
    """
    if groups < 1 or not 0 < alpha < 1:
        raise ValueError(f"{groups} groups and alpha = {alpha}; at least 1 and between 0 and 1 are accepted")
    return float(np.log(groups / alpha))


@dataclass
class Pairing:
    """Sessions of one group and of the rest as they end, and the pairs they make.

    Attributes:
        group, rest: sum and number of the scores since the last pair.
    """

    group: tuple[float, int] = (0.0, 0)
    rest: tuple[float, int] = (0.0, 0)

    def add(self, score: float, *, is_of_group: bool) -> float | None:
        """One more session's mean score, in [0, 1]; the difference of a pair that is complete now, else None.

        When a pair is complete depends on who came, never on how they fared.
        """
        if is_of_group:
            self.group = (self.group[0] + score, self.group[1] + 1)
        else:
            self.rest = (self.rest[0] + score, self.rest[1] + 1)
        if not self.group[1] or not self.rest[1]:
            return None
        difference = self.group[0] / self.group[1] - self.rest[0] / self.rest[1]
        self.group = self.rest = (0.0, 0)
        return difference


@dataclass
class Evidence:
    """The evidence on one group.

    Attributes:
        tolerance: the difference that is still acceptable.
        log_wealth: float64 [SIDES, BETS].
        pairs: how many were bet on.
    """

    tolerance: float
    log_wealth: Floats = field(default_factory=lambda: np.zeros((len(SIDES), len(BETS))))
    pairs: int = 0

    def add(self, differences: Iterable[float]) -> None:
        """Bet on pairs."""
        new = np.fromiter(differences, dtype=np.float64)
        self.log_wealth = self.log_wealth + log_growth(new, self.tolerance).sum(axis=-1)
        self.pairs += len(new)

    @property
    def log_evidence(self) -> float:
        return float(log_evidence(self.log_wealth))
