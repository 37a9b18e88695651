"""A decision on its way into the database."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field

from gateway.records.entry import AnsweredBefore, Claim, Entry, Stored
from recognizer.decision import Decision

Result = Stored | AnsweredBefore


@dataclass(eq=False)
class Draft:
    """One entry, and who waits for it."""

    entry: Entry
    until: float
    """`time.perf_counter()` after which it is too late to accept."""
    late: Callable[[Decision], Decision]
    claim: Claim | None
    decision: Decision
    """As it will be stored."""
    future: Future[Result] = field(default_factory=Future)
    since: float = field(default_factory=time.perf_counter)
    clip_is_kept: bool = False

    @property
    def waited(self) -> float:
        """Seconds"""
        return time.perf_counter() - self.since

    def hold_if_late(self) -> bool:
        """Turn an acceptance whose time is over into an abstention; says whether it was one."""
        is_late = self.decision.is_accepted and time.perf_counter() > self.until
        if is_late:
            self.decision = self.late(self.decision)
        return is_late
