"""A session: what one speaker said within one window of time, under one defense of one bundle.

Windows are aligned to the epoch: with 86,400 seconds they are days in UTC. A session's groups are the speaker's at its
first command, and sessions are ordered by the time of that command: neither depends on how anybody fared.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from recognizer.decision import Outcome


class SessionKey(NamedTuple):
    """Whose, when, and under what."""

    model: str
    """Short version of the bundle."""
    defense: str
    speaker: str
    session_seconds: int
    ends_at: int
    """Of the window, seconds since the epoch."""

    @classmethod
    def of(cls, at: datetime, session_seconds: int, *, model: str, defense: str, speaker: str) -> SessionKey:
        """The session that a command belongs to."""
        ends_at = (int(at.timestamp() // session_seconds) + 1) * session_seconds
        return cls(model, defense, speaker, session_seconds, ends_at)


@dataclass
class Session:
    """One session, as far as it has come."""

    key: SessionKey
    first_at: datetime
    groups: Mapping[str, str]
    """Attribute -> group, at the first command."""
    decided: int = 0
    """Commands that the defense accepted or rejected."""
    rejected: int = 0

    def add(self, at: datetime, groups: Mapping[str, str], outcome: Outcome) -> None:
        """One more command, in whatever order they come."""
        if at < self.first_at:
            self.first_at, self.groups = at, groups
        self.decided += outcome in (Outcome.ACCEPTED, Outcome.REJECTED)
        self.rejected += outcome is Outcome.REJECTED

    @property
    def score(self) -> float | None:
        """The share of commands that were turned away, in [0, 1]; None where the defense decided on none."""
        return self.rejected / self.decided if self.decided else None
