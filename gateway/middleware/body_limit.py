"""A byte limit on request bodies that acts before anything is kept."""

from __future__ import annotations

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gateway.problems import BodyTooLarge, response


class BodyLimit:
    """ASGI middleware: 413 as soon as a body is, or says that it will be, too large."""

    def __init__(self, app: ASGIApp, *, max_bytes: int) -> None:
        self.app = app
        self.max_bytes = max_bytes
        self._detail = f"at most {max_bytes:,} bytes are accepted"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        declared = dict(scope["headers"]).get(b"content-length", b"")
        if declared.isdigit() and int(declared) > self.max_bytes:
            await response(BodyTooLarge.status, BodyTooLarge.title, self._detail)(scope, receive, send)
            return
        seen = 0
        is_answered = False

        async def counted() -> Message:
            nonlocal seen
            message = await receive()
            seen += len(message.get("body", b""))
            if seen > self.max_bytes:
                raise BodyTooLarge(self._detail)
            return message

        async def unless_too_large(message: Message) -> None:
            nonlocal is_answered
            if seen <= self.max_bytes or is_answered:
                is_answered = True
                await send(message)

        await self.app(scope, counted, unless_too_large)
        if not is_answered and seen > self.max_bytes:  # whatever the application made of it
            await response(BodyTooLarge.status, BodyTooLarge.title, self._detail)(scope, receive, send)
