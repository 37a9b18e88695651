"""One line a request in the log; the application adds what it decided."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gateway.access.routes import OTHER, PROBES, WEBSOCKET, route_of
from gateway.logs import FIELDS

logger = logging.getLogger(__name__)

_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", WEBSOCKET})
_REFUSALS = frozenset({401, 403, 429})
_SWITCHED = 101
_NOTED = "evenvoice.noted"


@dataclass
class Noted:
    """What only the parts further in know of a request; words of closed vocabularies and ids that are no person's."""

    request_id: str | None = None
    decision: str | None = None
    reason: str | None = None
    key: str | None = None
    """The id of the API key."""


def noted(scope: Scope) -> Noted:
    """Where to note what the request's line shall say: `noted(request.scope).reason = ...`."""
    found = scope.setdefault("state", {}).setdefault(_NOTED, Noted())
    assert isinstance(found, Noted)
    return found


class RequestLog:
    """ASGI middleware: logs method, route, status and milliseconds of each request and each WebSocket.

    The route is the table's, never the path or the query that a client wrote. Probes that succeed are not logged.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        begun = time.perf_counter()
        status: int | None = None
        own = noted(scope)

        async def watched(message: Message) -> None:
            nonlocal status
            if status is None:
                status = _status(message)
            await send(message)

        try:
            await self.app(scope, receive, watched)
        finally:
            route = route_of(scope)
            if not (route.template in PROBES and status == 200):
                fields = {
                    "event": "stream" if scope["type"] == "websocket" else "request",
                    "method": route.method if route.method in _METHODS else OTHER,
                    "route": route.template,
                    "status": status,
                    "ms": round(1000 * (time.perf_counter() - begun), 1),
                    **{name: value for name, value in vars(own).items() if value is not None},
                }
                logger.log(_level(status), "", extra={FIELDS: fields})


def _status(message: Message) -> int | None:
    kind = message["type"]
    if kind in ("http.response.start", "websocket.http.response.start"):
        return int(message["status"])
    if kind == "websocket.accept":
        return _SWITCHED
    return 403 if kind == "websocket.close" else None  # closed before it was accepted


def _level(status: int | None) -> int:
    if status is None or status >= 500:
        return logging.ERROR
    return logging.WARNING if status in _REFUSALS else logging.INFO
