"""What every part of the API shares: the gateway behind it, and the errors it documents."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Depends, Request

from gateway import problems
from gateway.gateway import Gateway


async def gateway_of(request: Request) -> Gateway:
    """The gateway that answers. A coroutine: a function would be sent to a thread for nothing.

    Raises:
        NotReady: the bundle is being loaded.
    """
    gateway = request.app.state.gateway
    if gateway is None:
        raise problems.NotReady("the bundle is being loaded; try again")
    assert isinstance(gateway, Gateway)
    return gateway


TheGateway = Annotated[Gateway, Depends(gateway_of)]


def errors(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The problems that an operation may answer with, beside those that any may."""
    described = {status: _described(status) for status in (*statuses, 401, 403, 429, 500, 503, 504)}
    return dict(sorted(described.items()))


def _described(status: int) -> dict[str, Any]:
    titles = problems.titles_of(status)
    example = problems.ProblemDetails(title=titles[0], status=status, detail="what was wrong and what is accepted")
    body = {"schema": {"$ref": "#/components/schemas/ProblemDetails"}, "example": example.model_dump()}
    answer: dict[str, Any] = {"description": "; ".join(titles), "content": {problems.MEDIA_TYPE: body}}
    if status in (429, 503):
        answer["headers"] = {"Retry-After": {"description": "seconds", "schema": {"type": "integer"}}}
    return answer
