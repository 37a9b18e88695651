"""What `/v1/stream` says to a client. Light to import: clients read these, and they load neither numpy nor a server."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field

from gateway.schemas import CommandResponse

if TYPE_CHECKING:
    from gateway.problems import Problem
    from gateway.streaming.endpointing import Utterance


class _FromServer(BaseModel):
    """Open to fields of later releases, as answers over HTTP are."""

    model_config = ConfigDict(frozen=True, extra="ignore", allow_inf_nan=False)


class Ready(_FromServer):
    """Audio may come."""

    type: Literal["ready"] = "ready"
    max_frame_bytes: int
    max_speed: float = Field(description="times real time; what comes faster waits")
    idle_seconds: float
    stream_seconds: float
    min_silence_ms: int = Field(description="a pause that ends an utterance")
    max_utterance_ms: int


class Started(_FromServer):
    """Speech is heard; a decision or a problem will follow."""

    type: Literal["speech_started"] = "speech_started"
    at: float = Field(description="seconds of the stream")


class UtteranceBody(_FromServer):
    """Where the speech was, seconds of the stream."""

    start: float
    end: float
    endpoint_ms: float = Field(description="what was waited after its end to know that it is over")

    @classmethod
    def of(cls, utterance: Utterance) -> UtteranceBody:
        return cls(
            start=round(utterance.start, 4), end=round(utterance.end, 4), endpoint_ms=round(utterance.endpoint_ms, 1)
        )


class DecisionMessage(CommandResponse):
    """The answer to one utterance."""

    type: Literal["decision"] = "decision"
    utterance: UtteranceBody

    @classmethod
    def to(cls, utterance: UtteranceBody, response: CommandResponse) -> DecisionMessage:
        return cls.model_validate({**response.model_dump(), "utterance": utterance})


class ProblemMessage(_FromServer):
    """RFC 9457's members but `type`, which here names the message."""

    type: Literal["problem"] = "problem"
    title: str
    status: int
    detail: str
    decision: Literal["abstain"] = "abstain"
    safe_action: Literal["hold"] = "hold"
    utterance: UtteranceBody | None = Field(default=None, description="null where the stream ends")

    @classmethod
    def of(cls, problem: Problem, utterance: UtteranceBody | None = None) -> ProblemMessage:
        return cls(title=problem.title, status=problem.status, detail=problem.detail, utterance=utterance)


class Stopped(_FromServer):
    """The last message of a stream that was stopped."""

    type: Literal["stopped"] = "stopped"
    seconds: float = Field(description="of audio")
    utterances: int
    decisions: int
    problems: int


ServerMessage: TypeAlias = Ready | Started | DecisionMessage | ProblemMessage | Stopped
