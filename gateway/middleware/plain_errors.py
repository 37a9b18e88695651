"""Errors that come from around the application leave as problems, too: a robot that reads one word reads `abstain`."""

from __future__ import annotations

import asyncio
import logging
from http import HTTPStatus

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gateway.problems import MEDIA_TYPE, Problem, TookTooLong, response

START_SECONDS = 30.0
"""For an answer to begin. Reading and deciding have limits of their own, far below; BentoML's is above."""

_KEPT = ("allow", "retry-after", "www-authenticate")
_DETAILS = {
    404: "nothing is served at this path; /docs shows what is",
    405: "this path does not take this method",
    503: "the gateway is not ready; try again",
}
_INTERNAL_ERROR = 1011
"""RFC 6455, 7.4.1"""

logger = logging.getLogger(__name__)


class PlainErrors:
    """ASGI middleware: every error of a request is a problem, one that is raised and one that never comes included.

    What BentoML's router and its static files answer as text or as their own JSON is replaced; the status stays.
    """

    def __init__(self, app: ASGIApp, *, start_seconds: float = START_SECONDS) -> None:
        self.app = app
        self.start_seconds = start_seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            await self._answer(scope, receive, send)
        elif scope["type"] == "websocket":
            await self._stream(scope, receive, send)
        else:
            await self.app(scope, receive, send)

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        is_begun = is_replaced = False

        async def translated(message: Message) -> None:
            nonlocal is_begun, is_replaced
            if limit.expired() or is_replaced:
                return
            if not is_begun:
                is_begun = True
                limit.reschedule(None)  # an answer may take its time, once it began
                if _is_plain_error(message):
                    is_replaced = True
                    await _problem_of(message)(scope, receive, send)
                    return
            await send(message)

        try:
            async with asyncio.timeout(self.start_seconds) as limit:
                await self.app(scope, receive, translated)
        except TimeoutError as error:
            if not limit.expired():
                await self._failed(scope, receive, send, error, is_begun=is_begun)
            else:
                late = TookTooLong(f"no answer within {self.start_seconds:g} s; nothing was accepted")
                await late.response()(scope, receive, send)
        except Exception as error:
            await self._failed(scope, receive, send, error, is_begun=is_begun)

    async def _failed(self, scope: Scope, receive: Receive, send: Send, error: Exception, *, is_begun: bool) -> None:
        """An answer that was begun can only be cut off, which the server does when this returns."""
        if isinstance(error, Problem):
            answer = error.response()
        else:
            logger.error("a request failed", exc_info=error)
            answer = response(500, "The gateway failed", "an unexpected error; nothing was accepted")
        if not is_begun:
            await answer(scope, receive, send)

    async def _stream(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await self.app(scope, receive, send)
        except Exception as error:
            logger.error("a stream failed", exc_info=error)
            try:
                await send({"type": "websocket.close", "code": _INTERNAL_ERROR})
            except Exception:  # the client closed it first; servers differ in what they raise then
                logger.debug("a stream that failed was closed already")


def _is_plain_error(message: Message) -> bool:
    kind = Headers(raw=message["headers"]).get("content-type", "")
    return message["status"] >= 400 and kind.partition(";")[0] != MEDIA_TYPE


def _problem_of(message: Message) -> ASGIApp:
    """The problem of a plain error's first message, with those of its headers that say how to do better."""
    status = message["status"]
    phrase = HTTPStatus(status).phrase if status in HTTPStatus._value2member_map_ else "Error"
    answer = response(status, phrase, _DETAILS.get(status, "nothing was accepted"))
    before = Headers(raw=message["headers"])
    answer.headers.update({name: before[name] for name in _KEPT if name in before})
    return answer
