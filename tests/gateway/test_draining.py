"""A gateway that is told to end: what it says and does until it has ended. Under load: `replicas/test_upgrade.py`."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import psutil
import pytest
from robot import Spoken
from test_served import Server
from test_swap import until

from gateway.draining import Drain

DRAIN_SECONDS = 60


@pytest.fixture
def server(bundle: Path, tmp_path: Path) -> Iterator[Server]:
    started = Server(tmp_path / "home", bundle, environment={"EVENVOICE_DRAIN_SECONDS": str(DRAIN_SECONDS)})
    try:
        yield started.ready()
    finally:
        started.kill()


def test_it_serves_on_unready_until_its_time_is_over_or_it_is_interrupted(server: Server, spoken: Spoken) -> None:
    with httpx.Client(base_url=f"http://127.0.0.1:{server.port}", timeout=20) as kept:
        asked = {"content": spoken.data, "headers": {"content-type": "audio/wav"}, "params": {"defense": "none"}}
        assert "connection" not in kept.post("/v1/commands", **asked).headers
        family = psutil.Process(server.process.pid).children(recursive=True)
        for process in (server.process, *family):  # as a supervisor of the whole group does
            process.send_signal(signal.SIGTERM)
        assert until(lambda: server.ask("GET", "/readyz").status_code == 503)
        answer = kept.post("/v1/commands", **asked)
        assert answer.json()["command"] == spoken.command
        assert answer.headers["connection"] == "close"
        assert server.ask("GET", "/livez").status_code == 200
        assert server.decide(spoken.data, defense="none").status_code == 200
    for process in family:
        if process.is_running():
            process.send_signal(signal.SIGINT)
    assert server.ended(30) == 0, server.said
    assert "Traceback" not in server.said


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
