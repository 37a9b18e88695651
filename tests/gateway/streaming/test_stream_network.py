"""The stream behind a real server and a real socket."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
import uvicorn
from caller import START, STOP, frames, quiet
from robot import Door, Spoken
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from gateway.streaming.limits import SPEED, StreamLimits
from gateway.streaming.listening import WIDTH
from gateway.streaming.streams import Streams
from gateway.streaming.vad import EnergyDetector
from recognizer.audio import Waveform

PATIENCE = 20.0


@dataclass(frozen=True)
class Served:
    url: str
    streams: Streams

    def call(self) -> ClientConnection:
        return connect(self.url, compression=None, open_timeout=PATIENCE, close_timeout=1)

    def is_empty(self, within: float = PATIENCE) -> bool:
        """Whether every stream ends within so many seconds."""
        until = time.monotonic() + within
        while self.streams.open and time.monotonic() < until:
            time.sleep(0.02)
        return self.streams.open == 0


class Gated(EnergyDetector):
    """Hears nothing before it is let."""

    gate = threading.Event()

    def probability(self, block: Waveform) -> float:
        self.gate.wait(PATIENCE)
        return super().probability(block)


@pytest.fixture
def serve_on_a_port(door: Door, open_streams: Callable[..., Streams]) -> Iterator[Callable[..., Served]]:
    running: list[tuple[uvicorn.Server, threading.Thread]] = []

    def build(limits: StreamLimits | None = None, detector: type[EnergyDetector] = EnergyDetector) -> Served:
        streams = open_streams(limits, detector)
        door.app.state.streams = streams
        listening = socket.create_server(("127.0.0.1", 0))
        server = uvicorn.Server(uvicorn.Config(door.app, log_config=None, timeout_graceful_shutdown=2))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        running.append((server, thread))
        return Served(f"ws://127.0.0.1:{listening.getsockname()[1]}/v1/stream", streams)

    yield build
    for server, thread in running:
        server.should_exit = True
        thread.join(PATIENCE)
        assert not thread.is_alive()


def answers(line: ClientConnection) -> list[dict[str, Any]]:
    """All messages up to the server's close."""
    found = []
    try:
        while True:
            found.append(json.loads(line.recv(PATIENCE)))
    except ConnectionClosed:
        return found


def test_a_spoken_command_is_decided_on_over_a_socket(serve_on_a_port: Callable[..., Served], spoken: Spoken) -> None:
    served = serve_on_a_port()
    data = quiet(0.5) + spoken.pcm[0].astype("<i2").tobytes() + quiet(0.5)
    with served.call() as line:
        line.send(json.dumps({**START, "defense": "none"}))
        for frame in frames(data, 641):
            line.send(frame)
        line.send(json.dumps(STOP))
        heard = answers(line)
    assert [m["type"] for m in heard] == ["ready", "speech_started", "decision", "stopped"]
    assert heard[2]["command"] == spoken.command
    assert line.close_code == 1000
    assert served.is_empty()


def test_one_stream_too_many_is_refused_by_http(serve_on_a_port: Callable[..., Served]) -> None:
    served = serve_on_a_port(StreamLimits(streams=1))
    with served.call() as line:
        line.send(json.dumps(START))
        line.recv(PATIENCE)
        with pytest.raises(InvalidStatus) as refused:
            served.call()
    response = refused.value.response
    assert response.status_code == 503
    assert response.headers["content-type"] == "application/problem+json"
    assert int(response.headers["retry-after"]) > 0
    assert json.loads(response.body or b"")["safe_action"] == "hold"


def test_a_frame_too_large_is_closed_with_1009(serve_on_a_port: Callable[..., Served]) -> None:
    served = serve_on_a_port()
    with served.call() as line:
        line.send(json.dumps(START))
        line.send(bytes(1 << 20))
        heard = answers(line)
    assert heard[-1]["status"] == 413
    assert line.close_code == 1009
    assert served.is_empty()


def test_a_socket_that_breaks_leaves_no_stream_open(serve_on_a_port: Callable[..., Served]) -> None:
    served = serve_on_a_port()
    for count in (0, 1, 5):
        line = served.call()
        line.send(json.dumps(START))
        for frame in frames(quiet(1))[:count]:
            line.send(frame)
        line.socket.close()  # no closing handshake
        assert served.is_empty()


def test_a_sender_is_slowed_down_by_tcp_when_nobody_listens(serve_on_a_port: Callable[..., Served]) -> None:
    Gated.gate.clear()
    served = serve_on_a_port(detector=Gated)
    megabytes, failures = 0.0, []

    def flood(line: ClientConnection) -> None:
        nonlocal megabytes
        try:
            for _ in range(64 * 16):
                line.send(bytes(65_536))
                megabytes += 1 / 16
        except ConnectionClosed as error:
            failures.append(error)

    with served.call() as line:
        line.send(json.dumps({**START, "rate": 48_000, "channels": 2}))
        line.recv(PATIENCE)
        sender = threading.Thread(target=flood, args=(line,))
        sender.start()
        try:
            sender.join(3)
            assert sender.is_alive(), failures
            assert megabytes < 32  # of 64: 8 frames are ours, the rest the server's and the kernel's buffers
        finally:
            Gated.gate.set()
            line.socket.shutdown(socket.SHUT_RDWR)
            sender.join(PATIENCE)
    buffered = megabytes * (1 << 20) / (WIDTH * 2 * 48_000)  # seconds of audio, at most, read before the end is seen
    assert served.is_empty(within=buffered / SPEED + PATIENCE)
