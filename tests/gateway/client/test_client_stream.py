"""Streams of either client: against a real gateway, and against servers that misbehave."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
import uvicorn
from hostile import ACCEPTANCE, Robot
from robot import Door, Spoken
from websockets.exceptions import ConnectionClosed
from websockets.sync.server import ServerConnection, serve

from gateway.client import END_UTTERANCE, AsyncClient, Client, Ended, EndUtterance, Event, Heard, Ready, Started
from gateway.streaming.limits import StreamLimits
from gateway.streaming.streams import Streams
from gateway.streaming.vad import EnergyDetector

RATE = 16_000
READY = {
    "type": "ready",
    "max_frame_bytes": 65536,
    "max_speed": 4.0,
    "idle_seconds": 30.0,
    "stream_seconds": 3600.0,
    "min_silence_ms": 300,
    "max_utterance_ms": 4000,
}
STOPPED = {"type": "stopped", "seconds": 1.0, "utterances": 1, "decisions": 1, "problems": 0}
WHERE = {"start": 0.1, "end": 0.5, "endpoint_ms": 300.0}
DECISION = ACCEPTANCE | {"type": "decision", "utterance": WHERE}
PROBLEM = {"type": "problem", "title": "busy", "status": 503, "detail": "busy"} | {
    "decision": "abstain",
    "safe_action": "hold",
    "utterance": WHERE,
}
Frames = Iterable[bytes | EndUtterance]


def seconds_of_silence(seconds: float) -> bytes:
    return bytes(2 * round(seconds * RATE))


def listen(robot: Robot, url: str, frames: Frames, *, until: int | None = None, **options: Any) -> list[Event]:
    """All events, or the first few."""
    heard: list[Event] = []
    if robot.flavour == "sync":
        with Client(url, timeout=3.0) as gateway:
            for event in gateway.stream(frames, rate=RATE, **options):
                heard.append(event)
                if len(heard) == until:
                    break
        return heard

    async def paced() -> AsyncIterator[bytes | EndUtterance]:
        source = iter(frames)
        while (frame := await asyncio.to_thread(next, source, None)) is not None:
            yield frame

    async def run() -> None:
        async with AsyncClient(url, timeout=3.0) as gateway:
            async for event in gateway.stream(paced(), rate=RATE, **options):
                heard.append(event)
                if len(heard) == until:
                    break

    asyncio.run(run())
    return heard


@pytest.fixture
def gateway_url(door: Door) -> Iterator[str]:
    """A gateway on a port, whose streams hear by loudness."""
    streams = Streams(StreamLimits(), EnergyDetector)
    door.app.state.streams = streams
    listening = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(door.app, log_config=None, timeout_graceful_shutdown=2))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
    thread.start()
    yield f"http://127.0.0.1:{listening.getsockname()[1]}"
    server.should_exit = True
    thread.join(20)
    streams.close()


def spoken_frames(spoken: Spoken, size: int = 1600) -> list[bytes]:
    noise = np.random.default_rng(2).normal(0, 30, RATE // 2).round().astype("<i2").tobytes()
    data = noise + spoken.pcm[0].astype("<i2").tobytes() + noise
    return [data[i : i + size] for i in range(0, len(data), size)]


def test_a_spoken_command_is_heard_and_fresh(robot: Robot, gateway_url: str, spoken: Spoken) -> None:
    heard = listen(robot, gateway_url, spoken_frames(spoken), defense="none", speaker=spoken.speaker)
    assert [type(event) for event in heard] == [Ready, Started, Heard, Ended]
    answer = heard[2]
    assert isinstance(answer, Heard)
    assert answer.answer.response is not None
    assert answer.answer.response.command == spoken.command
    assert 0 < answer.answer.expires - answer.answer.sent <= 1.5
    assert isinstance(heard[3], Ended)
    assert heard[3].totals is not None
    assert heard[3].totals.decisions == 1


def test_a_button_that_is_let_go_ends_an_utterance(robot: Robot, gateway_url: str, spoken: Spoken) -> None:
    frames = spoken_frames(spoken)
    cut = frames[: len(frames) - 10]  # without most of the pause
    heard = listen(robot, gateway_url, [*cut, END_UTTERANCE, END_UTTERANCE], defense="none")
    answers = [event.answer for event in heard if isinstance(event, Heard)]
    assert [answer.response.reason for answer in answers if answer.response] == ["ok", "no_speech"]


def test_what_is_sent_too_late_is_void_when_it_is_heard(robot: Robot, gateway_url: str, spoken: Spoken) -> None:
    """The frames after the word wait for 1.6 s before they are sent: the acceptance counts from the last of them."""

    def stalling() -> Iterator[bytes]:
        frames = spoken_frames(spoken)
        yield from frames[:-6]
        time.sleep(1.6)
        yield from frames[-6:]

    heard = listen(robot, gateway_url, stalling(), defense="none")
    (answer,) = [event.answer for event in heard if isinstance(event, Heard)]
    assert answer.expires - answer.sent == pytest.approx(1.5)


def test_a_name_that_is_not_known_ends_the_stream(robot: Robot, gateway_url: str, spoken: Spoken) -> None:
    (ended,) = listen(robot, gateway_url, spoken_frames(spoken), speaker="nobody")
    assert isinstance(ended, Ended)
    assert "nobody" not in ended.detail
    assert "register" in ended.detail


def test_a_listener_may_leave(robot: Robot, gateway_url: str, spoken: Spoken) -> None:
    assert len(listen(robot, gateway_url, spoken_frames(spoken), until=1)) == 1


def test_what_the_frames_raise_is_the_callers(robot: Robot, gateway_url: str) -> None:
    def broken() -> Iterator[bytes]:
        yield seconds_of_silence(0.1)
        raise OSError("the microphone is gone")

    with pytest.raises(OSError, match="the microphone is gone"):
        listen(robot, gateway_url, broken())


@contextmanager
def scripted(script: Callable[[ServerConnection], None]) -> Iterator[str]:
    """A WebSocket server with a script of its own."""

    def handler(line: ServerConnection) -> None:
        try:
            script(line)
        except ConnectionClosed:
            return

    with serve(handler, "127.0.0.1", 0) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.socket.getsockname()[1]}"
        server.shutdown()
        thread.join(10)


def says(*messages: Any, after_bytes: int = 2 * RATE) -> Callable[[ServerConnection], None]:
    """Ready; once so much audio came, these messages."""

    def script(line: ServerConnection) -> None:
        line.recv()
        line.send(json.dumps(READY))
        received = 0
        while received < after_bytes:
            message = line.recv()
            received += len(message) if isinstance(message, bytes) else after_bytes
        for message in messages:
            line.send(message if isinstance(message, str | bytes) else json.dumps(message))

    return script


ONE_SECOND = [seconds_of_silence(0.1)] * 10


def test_a_fresh_acceptance_in_a_stream_is_a_command(robot: Robot) -> None:
    with scripted(says(DECISION, STOPPED)) as url:
        heard = listen(robot, url, ONE_SECOND)
    (answer,) = [event.answer for event in heard if isinstance(event, Heard)]
    assert answer.command == "left"


def test_a_problem_is_a_hold_and_the_stream_goes_on(robot: Robot) -> None:
    later = DECISION | {"utterance": {"start": 0.6, "end": 0.7, "endpoint_ms": 300.0}}
    with scripted(says(PROBLEM, later, STOPPED)) as url:
        heard = listen(robot, url, ONE_SECOND)
    assert [event.answer.command for event in heard if isinstance(event, Heard)] == [None, "left"]


@pytest.mark.parametrize(
    "where",
    [
        {"start": 0.1, "end": 0.5, "endpoint_ms": 900.0},
        {"start": 0.1, "end": 7.5, "endpoint_ms": 300.0},
        {"start": -3.0, "end": -2.0, "endpoint_ms": 300.0},
        {"start": 0.5, "end": 0.1, "endpoint_ms": 300.0},
        {"start": 0.1, "end": 0.5, "endpoint_ms": -300.0},
    ],
    ids=["after", "far after", "before", "backwards", "negative"],
)
def test_an_acceptance_of_what_was_not_sent_is_a_hold(robot: Robot, where: dict[str, float]) -> None:
    with scripted(says(DECISION | {"utterance": where}, STOPPED)) as url:
        heard = listen(robot, url, ONE_SECOND)
    assert [event.answer.command for event in heard if isinstance(event, Heard)] == [None]


def test_an_acceptance_that_comes_twice_counts_once(robot: Robot) -> None:
    with scripted(says(DECISION, DECISION, STOPPED)) as url:
        heard = listen(robot, url, ONE_SECOND)
    assert [event.answer.command for event in heard if isinstance(event, Heard)] == ["left", None]


def test_a_field_of_a_later_release_is_passed_over_in_a_stream(robot: Robot) -> None:
    with scripted(says(DECISION | {"mood": "calm", "utterance": WHERE | {"mood": "calm"}}, STOPPED)) as url:
        heard = listen(robot, url, ONE_SECOND)
    assert [event.answer.command for event in heard if isinstance(event, Heard)] == ["left"]


@pytest.mark.parametrize(
    "message",
    [
        "no JSON",
        b"\0\1",
        "[]",
        DECISION | {"valid_for_ms": "1500"},
        DECISION | {"utterance": None},
        DECISION | {"utterance": WHERE | {"end": float("nan")}},
        DECISION | {"type": "order"},
        {k: v for k, v in DECISION.items() if k != "type"},
        PROBLEM | {"utterance": None},
    ],
)
def test_a_message_that_cannot_be_read_ends_the_stream(robot: Robot, message: Any) -> None:
    with scripted(says(message, DECISION, STOPPED)) as url:
        heard = listen(robot, url, ONE_SECOND)
    assert [type(event) for event in heard] == [Ready, Ended]
    assert isinstance(heard[1], Ended)
    assert heard[1].totals is None


def test_a_line_that_breaks_ends_the_stream(robot: Robot) -> None:
    def script(line: ServerConnection) -> None:
        says()(line)
        line.socket.shutdown(socket.SHUT_RDWR)

    with scripted(script) as url:
        heard = listen(robot, url, ONE_SECOND)
    assert isinstance(heard[-1], Ended)
    assert heard[-1].detail.startswith("the stream broke off")


def test_silence_after_the_stop_ends_the_stream_and_before_it_does_not(robot: Robot) -> None:
    def script(line: ServerConnection) -> None:
        line.recv()
        line.send(json.dumps(READY))
        while line.recv() != json.dumps({"type": "stop"}):
            pass
        time.sleep(8)

    def slow() -> Iterator[bytes]:
        time.sleep(3.5)  # longer than the timeout
        yield seconds_of_silence(0.1)

    with scripted(script) as url:
        began = time.monotonic()
        heard = listen(robot, url, slow())
        assert 6 <= time.monotonic() - began < 11
    assert [type(event) for event in heard] == [Ready, Ended]


def test_no_gateway_is_an_ended_stream(robot: Robot) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{probe.getsockname()[1]}"
    for address in (url, "http://nowhere.invalid", "nonsense"):
        (ended,) = listen(robot, address, ONE_SECOND)
        assert isinstance(ended, Ended)
        assert ended.detail.startswith("no stream")


def test_a_stream_follows_nobody_elsewhere(robot: Robot) -> None:
    reached = []
    with (
        scripted(reached.append) as elsewhere,
        socket.create_server(("127.0.0.1", 0)) as listening,
    ):
        where = elsewhere.replace("http", "ws", 1)

        def redirect() -> None:
            line, _ = listening.accept()
            line.recv(65_536)
            line.sendall(f"HTTP/1.1 302 Found\r\nLocation: {where}/v1/stream\r\nContent-Length: 0\r\n\r\n".encode())
            line.close()

        threading.Thread(target=redirect, daemon=True).start()
        (ended,) = listen(robot, f"http://127.0.0.1:{listening.getsockname()[1]}", ONE_SECOND)
    assert isinstance(ended, Ended)
    assert reached == []
