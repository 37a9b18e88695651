"""What a recogniser says of a clip: a command to do, or an abstention and its reason."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

UNKNOWN = "unknown"
"""The label of everything that is no command: other words, babble, noise. It never becomes a command."""

_SHOWN = 3


class Reason(StrEnum):
    """Why a decision is what it is."""

    OK = "ok"
    LOW_CONFIDENCE = "low_confidence"
    SMOOTHING_TIE = "smoothing_tie"
    DISAGREEMENT = "disagreement"
    """The parts of a combined defense each accept, but not the same command. None of them abstains, so none of their
    reasons is true of it; it is the combination that turns the clip away, and that says something of its fairness."""
    NOT_A_COMMAND = "not_a_command"
    NO_SPEECH = "no_speech"
    TOO_SHORT = "too_short"
    TOO_LONG = "too_long"
    CLIPPED = "clipped"
    DEADLINE = "deadline"
    OVERLOADED = "overloaded"
    NOT_READY = "not_ready"


class Outcome(StrEnum):
    """What a decision says of a defense's fairness; only the first two say anything of it."""

    ACCEPTED = "accepted"
    REJECTED = "rejected"
    BAD_INPUT = "bad_input"
    SERVICE = "service"


OUTCOME_OF: dict[Reason, Outcome] = {
    Reason.OK: Outcome.ACCEPTED,
    Reason.LOW_CONFIDENCE: Outcome.REJECTED,
    Reason.SMOOTHING_TIE: Outcome.REJECTED,
    Reason.DISAGREEMENT: Outcome.REJECTED,
    Reason.NOT_A_COMMAND: Outcome.REJECTED,
    Reason.NO_SPEECH: Outcome.BAD_INPUT,
    Reason.TOO_SHORT: Outcome.BAD_INPUT,
    Reason.TOO_LONG: Outcome.BAD_INPUT,
    Reason.CLIPPED: Outcome.BAD_INPUT,
    Reason.DEADLINE: Outcome.SERVICE,
    Reason.OVERLOADED: Outcome.SERVICE,
    Reason.NOT_READY: Outcome.SERVICE,
}


OF_DEFENSE = (Outcome.ACCEPTED, Outcome.REJECTED)
"""The outcomes that say something of a defense."""


@dataclass(frozen=True)
class Candidate:
    """One command the clip may be, and its share of the evidence, in [0, 1]."""

    command: str
    share: float


@dataclass(frozen=True)
class Replay:
    """What it takes, beside the decision's seed and clip id, to cast the same votes again."""

    precision: str
    """Of the multiplications: float32 or bfloat16."""
    bank: int | None = None
    """Seed of the noise bank that the first draws came from, a secret while that bank is in use; None where the noise
    is keyed."""
    rows: int | None = None
    """How many the bank had."""


@dataclass(frozen=True)
class Certificate:
    """What a defense vouches for; a field that the defense does not have is None."""

    defense: str
    """Its steps; of a purified clip all that is said here is about g(x), not about x as it came."""
    sigma: float | None = None
    """Standard deviation of the smoothing noise, raw amplitude."""
    error_alpha: float | None = None
    draws: int | None = None
    p_value: float | None = None
    radius_l2: float | None = None
    """L2 radius, raw amplitude; only where certification ran."""
    confidence_threshold: float | None = None
    replay: Replay | None = None
    """How the votes can be had again; never told to the caller."""


@dataclass(frozen=True)
class Decision:
    """A command to do, or an abstention.

    `command` is a command exactly when `reason` is `ok`; every constructor keeps to that.
    """

    command: str | None
    reason: Reason
    detail: str
    confidence: float | None
    """Share of the leading label, in [0, 1]; None where nothing was computed."""
    top: tuple[Candidate, ...] = ()
    certificate: Certificate | None = None
    parts: tuple[Part, ...] = ()
    """Of a combined defense, those that ran, in order; its evidence and certificate are those of the part that settled
    it. Empty where one defense decided alone."""

    def __post_init__(self) -> None:
        if (self.command is not None) != (self.reason is Reason.OK):
            raise ValueError(f"a decision with reason {self.reason} can't carry the command {self.command!r}")

    @property
    def is_accepted(self) -> bool:
        return self.reason is Reason.OK

    @property
    def outcome(self) -> Outcome:
        return OUTCOME_OF[self.reason]

    def but_abstain(self, reason: Reason, detail: str) -> Decision:
        """The same evidence, held back for another reason."""
        return replace(self, command=None, reason=reason, detail=detail)


@dataclass(frozen=True)
class Part:
    """What one part of a combined defense decided by itself; its acceptance alone is nobody's command."""

    defense: str
    decision: Decision


def abstention(reason: Reason, detail: str) -> Decision:
    """An abstention before any network saw the clip."""
    return Decision(command=None, reason=reason, detail=detail, confidence=None)


def conclude(
    labels: Sequence[str],
    shares: Sequence[float],
    *,
    hold: tuple[Reason, str] | None = None,
    detail: str = "",
    certificate: Certificate | None = None,
) -> Decision:
    """The decision that a defense's evidence leads to.

    Args:
        labels: [K] the recogniser's labels.
        shares: [K] the evidence for each, in [0, 1]; the largest leads, the first of equal ones.
        hold: why the defense abstains; None where it accepts the leader.
        detail: the words for an acceptance.
        certificate: what the defense vouches for.
    """
    order = sorted(range(len(labels)), key=lambda k: (-shares[k], k))
    leader = labels[order[0]]
    if hold is None and leader == UNKNOWN:
        hold = (Reason.NOT_A_COMMAND, "this sounds like no command")
    return Decision(
        command=leader if hold is None else None,
        reason=Reason.OK if hold is None else hold[0],
        detail=detail if hold is None else hold[1],
        confidence=shares[order[0]],
        top=tuple(Candidate(labels[k], shares[k]) for k in order[:_SHOWN]),
        certificate=certificate,
    )
