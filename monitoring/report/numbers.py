"""How figures are written on the page: shares in per cent, scores as they are, a dash where there is nothing."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

NOTHING = "–"
"""Where there is no figure."""


@dataclass(frozen=True)
class Unit:
    """How one metric's values are written."""

    factor: float
    decimals: int
    sign: str
    """After a value, such as ` %`"""
    gap_sign: str
    """After a difference of values"""

    def named(self, name: str) -> str:
        """A heading of values that are written without the sign."""
        return f"{name},{self.sign}" if self.sign else name

    def value(self, value: float | None) -> str:
        """Without the sign, as in a column whose heading has it."""
        return NOTHING if value is None else _minus(f"{self.factor * value:.{self.decimals}f}")

    def interval(self, lower: float | None, upper: float | None) -> str:
        if lower is None or upper is None:
            return NOTHING
        return f"[{self.value(lower)}, {self.value(upper)}]"

    def estimate(self, mean: float | None, lower: float | None, upper: float | None) -> str:
        if mean is None:
            return NOTHING
        if lower is None or upper is None:
            return self.value(mean)
        return f"{self.value(mean)} {self.interval(lower, upper)}"


PER_CENT = Unit(factor=100.0, decimals=1, sign=" %", gap_sign=" percentage points")
SCORE = Unit(factor=1.0, decimals=4, sign="", gap_sign="")
SCORE_DRAWN = Unit(factor=1.0, decimals=3, sign="", gap_sign="")
"""In a drawing, where room is short"""


def probability(p: float | None) -> str:
    """A p-value; below 0.001 it says no more."""
    if p is None:
        return NOTHING
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def count(number: int) -> str:
    """1,234,567"""
    return f"{number:,}"


def counted(number: int, one: str, many: str | None = None) -> str:
    """`1 speaker`, `24 speakers`."""
    return f"{count(number)} {one if number == 1 else many or one + 's'}"


def listed(words: tuple[str, ...] | list[str], *, last: str = "and") -> str:
    """`a`, `a and b`, `a, b and c`."""
    *first, end = words
    return f"{', '.join(first)} {last} {end}" if first else end


def moment(time: datetime) -> str:
    """To the minute, UTC."""
    return f"{time.astimezone(UTC):%Y-%m-%d %H:%M} UTC"


def _minus(text: str) -> str:
    if text.startswith("-") and not text.strip("-0."):
        return text[1:]  # -0.0
    return text.replace("-", "−")
