"""What came of asking: a command to do while it is fresh, or a hold."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from pydantic import ValidationError

from gateway.client import clock
from gateway.schemas import CommandResponse
from recognizer.decision import UNKNOWN

LONGEST_VALID_MS = 60_000
"""Whatever a gateway says: a command of a minute ago is none."""
MAX_ANSWER_BYTES = 256 << 10
MEDIA_TYPE = "application/json"


class Kind(StrEnum):
    """How far asking came; an abstention is an answer."""

    ANSWERED = "answered"
    REFUSED = "refused"
    """A status other than 200, or a problem in a stream."""
    UNREADABLE = "unreadable"
    """Something that is no answer of a gateway's."""
    NO_ANSWER = "no_answer"
    UNUSABLE = "unusable"
    """The audio could not be sent."""


@dataclass(frozen=True)
class Answer:
    """What the gateway said, or why there is nothing to act on."""

    response: CommandResponse | None
    """To show and to keep; a robot acts on `command` alone. None where no answer came that can be read."""
    detail: str
    expires: float = 0.0
    """`clock.now()` seconds from which on an acceptance is void: when it was first sent, plus `valid_for_ms`."""
    sent: float = 0.0
    """`clock.now()` seconds when it was first sent; a clock that is behind it is that of another boot."""
    kind: Kind = Kind.NO_ANSWER
    status: int | None = None
    """Of HTTP, where there was one."""

    @classmethod
    def hold(cls, kind: Kind, detail: str, *, status: int | None = None) -> Answer:
        return cls(None, detail, kind=kind, status=status)

    @classmethod
    def given(cls, response: CommandResponse, *, sent: float) -> Answer:
        """A gateway's answer to what was sent at `sent`, `clock.now()` seconds."""
        seconds = min(response.valid_for_ms, LONGEST_VALID_MS) / 1000
        return cls(response, response.detail, sent + seconds, sent, Kind.ANSWERED, 200)

    @property
    def seconds_left(self) -> float:
        """For how long this still is a command; 0 for a hold."""
        response = self.response
        if response is None or response.decision != "accept" or response.command is None:
            return 0.0
        now = clock.now()
        return max(0.0, self.expires - now) if self.sent <= now else 0.0

    @property
    def command(self) -> str | None:
        """The command to do now; None means hold: start no new motion. Ask again before each motion."""
        if self.seconds_left <= 0 or self.response is None:
            return None
        return self.response.command


def read_answer(content: bytes, media_type: str, *, sent: float) -> Answer:
    """The answer in a body that came with status 200.

    Args:
        media_type: `Content-Type` as it came.
        sent: `clock.now()` seconds when the clip was first sent.
    """
    found = media_type.partition(";")[0].strip().lower()
    if found != MEDIA_TYPE:
        return Answer.hold(Kind.UNREADABLE, f"an answer is {MEDIA_TYPE}; this is {found or 'of no type'}", status=200)
    try:
        response = CommandResponse.model_validate_json(content, strict=True)
    except ValidationError as error:
        return Answer.hold(Kind.UNREADABLE, f"the answer can't be read: {_in_words(error)}", status=200)
    return checked(response, sent=sent)


def checked(response: CommandResponse, *, sent: float) -> Answer:
    """A response that is well-formed, as an answer; one that contradicts itself is a hold."""
    if response.decision == "accept" and (response.command or "").strip() in ("", UNKNOWN):
        detail = f"the answer can't be read: it accepts {response.command!r}, which is no command"
        return Answer.hold(Kind.UNREADABLE, detail, status=200)
    return Answer.given(response, sent=sent)


def _in_words(error: ValidationError) -> str:
    found = error.errors(include_url=False, include_input=False, include_context=False)[:3]
    return "; ".join(": ".join([*(str(part) for part in e["loc"]), e["msg"]]) for e in found)
