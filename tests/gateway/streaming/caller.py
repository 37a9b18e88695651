"""A client of a stream in this process: the real WebSocket class of the server's side over two queues."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from starlette.websockets import WebSocket

RATE = 16_000
START = {"type": "start", "rate": RATE, "width": 2, "channels": 1}
STOP = {"type": "stop"}
END_UTTERANCE = {"type": "end_utterance"}
PATIENCE = 20.0  # seconds that a test waits for an answer

Sent = dict[str, Any] | str | bytes
"""A message, a text frame, a binary frame."""
Serve = Callable[[WebSocket], Awaitable[None]]


def pcm(samples: np.ndarray) -> bytes:
    """s16le of float [samples]."""
    return (samples * 32767).round().astype("<i2").tobytes()


def quiet(seconds: float, rate: int = RATE) -> bytes:
    """The faintest noise, so that what follows stands out against it."""
    return pcm(np.random.default_rng(2).normal(0, 0.001, round(seconds * rate)))


def frames(data: bytes, size: int = 3200) -> list[bytes]:
    return [data[i : i + size] for i in range(0, len(data), size)]


@dataclass
class Caller:
    """One connection."""

    serve: Serve
    extensions: dict[str, Any] = field(default_factory=dict)
    received: list[dict[str, Any]] = field(default_factory=list)
    """Messages of the server's."""
    code: int | None = None
    """How the server closed."""
    denial: list[dict[str, Any]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._to_server: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._to_server.put_nowait({"type": "websocket.connect"})
        self.news = asyncio.Event()
        self.is_gone = False
        scope = {"type": "websocket", "path": "/v1/stream", "headers": [], "extensions": self.extensions}
        websocket = WebSocket(scope, self._to_server.get, self._from_server)
        self.session = asyncio.ensure_future(self.serve(websocket))

    async def _from_server(self, message: Any) -> None:
        if self.is_gone:
            raise OSError("the client is gone")  # as servers do
        match message["type"]:
            case "websocket.send":
                self.received.append(json.loads(message["text"]))
            case "websocket.close":
                self.code = message["code"]
            case "websocket.accept":
                pass
            case _:
                self.denial.append(message)
        self.news.set()

    def send(self, *messages: Sent) -> None:
        for message in messages:
            if isinstance(message, bytes):
                event: dict[str, Any] = {"type": "websocket.receive", "bytes": message}
            else:
                text = message if isinstance(message, str) else json.dumps(message)
                event = {"type": "websocket.receive", "text": text}
            self._to_server.put_nowait(event)

    def leave(self) -> None:
        self.is_gone = True
        self._to_server.put_nowait({"type": "websocket.disconnect", "code": 1006})

    @property
    def unread(self) -> int:
        """Frames that the server has not taken yet."""
        return self._to_server.qsize()

    async def until(self, kind: str, count: int = 1) -> list[dict[str, Any]]:
        """Wait for so many messages of a kind."""
        async with asyncio.timeout(PATIENCE):
            while len(found := self.of(kind)) < count:
                self.news.clear()
                await self.news.wait()
        return found

    async def end(self) -> None:
        """Wait for the session to return; it must not raise."""
        async with asyncio.timeout(PATIENCE):
            await self.session

    def of(self, kind: str) -> list[dict[str, Any]]:
        return [m for m in self.received if m["type"] == kind]

    @property
    def kinds(self) -> list[str]:
        return [m["type"] for m in self.received]


def call(serve: Serve, messages: Iterable[Sent]) -> Caller:
    """One stream from its first message to the server's close; nothing of it is left afterwards."""

    async def run() -> Caller:
        caller = Caller(serve)
        caller.send(*messages)
        await caller.end()
        left = asyncio.all_tasks() - {asyncio.current_task()}
        assert not left, left
        return caller

    return asyncio.run(run())


def assert_holds(problem: dict[str, Any]) -> None:
    """A problem message says to a client that reads nothing else: hold."""
    assert problem["decision"] == "abstain"
    assert problem["safe_action"] == "hold"
    assert set(problem) == {"type", "title", "status", "detail", "decision", "safe_action", "utterance"}
