"""What is counted of a group's commands, as it is added up: outcomes, labels, rejection scores and draws."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple, get_args

from recognizer.decision import Outcome

LabelResult = Literal["correct", "wrong", "rejected"]
LABEL_RESULTS: tuple[LabelResult, ...] = get_args(LabelResult)
OUTCOMES = tuple(outcome.value for outcome in Outcome)

SCORE_BUCKETS = (0.001, 0.005, 0.01, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 1.0)
DRAWS_BUCKETS = (10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1000.0, 2000.0, 5000.0, 10000.0)


class Cell(NamedTuple):
    """What a tally is of: one group under one defense of one bundle."""

    model: str
    """Short version of the bundle."""
    defense: str
    attribute: str
    group: str


@dataclass
class Distribution:
    """A histogram: how many values lie at or below each bound and above the one before; the last are above all."""

    bounds: tuple[float, ...]
    counts: list[int] = field(default_factory=list)
    sum: float = 0.0

    def __post_init__(self) -> None:
        self.counts = self.counts or [0] * (len(self.bounds) + 1)
        if len(self.counts) != len(self.bounds) + 1:
            raise ValueError(f"{len(self.counts)} counts; one a bound and one above them, {len(self.bounds) + 1}")

    @property
    def count(self) -> int:
        return sum(self.counts)

    @property
    def mean(self) -> float | None:
        """None where there is no value."""
        return self.sum / self.count if self.count else None

    def observe(self, value: float) -> None:
        self.counts[bisect_left(self.bounds, value)] += 1
        self.sum += value

    def add(self, other: Distribution) -> None:
        if not any(other.counts):  # most of what is added: no labels, no draws
            return
        self.counts = [here + there for here, there in zip(self.counts, other.counts, strict=True)]
        self.sum += other.sum


@dataclass
class Tally:
    """Sums over commands, or over labels of commands."""

    outcomes: dict[str, int] = field(default_factory=lambda: dict.fromkeys(OUTCOMES, 0))
    labelled: dict[str, int] = field(default_factory=lambda: dict.fromkeys(LABEL_RESULTS, 0))
    scores: Distribution = field(default_factory=lambda: Distribution(SCORE_BUCKETS))
    """Rejection scores, see `monitoring.scores.live_score`."""
    draws: Distribution = field(default_factory=lambda: Distribution(DRAWS_BUCKETS))
    """Of randomized smoothing, of the commands that it voted on."""

    @property
    def observations(self) -> int:
        """Commands and labels."""
        return sum(self.outcomes.values()) + sum(self.labelled.values())

    @property
    def rejection_rate(self) -> float | None:
        """rejected / (accepted + rejected); None where there are none."""
        decided = self.outcomes["accepted"] + self.outcomes["rejected"]
        return self.outcomes["rejected"] / decided if decided else None

    def add(self, other: Tally) -> None:
        for mine, others in ((self.outcomes, other.outcomes), (self.labelled, other.labelled)):
            for name, count in others.items():
                mine[name] = mine.get(name, 0) + count
        self.scores.add(other.scores)
        self.draws.add(other.draws)

    def to_json(self) -> dict[str, Any]:
        return {
            "outcomes": self.outcomes,
            "labelled": self.labelled,
            "scores": {"counts": self.scores.counts, "sum": self.scores.sum},
            "draws": {"counts": self.draws.counts, "sum": self.draws.sum},
        }

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> Tally:
        """
        Raises:
            ValueError: counts over other buckets than these.
        """
        tally = cls(
            scores=Distribution(SCORE_BUCKETS, **stored["scores"]), draws=Distribution(DRAWS_BUCKETS, **stored["draws"])
        )
        tally.outcomes |= stored["outcomes"]
        tally.labelled |= stored["labelled"]
        return tally
