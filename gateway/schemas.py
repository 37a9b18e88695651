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
    command: str = Field(description="one of the vocabulary, or unknown")
    share: float = Field(description="its share of the evidence, in [0, 1]")


class CertificateBody(_Answer):
    defense: str = Field(description="its steps; after a purifier all that stands here is about the purified clip")
    sigma: float | None = Field(default=None, description="standard deviation of the noise, raw amplitude")
    error_alpha: float | None = Field(
        default=None, description="significance of the test on the votes: it abstains where p_value is greater"
    )
    draws: int | None = Field(default=None, description="noisy copies that were classified")
    p_value: float | None = Field(
        default=None, description="of votes so one-sided, were the two leading labels equally likely"
    )
    radius_l2: float | None = Field(default=None, description="certified L2 radius, raw amplitude")
    confidence_threshold: float | None = Field(default=None, description="a command below it is turned away")

    @classmethod
    def of(cls, certificate: Certificate) -> CertificateBody:
        return cls(**{name: getattr(certificate, name) for name in cls.model_fields})


class PartBody(_Answer):
    """What one part of a combined defense made of the clip; it never carries a command of its own."""

    defense: str = Field(description="its name")
    reason: Reason = Field(description="why it accepts or abstains")
    detail: str = Field(description="the reason in words, with its figures")
    confidence: float | None = Field(description="as in the whole answer")
    top: list[CandidateBody] = Field(description="the most likely commands, best first")
    certificate: CertificateBody | None = Field(
        description="what its decision rests on; null where it did not get so far"
    )

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
    name: str = Field(description="the bundle's")
    version: str = Field(description="a digest of its content")


class AudioBody(_Answer):
    seconds: float = Field(description="of the decoded clip")
    sample_rate: int = Field(description="Hertz, as it came")


class CommandResponse(_Answer):
    """The answer to one spoken command: an abstention is an answer, not an error."""

    request_id: str = Field(description="under which it is stored, and a label may be told")
    decision: Literal["accept", "abstain"] = Field(description="whether command may be done")
    command: str | None = Field(description="the command to do; null unless the decision is accept")
    reason: Reason = Field(description="why; ok for an acceptance")
    detail: str = Field(description="the reason in words, with its figures")
    confidence: float | None = Field(
        description="share of the leading label, in [0, 1]; null where nothing was computed"
    )
    top: list[CandidateBody] = Field(description="the most likely commands, best first")
    certificate: CertificateBody | None = Field(
        description="what the decision rests on; null where no defense began, or the defense is none"
    )
    parts: list[PartBody] = Field(
        default=[], description="of a combined defense, those that ran; certificate is that of the one that settled it"
    )
    safe_action: Literal["hold"] = Field(
        default="hold", description="what to do unless this is a fresh acceptance: start no new motion"
    )
    model: ModelBody = Field(description="the bundle that decided")
    audio: AudioBody | None = Field(description="null where the clip could not be decoded in full")
    received_at: datetime = Field(description="when the command came, UTC")
    valid_for_ms: int = Field(description="by the client's own monotonic clock since sending")
    timings_ms: dict[str, float] = Field(description="stage -> milliseconds")

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
    """What the speaker really said."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"command": "left"}]})

    command: str = Field(description="one of the vocabulary; unknown where it was no command")


class LabelResponse(_Answer):
    request_id: str = Field(description="of the command")
    command: str = Field(description="what was said, as it is stored")
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
    speaker: str = Field(description="the opaque id")
    declared: dict[str, str] = Field(description="attribute -> value, as it was told")
    groups: dict[str, str] = Field(description="attribute -> group in the vocabulary of the bundle that is served")
    enrolled_at: datetime | None = Field(description="null where the register is a file")
    changed_at: datetime | None = Field(
        description="when declared was told last, UTC; null where the register is a file"
    )


class SpeakersResponse(_Answer):
    speakers: list[SpeakerResponse] = Field(description="in the order of their ids")


class ErasedResponse(_Answer):
    """What went with a speaker."""

    decisions: int = Field(description="rows")
    answers: int = Field(description="kept for idempotency keys")
    clips: int = Field(description="files")


class AudioFormatBody(_Answer):
    """What the recogniser hears."""

    sample_rate: int = Field(description="Hertz; other rates are resampled")
    window_seconds: float = Field(description="of audio that one decision is about")
    min_seconds: float = Field(description="a shorter clip is bad input")
    max_seconds: float = Field(description="a longer clip is bad input")


class DefenseBody(_Answer):
    name: str = Field(description="what a command asks for it by")
    is_default: bool = Field(description="whether it decides where a command names none")
    parts: list[CertificateBody] = Field(description="the settings of each rejector in it, in order")


class ModelResponse(_Answer):
    """The bundle that is served."""

    name: str = Field(description="the bundle's")
    version: str = Field(description="a digest of its content")
    commands: list[str] = Field(description="the vocabulary; unknown stands for any other word")
    audio: AudioFormatBody = Field(description="what a clip has to be")
    defenses: list[DefenseBody] = Field(description="those that can be asked for")
    groups: dict[str, list[str]] = Field(description="attribute -> the groups that are told apart")
    deadline_ms: int = Field(description="a decision that takes longer abstains")
    valid_for_ms: int = Field(description="how long an acceptance is fresh")


class OutcomeCounts(_Answer):
    accepted: int = Field(description="commands")
    rejected: int = Field(description="by a defense")
    bad_input: int = Field(description="clips that nothing could be made of")
    service: int = Field(description="abstentions of the gateway itself: too late, too busy")


class LabelCounts(_Answer):
    correct: int = Field(description="accepted as what was said; turned away, and no command")
    wrong: int = Field(description="accepted as something else than what was said")
    rejected: int = Field(description="turned away, though it was a command")


class EvidenceBody(_Answer):
    """By betting: how much speaks for a group's being turned away more, or less, than the rest."""

    log_wealth: float = Field(description="natural logarithm of what 1 has become, over both sides and all bets")
    sessions: int = Field(description="of the group that it rests on")
    speakers: int = Field(description="distinct ones that it rests on: of the group, or of the rest where fewer")
    side: Literal["more", "less"] = Field(description="whether the group is turned away more or less than the rest")
    is_alarm: bool = Field(description="whether log_wealth has reached alarm_log_wealth")
    speaks_of: Literal["group", "these_speakers"] = Field(
        description="of few speakers it says how these fare, and nothing of the group behind them"
    )


class DayCounts(_Answer):
    """What was released on one day; a lot counts on the day of its release."""

    day: date = Field(description="UTC")
    accepted: int = Field(description="commands")
    rejected: int = Field(description="by a defense")


class GroupState(_Answer):
    """What is released of one group under one defense."""

    attribute: str = Field(description="what tells groups apart")
    group: str = Field(description="a value of the attribute, other, or undeclared")
    defense: str = Field(description="that decided")
    model: str = Field(description="short version of the bundle that decided")
    outcomes: OutcomeCounts = Field(description="commands by how they ended")
    rejection_rate: float | None = Field(description="rejected / (accepted + rejected); null where there are none")
    labelled: LabelCounts = Field(description="of those whose truth was told")
    rejection_score: float | None = Field(description="mean, the live AUC_FPR; null where there is none")
    mean_draws: float | None = Field(description="of randomized smoothing; null where it did not run")
    evidence: EvidenceBody | None = Field(description="null for undeclared, and where no session is released yet")
    days: list[DayCounts] = Field(description="the last 90 days on which something was released, in order")


class FairnessResponse(_Answer):
    """Whom the defenses turn away, as far as it is released: a group's numbers advance together, and only after enough
    commands of enough speakers, so that nobody's outcome can be read off. `/metrics` shows the same state."""

    ledger: str = Field(description="which one; gateways with the same show the same state")
    release_commands: int = Field(description="new commands that a group needs before its numbers advance")
    release_speakers: int = Field(
        description="distinct ones that they must come from; a command without one counts as one"
    )
    alpha: float = Field(description="the probability of a false alarm, over all groups and all time")
    tolerance: float = Field(description="the difference of rejection rates that is still acceptable")
    session_seconds: int = Field(description="length of the window whose commands of one speaker are one bet")
    alarm_log_wealth: float = Field(description="of the bundle that is served: evidence from here on is an alarm")
    groups: list[GroupState] = Field(
        description="each attribute, group and defense of bundles that are served, or were lately"
    )
