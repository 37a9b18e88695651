"""What every benchmark ends with: its table, its results file, and a line for each goal."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"


@dataclass(frozen=True)
class Goal:
    """A number that was aimed at, and the one that was measured."""

    name: str
    measured: float
    goal: float
    at_least: bool = True
    """Whether larger is better."""

    @property
    def is_reached(self) -> bool:
        return self.measured >= self.goal if self.at_least else self.measured <= self.goal

    def __str__(self) -> str:
        sign, word = (">=" if self.at_least else "<="), ("reached" if self.is_reached else "missed")
        return f"GOAL {self.name}: measured {self.measured:.4g}, goal {sign} {self.goal:g}: {word}"


def finish(name: str, results: Mapping[str, Any], goals: Sequence[Goal]) -> None:
    """Write `results/NAME.json`, and print the goals last."""
    RESULTS.mkdir(exist_ok=True)
    content = {**results, "goals": [{**asdict(g), "is_reached": g.is_reached} for g in goals]}
    (RESULTS / f"{name}.json").write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    for goal in goals:
        print(goal)
