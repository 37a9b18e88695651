"""What is handed to the records, and what they hand back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from gateway.speakers import Groups
from recognizer.decision import Decision, Outcome


@dataclass(frozen=True)
class Entry:
    """One decision to store."""

    request_id: str
    received_at: datetime
    """With its time zone; information only, nothing is computed from it but retention."""
    decision: Decision
    defense: str
    seed: int
    speaker: str | None
    groups: Groups
    model: str
    clip: bytes | None = None
    """As it came; kept only where the records have a folder for audio."""
    media_type: str | None = None
    """Of the clip, as it was sent, such as `audio/L16;rate=16000`."""


@dataclass(frozen=True)
class Claim:
    """An Idempotency-Key: the first request that has it is decided, the others get its answer."""

    key: str
    """At most 64 characters: who sent it and what they sent, hashed by the caller."""
    digest: str
    """Of the request, at most 64 characters: another request with the same key is a mistake."""
    answer: Callable[[Decision], str]
    """The JSON that is stored with the decision."""


@dataclass(frozen=True)
class Stored:
    """The decision is in the records and may be answered."""

    decision: Decision
    """As stored: an acceptance that was too late to be answered has become an abstention."""


@dataclass(frozen=True)
class AnsweredBefore:
    """The claim's key was there already: nothing new was stored."""

    digest: str
    answer: str
    age: float | None
    """Seconds since it was stored, by a clock that nobody sets; None where another boot or host stored it."""


@dataclass(frozen=True)
class Recorded:
    """What a label needs to know of the decision it belongs to."""

    outcome: Outcome
    command: str | None
    defense: str
    speaker: str | None
    groups: Groups
    model: str
