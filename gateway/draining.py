"""Draining: a worker that is told to end first says that it is not ready, and serves on until nobody sends to it."""

from __future__ import annotations

import signal
import time
from types import FrameType

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send


class Drain:
    """Of one worker: whether it was told to end, and until when it serves on."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._ends: float | None = None

    @property
    def is_begun(self) -> bool:
        return self._ends is not None

    @property
    def is_over(self) -> bool:
        return self._ends is not None and time.monotonic() >= self._ends

    def begin(self) -> None:
        """A second time changes nothing: a supervisor may tell the workers what their master tells them too."""
        if self._ends is None:
            self._ends = time.monotonic() + self._seconds


def drain_before_end(seconds: float) -> Drain:
    """Have uvicorn serve on for so many seconds after SIGTERM; SIGINT ends it at once.

    Its own way is to close the listening socket and every idle connection at once. But the master keeps that socket
    open until its workers have ended: a connection that is made meanwhile is taken by nobody, and then reset; and so is
    a command that was on its way over a kept connection. BentoML has no setting for it.
    """
    import uvicorn

    drain = Drain(seconds)

    class Draining(uvicorn.Server):
        def handle_exit(self, sig: int, frame: FrameType | None) -> None:
            if sig == signal.SIGINT:
                super().handle_exit(sig, frame)
            else:
                drain.begin()

        async def on_tick(self, counter: int) -> bool:
            if drain.is_over:
                super().handle_exit(signal.SIGTERM, None)  # as if it came now
            return await super().on_tick(counter)

    uvicorn.Server = Draining  # type: ignore[misc]
    return drain


class CloseWhileDraining:
    """ASGI middleware: each answer of a worker that drains closes its connection, for clients without a balancer."""

    def __init__(self, app: ASGIApp, *, drain: Drain) -> None:
        self.app = app
        self.drain = drain

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def closing(message: Message) -> None:
            if message["type"] == "http.response.start" and self.drain.is_begun:
                MutableHeaders(scope=message)["Connection"] = "close"
            await send(message)

        await self.app(scope, receive, closing)
