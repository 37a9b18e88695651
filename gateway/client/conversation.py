"""A stream without its socket: what to send, and what the messages that come back mean."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from typing import Annotated, TypeAlias

from pydantic import Field, TypeAdapter, ValidationError

from gateway.client import clock
from gateway.client.answer import Answer, Kind, checked
from gateway.client.sent import SentLog
from gateway.schemas import CommandResponse
from gateway.streaming.messages import (
    DecisionMessage,
    ProblemMessage,
    Ready,
    ServerMessage,
    Started,
    Stopped,
    UtteranceBody,
)

WIDTH = 2  # bytes a sample
PIECE_BYTES = 32 << 10  # a message has 64 KiB at most


class EndUtterance(Enum):
    """Among the frames: decide on what is there now."""

    END_UTTERANCE = "end_utterance"


END_UTTERANCE = EndUtterance.END_UTTERANCE


@dataclass(frozen=True)
class Heard:
    """What came of one utterance."""

    answer: Answer
    utterance: UtteranceBody


@dataclass(frozen=True)
class Ended:
    """The last event."""

    detail: str
    totals: Stopped | None = None
    """Where the stream was stopped as it should be; None where it broke off."""


Event: TypeAlias = Ready | Started | Heard | Ended
_SERVER: TypeAdapter[ServerMessage] = TypeAdapter(Annotated[ServerMessage, Field(discriminator="type")])


class Conversation:
    """One stream. `send` and `event` may run in different threads."""

    def __init__(self, *, rate: int, channels: int, speaker: str | None = None, defense: str | None = None) -> None:
        start = {"type": "start", "rate": rate, "width": WIDTH, "channels": channels}
        named = {name: value for name, value in (("speaker", speaker), ("defense", defense)) if value is not None}
        self.opening = json.dumps(start | named)
        self.closing = json.dumps({"type": "stop"})
        self._bytes_a_second = WIDTH * channels * rate
        self._sent = SentLog()
        self._bytes = 0
        self._decided_until = 0.0  # seconds of the stream
        self.is_stopped = False
        """Whether all was sent, so that the rest comes within a while."""

    def send(self, frame: bytes | EndUtterance) -> Iterator[bytes | str]:
        """The messages that a frame makes. Send each before the next is asked for: its time is noted."""
        if isinstance(frame, EndUtterance):
            yield json.dumps({"type": frame.value})
            return
        for start in range(0, len(frame), PIECE_BYTES):
            piece = bytes(frame[start : start + PIECE_BYTES])
            self._bytes += len(piece)
            self._sent.note(self._bytes / self._bytes_a_second, clock.now())
            yield piece

    def event(self, message: str | bytes) -> Event:
        """What a message of the gateway's means; one that can't be read ends the stream."""
        if isinstance(message, bytes):
            return Ended("a binary message came; a gateway sends text")
        try:
            said = _SERVER.validate_json(message, strict=True)
        except ValidationError as error:
            return Ended(f"a message can't be read: {error.errors(include_url=False, include_input=False)[0]['msg']}")
        match said:
            case DecisionMessage():
                return Heard(self._answer(said), said.utterance)
            case ProblemMessage(utterance=None):
                return Ended(f"{said.title}: {said.detail}")
            case ProblemMessage():
                assert said.utterance is not None
                held = Answer.hold(Kind.REFUSED, f"status {said.status}: {said.detail}", status=said.status)
                return Heard(held, said.utterance)
            case Stopped():
                return Ended("stopped", said)
            case _:
                return said

    def _answer(self, said: DecisionMessage) -> Answer:
        """An acceptance counts from when the sample was sent that the gateway knew by that the utterance was over."""
        where = said.utterance
        known = where.end + where.endpoint_ms / 1000
        sent = self._sent.when(known) if where.endpoint_ms >= 0 else None
        is_next = self._decided_until <= where.start <= where.end
        if sent is None or not is_next:
            detail = f"the answer is about {where.start:g} to {where.end:g} s, which is not what was sent last"
            return Answer.hold(Kind.UNREADABLE, detail)
        self._decided_until = where.end
        fields = {name: getattr(said, name) for name in CommandResponse.model_fields}
        return checked(CommandResponse.model_validate(fields), sent=sent)
