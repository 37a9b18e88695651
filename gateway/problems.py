"""Errors as RFC 9457 problem details that also say, to a client that reads nothing else: abstain, hold."""

from __future__ import annotations

from typing import ClassVar, Literal

from fastapi import Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field
from starlette.exceptions import HTTPException

from gateway.access.routes import methods_at
from recognizer.audio import AudioError

MEDIA_TYPE = "application/problem+json"


class ProblemDetails(BaseModel):
    """The body of every error."""

    model_config = ConfigDict(extra="ignore")  # open to later fields, as answers are

    type: str = Field(default="about:blank", description="always that: status and title say what kind it is")
    title: str = Field(description="of its kind, in words")
    status: int = Field(description="the HTTP status")
    detail: str = Field(description="what is wrong with this request, and what is accepted")
    decision: Literal["abstain"] = Field(default="abstain", description="there is no command to do")
    safe_action: Literal["hold"] = Field(default="hold", description="start no new motion")


class Problem(Exception):
    """An error of a known kind; its HTTP status stands here, once."""

    status: ClassVar[int] = 400
    title: ClassVar[str] = "The request can't be understood"
    retry_after: int | None = None
    """Seconds"""
    challenge: ClassVar[str | None] = None
    """How to prove who one is: the header WWW-Authenticate."""

    def __init__(self, detail: str, *, retry_after: int | None = None) -> None:
        """`retry_after`: seconds, where more is known than of its kind."""
        super().__init__(detail)
        self.detail = detail
        self.retry_after = self.retry_after if retry_after is None else retry_after

    def response(self) -> JSONResponse:
        """This problem as a response."""
        answer = response(self.status, self.title, self.detail, retry_after=self.retry_after)
        if self.challenge is not None:
            answer.headers["WWW-Authenticate"] = self.challenge
        return answer


class MalformedRequest(Problem):
    pass


class UnsupportedMediaType(Problem):
    status = 415
    title = "The content type is not accepted"


class UnknownName(Problem):
    """A speaker, defense or command that is not in its closed vocabulary."""

    status = 422
    title = "A name is not known"


class NoSuchRequest(Problem):
    status = 404
    title = "There is no such decision"


class NoSuchSpeaker(Problem):
    status = 404
    title = "There is no such speaker"


class NotNow(Problem):
    """The state of things forbids it: who is there already, a register that is only read."""

    status = 409
    title = "The register does not allow that"


class KeyReused(Problem):
    status = 422
    title = "The Idempotency-Key belongs to another request"


class AlreadyLabelled(Problem):
    status = 409
    title = "The decision has its label already"


class BodyTooLarge(Problem):
    status = 413
    title = "The request is too large"


class TooSlow(Problem):
    status = 408
    title = "The request came too slowly"


class NotAuthenticated(Problem):
    """No key, or one that is none of ours."""

    status = 401
    title = "An API key is needed"
    challenge = 'Bearer realm="evenvoice"'


class PasswordNeeded(NotAuthenticated):
    """The same, of a page: a browser asks its user."""

    challenge = 'Basic realm="evenvoice", charset="UTF-8"'


class NotAllowed(Problem):
    status = 403
    title = "The API key does not allow this"


class TooManyRequests(Problem):
    status = 429
    title = "Too many requests"
    retry_after = 1


class TookTooLong(Problem):
    """No answer was begun in time."""

    status = 504
    title = "The gateway took too long"


class Overloaded(Problem):
    status = 503
    title = "The gateway is busy"
    retry_after = 1


class NotReady(Problem):
    status = 503
    title = "The gateway is not ready"
    retry_after = 5


class RecordsUnavailable(Problem):
    """The decision could not be stored, so it is not given."""

    status = 503
    title = "The decision can't be recorded"
    retry_after = 5


class RecognizerFailed(Problem):
    status = 500
    title = "The recogniser failed"


def titles_of(status: int) -> list[str]:
    """What an HTTP status can mean here."""
    return sorted({kind.title for kind in Problem.__subclasses__() if kind.status == status}) or [Problem.title]


def response(status: int, title: str, detail: str, *, retry_after: int | None = None) -> JSONResponse:
    """One problem as a response."""
    body = ProblemDetails(title=title, status=status, detail=detail)
    headers = {} if retry_after is None else {"Retry-After": str(retry_after)}
    return JSONResponse(body.model_dump(), status_code=status, media_type=MEDIA_TYPE, headers=headers)


async def on_problem(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, Problem)
    return error.response()


async def on_audio_error(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, AudioError)
    return response(error.status, error.title, str(error))


async def on_http_exception(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    answer = response(error.status_code, "The request was refused", str(error.detail))
    answer.headers.update(error.headers or {})
    if error.status_code == 405 and (methods := methods_at(request.scope["path"])):
        answer.headers["Allow"] = ", ".join(methods)  # the router lists those of one route, and a path may have several
    return answer


async def on_validation_error(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    lines = [f"{'.'.join(str(p) for p in e['loc'])}: {e['msg']}" for e in error.errors()]
    return response(422, "The request breaks its schema", "; ".join(lines))


async def on_unexpected(_: Request, __: Exception) -> JSONResponse:
    return response(500, "The gateway failed", "an unexpected error; nothing was accepted")
