"""The line under a stream: TLS, whom both ways of asking trust, and a gateway that takes nothing any more."""

from __future__ import annotations

import asyncio
import json
import socket
import ssl
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
import trustme
from hostile import ACCEPTANCE, Robot, read, response
from websockets.exceptions import ConnectionClosed
from websockets.server import ServerProtocol
from websockets.sync.server import ServerConnection, serve

from gateway.client import AsyncClient, Client, Ended, Event, Heard, Kind, Ready

RATE = 16_000
SECOND = bytes(2 * RATE)
READY = {
    "type": "ready",
    "max_frame_bytes": 65536,
    "max_speed": 4.0,
    "idle_seconds": 30.0,
    "stream_seconds": 3600.0,
    "min_silence_ms": 300,
    "max_utterance_ms": 4000,
}
DECISION = ACCEPTANCE | {"type": "decision", "utterance": {"start": 0.1, "end": 0.5, "endpoint_ms": 300.0}}
STOPPED = {"type": "stopped", "seconds": 1.0, "utterances": 1, "decisions": 1, "problems": 0}
Script = Callable[[ServerConnection], None]


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def theirs(authority: trustme.CA) -> ssl.SSLContext:
    """The gateway's."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    return context


@pytest.fixture
def ours(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    authority.configure_trust(context)
    return context


def decides(line: ServerConnection) -> None:
    line.recv()
    line.send(json.dumps(READY))
    line.recv()
    time.sleep(1.3)  # longer than a connection may take
    line.send(json.dumps(DECISION))
    line.send(json.dumps(STOPPED))


@contextmanager
def scripted(script: Script, tls: ssl.SSLContext | None) -> Iterator[str]:
    def handler(line: ServerConnection) -> None:
        with suppress(ConnectionClosed):
            script(line)

    with serve(handler, "127.0.0.1", 0, ssl=tls) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http{'' if tls is None else 's'}://127.0.0.1:{server.socket.getsockname()[1]}"
        server.shutdown()
        thread.join(10)


@contextmanager
def deaf(tls: ssl.SSLContext | None) -> Iterator[str]:
    """Opens a stream, says that audio may come, and never reads again."""
    lines: list[socket.socket] = []

    def opens(line: socket.socket) -> None:
        with suppress(OSError):
            if tls is not None:
                line = tls.wrap_socket(line, server_side=True)
            lines.append(line)
            protocol = ServerProtocol()
            while not (events := protocol.events_received()):
                protocol.receive_data(line.recv(65_536))
            protocol.send_response(protocol.accept(events[0]))  # type: ignore[arg-type]
            protocol.send_text(json.dumps(READY).encode())
            for data in protocol.data_to_send():
                line.sendall(data)

    def accept() -> None:
        with suppress(OSError):
            while True:
                threading.Thread(target=opens, args=(listening.accept()[0],), daemon=True).start()

    with socket.create_server(("127.0.0.1", 0)) as listening:
        threading.Thread(target=accept, daemon=True).start()
        yield f"http{'' if tls is None else 's'}://127.0.0.1:{listening.getsockname()[1]}"
    for line in lines:
        line.close()


def listen(
    robot: Robot, url: str, frames: Iterator[bytes], *, until: int | None = None, **settings: Any
) -> list[Event]:
    """All events, or the first few."""
    heard: list[Event] = []
    if robot.flavour == "sync":
        with Client(url, **settings) as gateway:
            for event in gateway.stream(frames, rate=RATE):
                heard.append(event)
                if len(heard) == until:
                    break
        return heard

    async def spoken() -> AsyncIterator[bytes]:
        for frame in frames:
            yield frame

    async def run() -> None:
        async with AsyncClient(url, **settings) as gateway:
            async for event in gateway.stream(spoken(), rate=RATE):
                heard.append(event)
                if len(heard) == until:
                    break

    asyncio.run(run())
    return heard


def for_ever() -> Iterator[bytes]:
    while True:
        yield SECOND


def commands(heard: list[Event]) -> list[str | None]:
    return [event.answer.command for event in heard if isinstance(event, Heard)]


def test_a_command_is_heard_over_tls(robot: Robot, theirs: ssl.SSLContext, ours: ssl.SSLContext) -> None:
    with scripted(decides, theirs) as url:
        heard = listen(robot, url, iter([SECOND]), tls=ours)
    assert commands(heard) == ["left"], heard
    assert isinstance(heard[-1], Ended)
    assert heard[-1].totals is not None


def test_the_same_client_may_speak_without_tls(robot: Robot, ours: ssl.SSLContext) -> None:
    """As it may ask: where it has a context that this address does not need."""
    with scripted(decides, None) as url:
        assert commands(listen(robot, url, iter([SECOND]), tls=ours)) == ["left"]


@pytest.mark.parametrize("trusted", [True, False])
def test_uploads_and_streams_trust_the_same_authorities(
    robot: Robot, authority: trustme.CA, theirs: ssl.SSLContext, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch, trusted: bool,
) -> None:  # fmt: skip
    """Those of the machine, of which SSL_CERT_FILE is Python's and OpenSSL's own word."""
    (authority if trusted else trustme.CA()).cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))

    def upload(listening: socket.socket) -> None:
        with suppress(OSError), theirs.wrap_socket(listening.accept()[0], server_side=True) as line:
            read(line)
            line.sendall(response(200, ACCEPTANCE))

    with socket.create_server(("127.0.0.1", 0)) as listening:
        threading.Thread(target=upload, args=(listening,), daemon=True).start()
        answer = robot.decide(f"https://127.0.0.1:{listening.getsockname()[1]}")
        command = answer.command  # while it is fresh
    with scripted(decides, theirs) as url:
        heard = listen(robot, url, iter([SECOND]), timeout=20.0)
    if trusted:
        assert (command, [type(event) for event in heard]) == ("left", [Ready, Heard, Ended]), (answer, heard)
    else:
        assert answer.kind is Kind.NO_ANSWER
        assert "CERTIFICATE_VERIFY_FAILED" in answer.detail
        (ended,) = heard
        assert isinstance(ended, Ended)
        assert "CERTIFICATE_VERIFY_FAILED" in ended.detail


@pytest.mark.parametrize("is_secure", [False, True])
def test_a_gateway_that_takes_nothing_any_more_ends_the_stream(
    robot: Robot, theirs: ssl.SSLContext, ours: ssl.SSLContext, is_secure: bool
) -> None:
    with deaf(theirs if is_secure else None) as url:
        began = time.monotonic()
        heard = listen(robot, url, for_ever(), tls=ours, timeout=1.0)
        assert time.monotonic() - began < 8
    assert len(heard) == 2
    assert isinstance(heard[1], Ended)
    assert heard[1].detail.startswith("the stream broke off")


@pytest.mark.parametrize("is_secure", [False, True])
def test_a_listener_may_leave_a_gateway_that_takes_nothing_any_more(
    robot: Robot, theirs: ssl.SSLContext, ours: ssl.SSLContext, is_secure: bool
) -> None:
    with deaf(theirs if is_secure else None) as url:
        began = time.monotonic()
        assert len(listen(robot, url, for_ever(), until=1, tls=ours, timeout=1.0)) == 1
        assert time.monotonic() - began < 8


def test_a_gateway_that_waits_longer_than_a_connection_may_take_breaks_nothing(robot: Robot) -> None:
    """It reads no faster than four times as fast as one speaks; a sender that is ahead waits."""

    def slow(line: ServerConnection) -> None:
        line.recv()
        line.send(json.dumps(READY))
        line.recv()
        time.sleep(2.0)
        while line.recv() != json.dumps({"type": "stop"}):
            pass
        line.send(json.dumps(STOPPED))

    with scripted(slow, None) as url:
        heard = listen(robot, url, iter([SECOND * 20] * 20), timeout=5.0)
    assert isinstance(heard[-1], Ended)
    assert heard[-1].totals is not None, heard[-1]


def test_why_a_stream_was_refused_is_said_in_the_gateways_words(robot: Robot) -> None:
    body = {"title": "no", "status": 401, "detail": "an API key is needed", "decision": "abstain"}

    def refuse(listening: socket.socket) -> None:
        with listening.accept()[0] as line:
            read(line)
            line.sendall(response(401, body, kind="application/problem+json"))

    with socket.create_server(("127.0.0.1", 0)) as listening:
        threading.Thread(target=refuse, args=(listening,), daemon=True).start()
        (ended,) = listen(robot, f"http://127.0.0.1:{listening.getsockname()[1]}", iter([SECOND]))
    assert ended == Ended("no stream: status 401: an API key is needed")
