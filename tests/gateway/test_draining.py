"""A gateway that is told to end: what it says and does until it has ended. Under load: `replicas/test_upgrade.py`."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import psutil
import pytest
from robot import Spoken
from test_served import Server
from waiting import until

from gateway.client import END_UTTERANCE, Client, Ended, EndUtterance, Event, Heard, Kind
from gateway.draining import Drain

DRAIN_SECONDS = 60
ENVIRONMENT = {"EVENVOICE_DRAIN_SECONDS": str(DRAIN_SECONDS), "EVENVOICE_WORKERS": "2"}


@pytest.fixture
def server(bundle: Path, tmp_path: Path) -> Iterator[Server]:
    started = Server(tmp_path / "home", bundle, environment=ENVIRONMENT)
    try:
        yield started.ready()
    finally:
        started.kill()


class Stream:
    """An open one that says a word when it is told to, and keeps what it is told."""

    def __init__(self, server: Server, spoken: Spoken) -> None:
        self._server, self._spoken = server, spoken
        self._turn = threading.Semaphore(0)
        self.heard: list[Event] = []

    def say(self) -> None:
        self._turn.release()

    @property
    def answers(self) -> list[Kind]:
        return [event.answer.kind for event in self.heard if isinstance(event, Heard)]

    def listen(self) -> None:
        """Until the gateway ends it."""
        with Client(f"http://127.0.0.1:{self._server.port}", timeout=20) as client:
            self.heard.extend(client.stream(self._words(), rate=self._spoken.pcm[1], defense="none"))

    def _words(self) -> Iterator[bytes | EndUtterance]:
        while self._turn.acquire(timeout=30):
            yield self._spoken.pcm[0].astype("<i2").tobytes()
            yield END_UTTERANCE


def test_it_serves_on_unready_until_its_time_is_over_or_it_is_interrupted(server: Server, spoken: Spoken) -> None:
    stream = Stream(server, spoken)
    with httpx.Client(base_url=f"http://127.0.0.1:{server.port}", timeout=20) as kept, ThreadPoolExecutor(1) as pool:
        open_stream = pool.submit(stream.listen)
        asked = {"content": spoken.data, "headers": {"content-type": "audio/wav"}, "params": {"defense": "none"}}
        assert "connection" not in kept.post("/v1/commands", **asked).headers
        stream.say()
        assert until(lambda: len(stream.answers) == 1)
        family = psutil.Process(server.process.pid).children(recursive=True)
        for process in (server.process, *family, server.process):  # as a supervisor of the whole group does, and twice
            process.send_signal(signal.SIGTERM)
        assert until(lambda: [server.ask("GET", "/readyz").status_code for _ in range(8)] == [503] * 8)
        answer = kept.post("/v1/commands", **asked)
        assert answer.json()["command"] == spoken.command
        assert answer.headers["connection"] == "close"
        assert server.ask("GET", "/livez").status_code == 200
        assert server.decide(spoken.data, defense="none").status_code == 200
        stream.say()
        assert until(lambda: len(stream.answers) == 2)
        for process in family:
            if process.is_running():
                process.send_signal(signal.SIGINT)
        open_stream.result(timeout=30)
    assert server.ended(30) == 0, server.said
    assert "Traceback" not in server.said
    assert stream.answers == [Kind.ANSWERED] * 2
    assert isinstance(last := stream.heard[-1], Ended)
    assert "1012" in last.detail


def test_a_drain_is_over_after_its_seconds_and_told_twice_it_is_no_longer() -> None:
    drain = Drain(0.2)
    assert (drain.is_begun, drain.is_over) == (False, False)
    begun = time.monotonic()
    drain.begin()
    assert (drain.is_begun, drain.is_over) == (True, False)
    assert until(lambda: time.monotonic() - begun > 0.1)
    drain.begin()
    assert until(lambda: drain.is_over, 10)
    assert time.monotonic() - begun >= 0.2
    assert Drain(0.0).is_over is False
