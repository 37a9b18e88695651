"""Which votes a decision takes: *exact* ones, for audits, studies and replay, or *fast* ones, for commands."""

from __future__ import annotations

from enum import StrEnum


class Mode(StrEnum):
    """How votes are computed."""

    EXACT = "exact"
    """Keyed noise, float32: the same votes at any time, in any order."""
    FAST = "fast"
    """The same test on other draws, or at another precision."""
