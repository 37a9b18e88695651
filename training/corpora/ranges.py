"""Numbers that speakers declare become groups: a strength of accent from 0 to 10 becomes `0-3`, `4-6` or `7-10`."""

from __future__ import annotations

import re
from dataclasses import dataclass

from recognizer.groups import UNDECLARED
from recognizer.manifest import ManifestError

_RANGE = re.compile(r"(\d+(?:\.\d+)?)-(\d+(?:\.\d+)?)")
_BETWEEN = ":"


@dataclass(frozen=True)
class Ranges:
    """Ranges of numbers, each a group that is called as it is written; both ends belong to it."""

    groups: tuple[str, ...]
    bounds: tuple[tuple[float, float], ...]

    @classmethod
    def parse(cls, text: str) -> Ranges:
        """Read `0-3:4-6:7-10`.

        Raises:
            ManifestError: fewer than two ranges, something else than a range, or ranges that do not rise or overlap.
        """
        groups = tuple(part.strip() for part in text.split(_BETWEEN))
        found = [_RANGE.fullmatch(group) for group in groups]
        bounds = tuple((float(m[1]), float(m[2])) for m in found if m is not None)
        ends = [end for both in bounds for end in both]
        is_rising = all(low <= high for low, high in bounds) and all(
            before < after for before, after in zip(ends[1:-1:2], ends[2::2], strict=True)
        )
        if len(groups) < 2 or len(bounds) < len(groups) or not is_rising:
            raise ManifestError(
                f"the ranges {text!r} can't be used; two or more such as 0-3:4-6:7-10 are accepted, which rise and do "
                "not overlap"
            )
        return cls(groups, bounds)

    def group(self, value: str) -> str:
        """The range that a declared number lies in; `undeclared` where it is no number, or lies in none."""
        if value in self.groups:  # answered already
            return value
        try:
            number = float(value)
        except ValueError:
            return UNDECLARED
        within = (g for g, (low, high) in zip(self.groups, self.bounds, strict=True) if low <= number <= high)
        return next(within, UNDECLARED)
