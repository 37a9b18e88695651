"""Clients that ask as fast as they are answered, in a process of their own: `python -m benchmarks.load ORDER ANSWERS`.

One event loop, a kept connection a client, requests made beforehand, answers read by httptools and judged afterwards:
so that the clients are not what is measured. What they cost is in the result.
"""

from __future__ import annotations

import asyncio
import pickle
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

import httptools
import uvloop

PATIENCE = 30.0  # seconds after the last request for its answer


@dataclass(frozen=True)
class Order:
    """What is asked of a server on this machine."""

    port: int
    clips: Sequence[bytes]
    """WAV files, sent in turn."""
    defense: str
    clients: int
    seconds: float


@dataclass(frozen=True)
class Answer:
    """To one request; status 0 where none came."""

    clip: int
    """Which of the order's."""
    seconds: float
    """From writing the request to the last byte of the answer."""
    status: int
    body: bytes


@dataclass(frozen=True)
class Answers:
    """What came of an order."""

    answers: list[Answer]
    seconds: float
    """From the first request to the last answer."""
    cpu_share: float
    """Of one core, that the clients themselves took."""


@dataclass
class _Desk:
    """What the connections share."""

    requests: list[bytes]
    ends: float
    answers: list[Answer] = field(default_factory=list)
    asked: int = 0

    def take(self) -> int | None:
        """The clip to send next; None once time is up."""
        if time.perf_counter() >= self.ends:
            return None
        self.asked += 1
        return (self.asked - 1) % len(self.requests)


class _Line(asyncio.Protocol):
    """One client: a connection, one request at a time."""

    def __init__(self, desk: _Desk, done: asyncio.Future[None]) -> None:
        self._desk = desk
        self._done = done
        self._parser = httptools.HttpResponseParser(self)
        self._body: list[bytes] = []
        self._clip: int | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is none by its class
        self._ask()

    def _ask(self) -> None:
        self._clip = self._desk.take()
        if self._clip is None:
            self._transport.close()
            return
        self._sent = time.perf_counter()
        self._transport.write(self._desk.requests[self._clip])

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_body(self, body: bytes) -> None:
        self._body.append(body)

    def on_message_complete(self) -> None:
        now, body, self._body = time.perf_counter(), b"".join(self._body), []
        assert self._clip is not None
        answer = Answer(self._clip, now - self._sent, self._parser.get_status_code(), body)
        self._desk.answers.append(answer)
        self._ask()

    def connection_lost(self, _: Exception | None) -> None:
        if self._clip is not None:  # in the middle of a request
            self._desk.answers.append(Answer(self._clip, time.perf_counter() - self._sent, 0, b""))
        if not self._done.done():
            self._done.set_result(None)


async def ask(order: Order) -> Answers:
    """Ask until the time is up, and wait for the last answers."""
    loop = asyncio.get_running_loop()
    begun, cpu = time.perf_counter(), time.process_time()
    desk = _Desk([_request(clip, order) for clip in order.clips], begun + order.seconds)
    ends = [loop.create_future() for _ in range(order.clients)]
    for done in ends:
        await loop.create_connection(lambda done=done: _Line(desk, done), "127.0.0.1", order.port)  # type: ignore[misc]
    await asyncio.wait(ends, timeout=order.seconds + PATIENCE)
    unanswered = desk.asked - len(desk.answers)
    desk.answers += [Answer(0, PATIENCE, 0, b"")] * unanswered
    took = time.perf_counter() - begun
    return Answers(desk.answers, took, (time.process_time() - cpu) / took)


def _request(clip: bytes, order: Order) -> bytes:
    head = (
        f"POST /v1/commands?defense={order.defense} HTTP/1.1\r\nHost: 127.0.0.1:{order.port}\r\n"
        f"Content-Type: audio/wav\r\nContent-Length: {len(clip)}\r\n\r\n"
    )
    return head.encode() + clip


def ask_from_outside(order: Order) -> Answers:
    """`ask`, in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        asked, answered = Path(folder, "order"), Path(folder, "answers")
        asked.write_bytes(pickle.dumps(order))
        subprocess.run([sys.executable, "-m", "benchmarks.load", str(asked), str(answered)], check=True)
        answers = pickle.loads(answered.read_bytes())
    assert isinstance(answers, Answers)
    return answers


def main() -> None:
    # By its full name, so that what is pickled here is known where it is read.
    from benchmarks.load import Order as Known

    order = pickle.loads(Path(sys.argv[1]).read_bytes())
    assert isinstance(order, Known)
    from benchmarks.load import ask as asking

    Path(sys.argv[2]).write_bytes(pickle.dumps(uvloop.run(asking(order))))


if __name__ == "__main__":
    main()
