"""What a client may say in `/v1/stream`: closed vocabularies, and what each breach of them ends in."""

from __future__ import annotations

from enum import IntEnum
from typing import Annotated, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from gateway import problems
from gateway.streaming.limits import MAX_FRAME_BYTES, MAX_TEXT_BYTES, SPEED, StreamLimits
from gateway.streaming.messages import Ready
from recognizer.audio import MAX_CHANNELS, MAX_RATE, MIN_RATE


class CloseCode(IntEnum):
    """RFC 6455, section 7.4.1, and the registry of its codes."""

    NORMAL = 1000
    PROTOCOL_ERROR = 1002
    """A message at the wrong time."""
    UNSUPPORTED = 1003
    """Audio in a format that is not accepted."""
    INCONSISTENT = 1007
    """Text that is not the JSON of a message."""
    POLICY = 1008
    """Idle, too long, or a name that is not known."""
    TOO_BIG = 1009
    INTERNAL_ERROR = 1011
    TRY_AGAIN_LATER = 1013


class StreamEnded(Exception):
    """A stream that can't go on: what to say, and how to close."""

    def __init__(self, problem: problems.Problem, code: CloseCode) -> None:
        super().__init__(problem.detail)
        self.problem = problem
        self.code = code


class _FromClient(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Start(_FromClient):
    """The first message."""

    type: Literal["start"]
    rate: int = Field(ge=MIN_RATE, le=MAX_RATE, description="Hertz")
    width: Literal[2] = Field(description="bytes a sample: signed 16-bit, little-endian")
    channels: int = Field(ge=1, le=MAX_CHANNELS, description="interleaved")
    speaker: str | None = Field(default=None, max_length=64, description="id in the register")
    defense: str | None = Field(default=None, max_length=128, description="one that the bundle allows")


class EndUtterance(_FromClient):
    """Decide on what is there now, without waiting for a pause."""

    type: Literal["end_utterance"]


class Stop(_FromClient):
    """The last message."""

    type: Literal["stop"]


ClientMessage: TypeAlias = Start | EndUtterance | Stop
_CLIENT: TypeAdapter[ClientMessage] = TypeAdapter(Annotated[ClientMessage, Field(discriminator="type")])
_OUT_OF_RANGE = {"greater_than_equal", "less_than_equal", "literal_error"}


def parse(text: str) -> ClientMessage:
    """The message that a text frame holds.

    Raises:
        StreamEnded: it holds none.
    """
    size = len(text.encode(errors="surrogatepass"))
    if size > MAX_TEXT_BYTES:
        raise _too_big("message", size, MAX_TEXT_BYTES)
    try:
        return _CLIENT.validate_json(text)
    except ValidationError as error:
        found = error.errors(include_url=False, include_input=False, include_context=False)
        detail = "; ".join(": ".join([*(str(part) for part in e["loc"][1:]), e["msg"]]) for e in found)
        if all(e["type"] in _OUT_OF_RANGE for e in found):
            raise StreamEnded(problems.UnsupportedMediaType(detail), CloseCode.UNSUPPORTED) from None
        raise StreamEnded(problems.MalformedRequest(detail), CloseCode.INCONSISTENT) from None


def check_frame(data: bytes) -> None:
    """
    Raises:
        StreamEnded: the frame is too large.
    """
    if len(data) > MAX_FRAME_BYTES:
        raise _too_big("frame", len(data), MAX_FRAME_BYTES)


def out_of_order(detail: str) -> StreamEnded:
    return StreamEnded(problems.MalformedRequest(detail), CloseCode.PROTOCOL_ERROR)


def _too_big(what: str, size: int, limit: int) -> StreamEnded:
    detail = f"the {what} has {size:,} bytes; at most {limit:,} are accepted"
    return StreamEnded(problems.BodyTooLarge(detail), CloseCode.TOO_BIG)


def ready(limits: StreamLimits) -> Ready:
    """The first message of ours: what a stream may ask."""
    return Ready(
        max_frame_bytes=MAX_FRAME_BYTES,
        max_speed=SPEED,
        idle_seconds=limits.idle_seconds,
        stream_seconds=limits.stream_seconds,
        min_silence_ms=limits.endpointing.min_silence_ms,
        max_utterance_ms=limits.endpointing.max_utterance_ms,
    )
