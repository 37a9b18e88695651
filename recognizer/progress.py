"""How far a long job is: the one shape in which every part tells it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Stage:
    """One step of a job, `done` of `total` units through."""

    name: str
    done: int
    total: int
    note: str = ""


OnProgress = Callable[[Stage], None]


def silent(_: Stage) -> None:
    """Tells nobody."""
