"""The JSON of the HTTP API, version 1."""

from __future__ import annotations

from datetime import date, datetime
from typing import Annotated, Literal, Self, TypedDict

from pydantic import BaseModel, ConfigDict, Field, model_validator

from gateway.speakers import ID_PATTERN
from monitoring.tally import LabelResult
from recognizer.decision import Certificate, Decision, Part, Reason


class _Request(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class _Answer(BaseModel):
    """Open to fields of later releases: a client of this one passes over them (docs/releasing.md)."""

    model_config = ConfigDict(frozen=True, extra="ignore", allow_inf_nan=False)


class CandidateBody(_Answer):
    command: str
    share: float = Field(description="its share of the evidence, in [0, 1]")


class CertificateBody(_Answer):
    defense: str = Field(description="its steps; after a purifier all that stands here is about the purified clip")
    sigma: float | None = Field(default=None, description="standard deviation of the noise, raw amplitude")
    error_alpha: float | None = None
    draws: int | None = None
    p_value: float | None = None
    radius_l2: float | None = Field(default=None, description="certified L2 radius, raw amplitude")
    confidence_threshold: float | None = None

    @classmethod
    def of(cls, certificate: Certificate) -> CertificateBody:
        return cls(**{name: getattr(certificate, name) for name in cls.model_fields})


class PartBody(_Answer):
    """What one part of a combined defense made of the clip; it never carries a command of its own."""

    defense: str
    reason: Reason
    detail: str
    confidence: float | None
    top: list[CandidateBody]
    certificate: CertificateBody | None

    @classmethod
    def of(cls, part: Part) -> PartBody:
        decision = part.decision
        return cls(
            defense=part.defense,
            reason=decision.reason,
            detail=decision.detail,
            confidence=decision.confidence,
            top=candidates_of(decision),
            certificate=certificate_of(decision),
        )


def candidates_of(decision: Decision) -> list[CandidateBody]:
    return [CandidateBody(command=c.command, share=c.share) for c in decision.top]


def certificate_of(decision: Decision) -> CertificateBody | None:
    return CertificateBody.of(decision.certificate) if decision.certificate else None


class Decided(TypedDict):
    """What every answer says of a decision, whoever gives it: the gateway, `classify`, `listen`."""

    decision: Literal["accept", "abstain"]
    command: str | None
    reason: Reason
    detail: str
    confidence: float | None
    top: list[CandidateBody]
    certificate: CertificateBody | None
    parts: list[PartBody]


def decided(decision: Decision) -> Decided:
    return Decided(
        decision="accept" if decision.is_accepted else "abstain",
        command=decision.command,
        reason=decision.reason,
        detail=decision.detail,
        confidence=decision.confidence,
        top=candidates_of(decision),
        certificate=certificate_of(decision),
        parts=[PartBody.of(part) for part in decision.parts],
    )


class ModelBody(_Answer):
    name: str
    version: str


class AudioBody(_Answer):
    seconds: float
    sample_rate: int = Field(description="Hertz, as it came")


class CommandResponse(_Answer):
    """The answer to one spoken command: an abstention is an answer, not an error."""

    request_id: str
    decision: Literal["accept", "abstain"]
    command: str | None = Field(description="the command to do; null unless the decision is accept")
    reason: Reason
    detail: str
    confidence: float | None
    top: list[CandidateBody]
    certificate: CertificateBody | None
    parts: list[PartBody] = Field(
        default=[], description="of a combined defense, those that ran; certificate is that of the one that settled it"
    )
    safe_action: Literal["hold"] = Field(
        default="hold", description="what to do unless this is a fresh acceptance: start no new motion"
    )
    model: ModelBody
    audio: AudioBody | None = Field(description="null where the clip could not be decoded in full")
    received_at: datetime
    valid_for_ms: int = Field(description="by the client's own monotonic clock since sending")
    timings_ms: dict[str, float]

    @model_validator(mode="after")
    def _accepts_only_a_command(self) -> Self:
        if len({self.decision == "accept", self.reason is Reason.OK, self.command is not None}) != 1:
            raise ValueError("an acceptance has the reason ok and a command; an abstention has neither")
        return self

    @classmethod
    def of(
        cls,
        decision: Decision,
        *,
        request_id: str,
        model: ModelBody,
        audio: AudioBody | None,
        received_at: datetime,
        valid_for_ms: int,
        timings_ms: dict[str, float],
    ) -> CommandResponse:
        return cls(
            request_id=request_id,
            **decided(decision),
            model=model,
            audio=audio,
            received_at=received_at,
            valid_for_ms=valid_for_ms,
            timings_ms=timings_ms,
        )


class LabelRequest(_Request):
    """What the speaker really said; `unknown` where it was no command."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"command": "left"}]})

    command: str


class LabelResponse(_Answer):
    request_id: str
    command: str
    result: LabelResult | None = Field(description="null where no defense had decided: bad input, a late answer")


class SpeakerBody(_Request):
    """What a speaker declares of themselves; an attribute that is left out is undeclared."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"declared": {"accent": "scottish", "age": "thirties"}}]})

    declared: dict[Annotated[str, Field(max_length=64)], Annotated[str, Field(max_length=64)]] = Field(
        max_length=32, description="attribute -> value; what the bundle's vocabulary does not have is counted as other"
    )


class EnrolBody(SpeakerBody):
    model_config = ConfigDict(
        json_schema_extra={"examples": [{"speaker": "s-17", "declared": {"accent": "scottish", "age": "thirties"}}]}
    )

    speaker: str = Field(pattern=f"^{ID_PATTERN}$", description="an opaque id")


class SpeakerResponse(_Answer):
    speaker: str
    declared: dict[str, str]
    groups: dict[str, str] = Field(description="attribute -> group in the vocabulary of the bundle that is served")
    enrolled_at: datetime | None = Field(description="null where the register is a file")
    changed_at: datetime | None


class SpeakersResponse(_Answer):
    speakers: list[SpeakerResponse]


class ErasedResponse(_Answer):
    """What went with a speaker."""

    decisions: int
    answers: int
    clips: int


class AudioFormatBody(_Answer):
    """What the recogniser hears."""

    sample_rate: int = Field(description="Hertz; other rates are resampled")
    window_seconds: float
    min_seconds: float
    max_seconds: float


class DefenseBody(_Answer):
    name: str
    is_default: bool
    parts: list[CertificateBody] = Field(description="the settings of each rejector in it, in order")


class ModelResponse(_Answer):
    """The bundle that is served."""

    name: str
    version: str
    commands: list[str]
    audio: AudioFormatBody
    defenses: list[DefenseBody]
    groups: dict[str, list[str]] = Field(description="attribute -> the groups that are told apart")
    deadline_ms: int
    valid_for_ms: int


class OutcomeCounts(_Answer):
    accepted: int
    rejected: int
    bad_input: int
    service: int


class LabelCounts(_Answer):
    correct: int
    wrong: int
    rejected: int


class EvidenceBody(_Answer):
    """By betting: how much speaks for a group's being turned away more, or less, than the rest."""

    log_wealth: float = Field(description="natural logarithm of what 1 has become, over both sides and all bets")
    sessions: int = Field(description="of the group that it rests on")
    speakers: int = Field(description="distinct ones that it rests on: of the group, or of the rest where fewer")
    side: Literal["more", "less"]
    is_alarm: bool
    speaks_of: Literal["group", "these_speakers"] = Field(
        description="of few speakers it says how these fare, and nothing of the group behind them"
    )


class DayCounts(_Answer):
    """What was released on one day; a lot counts on the day of its release."""

    day: date = Field(description="UTC")
    accepted: int
    rejected: int


class GroupState(_Answer):
    """What is released of one group under one defense."""

    attribute: str
    group: str
    defense: str
    model: str = Field(description="short version of the bundle that decided")
    outcomes: OutcomeCounts
    rejection_rate: float | None = Field(description="rejected / (accepted + rejected); null where there are none")
    labelled: LabelCounts
    rejection_score: float | None = Field(description="mean, the live AUC_FPR; null where there is none")
    mean_draws: float | None = Field(description="of randomized smoothing; null where it did not run")
    evidence: EvidenceBody | None = Field(description="null for undeclared, and where no session is released yet")
    days: list[DayCounts] = Field(description="the last 90 days on which something was released, in order")


class FairnessResponse(_Answer):
    """Whom the defenses turn away, as far as it is released: a group's numbers advance together, and only after enough
    commands of enough speakers, so that nobody's outcome can be read off. `/metrics` shows the same state."""

    ledger: str = Field(description="which one; gateways with the same show the same state")
    release_commands: int
    release_speakers: int
    alpha: float = Field(description="the probability of a false alarm, over all groups and all time")
    tolerance: float = Field(description="the difference of rejection rates that is still acceptable")
    session_seconds: int
    alarm_log_wealth: float = Field(description="of the bundle that is served: evidence from here on is an alarm")
    groups: list[GroupState]
