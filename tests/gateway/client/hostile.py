"""A real HTTP server that misbehaves as it is told, and clients of both kinds that ask it."""

from __future__ import annotations

import asyncio
import json
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, Literal

from gateway.client import Answer, AsyncClient, Client

ACCEPTANCE: dict[str, Any] = {
    "request_id": "16913bab-cc18-4ff6-b2f6-b0fbb2c61fe5",
    "decision": "accept",
    "command": "left",
    "reason": "ok",
    "detail": "p = 1e-30 <= error_alpha = 0.001 after 100 draws",
    "confidence": 1.0,
    "top": [{"command": "left", "share": 1.0}],
    "certificate": None,
    "safe_action": "hold",
    "model": {"name": "tones", "version": "sha256:00"},
    "audio": {"seconds": 0.6, "sample_rate": 16000},
    "received_at": "2026-01-01T00:00:00Z",
    "valid_for_ms": 1500,
    "timings_ms": {"total": 50.0},
}
ABSTENTION = ACCEPTANCE | {"decision": "abstain", "command": None, "reason": "smoothing_tie"}
PROBLEM = {"title": "The gateway is busy", "status": 503, "detail": "busy", "decision": "abstain"}

Step = Callable[[socket.socket], None]
"""What the server does with a connection whose request it has read."""


@dataclass(frozen=True)
class Request:
    """One that the server has read to its end."""

    path: str
    headers: dict[str, str]
    body: bytes
    at: float
    """`time.monotonic()`"""


@dataclass
class Hostile:
    """Answers the nth request with the nth step, and further ones with the last."""

    steps: list[Step]
    requests: list[Request] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listening.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                line, _ = self._listening.accept()
                threading.Thread(target=self._serve, args=(line,), daemon=True).start()

    def _serve(self, line: socket.socket) -> None:
        with line, suppress(OSError):
            request = read(line)
            if request is None:
                return
            self.requests.append(request)
            self.steps[min(len(self.requests), len(self.steps)) - 1](line)

    def close(self) -> None:
        self._listening.close()


@contextmanager
def hostile(*steps: Step) -> Iterator[Hostile]:
    server = Hostile(list(steps))
    try:
        yield server
    finally:
        server.close()


def read(line: socket.socket) -> Request | None:
    data = b""
    while b"\r\n\r\n" not in data:
        if not (piece := line.recv(65_536)):
            return None
        data += piece
    head, _, body = data.partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    headers = {name.lower(): value for name, value in (text.split(": ", 1) for text in lines)}
    while len(body) < int(headers.get("content-length", 0)):
        body += line.recv(65_536)
    return Request(first.split()[1], headers, body, time.monotonic())


def response(status: int, body: object, *headers: str, kind: str | None = "application/json") -> bytes:
    """A whole response, its body JSON or bytes."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    lines = [f"HTTP/1.1 {status} X", f"Content-Length: {len(content)}", "Connection: close", *headers]
    if kind is not None:
        lines.append(f"Content-Type: {kind}")
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + content


def says(status: int, body: object, *headers: str, kind: str | None = "application/json", after: float = 0.0) -> Step:
    def step(line: socket.socket) -> None:
        time.sleep(after)
        line.sendall(response(status, body, *headers, kind=kind))

    return step


def drips(status: int, body: object, *, every: float) -> Step:
    """The right answer, a byte at a time from its first header on: no single wait is long."""

    def step(line: socket.socket) -> None:
        for byte in response(status, body):
            line.sendall(bytes([byte]))
            time.sleep(every)

    return step


def half(status: int, body: object) -> Step:
    """The end of the body never comes, and the connection closes as if it had."""

    def step(line: socket.socket) -> None:
        whole = response(status, body)
        line.sendall(whole[: len(whole) - 40])

    return step


def resets(line: socket.socket) -> None:
    """The request was read; its answer is a reset connection."""
    line.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    line.close()


def floods(line: socket.socket) -> None:
    """An answer without an end."""
    line.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n")
    while True:
        line.sendall(b"10000\r\n" + bytes(65_536) + b"\r\n")


Flavour = Literal["sync", "async"]


@dataclass(frozen=True)
class Robot:
    """Either client, asked in the same words."""

    flavour: Flavour

    def call(self, url: str, name: str, *arguments: Any, client: dict[str, Any] | None = None, **options: Any) -> Any:
        settings = {"timeout": 3.0} | (client or {})
        if self.flavour == "sync":
            with Client(url, **settings) as gateway:
                return getattr(gateway, name)(*arguments, **options)

        async def ask() -> Any:
            async with AsyncClient(url, **settings) as gateway:
                return await getattr(gateway, name)(*arguments, **options)

        return asyncio.run(ask())

    def commands(self, url: str, *, timeouts: tuple[float, ...]) -> list[str | None]:
        """The commands of calls of one client, each with its timeout."""
        if self.flavour == "sync":
            with Client(url, retries=0) as gateway:
                return [gateway.decide(b"RIFF", timeout=seconds).command for seconds in timeouts]

        async def ask() -> list[str | None]:
            async with AsyncClient(url, retries=0) as gateway:
                return [(await gateway.decide(b"RIFF", timeout=seconds)).command for seconds in timeouts]

        return asyncio.run(ask())

    def decide(self, url: str, audio: Any = b"RIFF", *, client: dict[str, Any] | None = None, **options: Any) -> Answer:
        answer = self.call(url, "decide", audio, client=client, **options)
        assert isinstance(answer, Answer)
        return answer
