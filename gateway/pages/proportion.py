"""A share of commands and how far it can be trusted."""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt

from monitoring.promql import NORMAL_QUANTILE


@dataclass(frozen=True)
class Proportion:
    """`part` of `whole` commands, with Wilson's 95 % interval.

    The interval takes commands for independent, which those of one speaker are not: where few people speak often, the
    truth lies outside it more often than once in twenty. Source: Wilson 1927.
    """

    part: int
    whole: int
    """Above 0."""

    def __post_init__(self) -> None:
        if not 0 <= self.part <= self.whole or self.whole == 0:
            raise ValueError(f"{self.part} of {self.whole} is no share; 0 <= part <= whole and whole > 0 are accepted")

    @property
    def value(self) -> float:
        """In [0, 1]."""
        return self.part / self.whole

    @property
    def lower(self) -> float:
        return max(0.0, self._middle - self._half) if self.part else 0.0

    @property
    def upper(self) -> float:
        return min(1.0, self._middle + self._half) if self.part < self.whole else 1.0

    @property
    def _middle(self) -> float:
        z2 = NORMAL_QUANTILE**2
        return (self.part + z2 / 2) / (self.whole + z2)

    @property
    def _half(self) -> float:
        z = NORMAL_QUANTILE
        return z * sqrt(self.part * (self.whole - self.part) / self.whole + z**2 / 4) / (self.whole + z**2)


def proportion(part: int, whole: int) -> Proportion | None:
    """None where there is nothing to take a share of."""
    return Proportion(part, whole) if whole else None
