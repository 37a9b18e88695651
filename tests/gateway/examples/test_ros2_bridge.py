"""What the ROS 2 bridge would publish."""

from __future__ import annotations

import queue
import time

import pytest
from hostile import ABSTENTION, ACCEPTANCE, PROBLEM, hostile, says
from ros2_bridge import OK, WARN, Messages, OneAtATime, messages_of

from gateway.client import Answer, Client, clock


def ask(status: int, body: object) -> Answer:
    with hostile(says(status, body)) as server, Client(server.url) as gateway:
        return gateway.decide(b"RIFF")


def test_a_fresh_acceptance_is_a_command() -> None:
    assert messages_of(ask(200, ACCEPTANCE)) == Messages("left", OK, "accepted left")


def test_an_old_acceptance_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    answer = ask(200, ACCEPTANCE)
    monkeypatch.setattr(clock, "now", lambda: answer.expires)
    assert messages_of(answer) == Messages(None, WARN, "hold: the acceptance is too old")


def test_an_abstention_is_none_and_no_fault() -> None:
    said = messages_of(ask(200, ABSTENTION))
    assert (said.command, said.level) == (None, OK)
    assert said.status.startswith("hold: smoothing_tie")


@pytest.mark.parametrize(("status", "body"), [(500, PROBLEM), (200, b"?"), (200, ACCEPTANCE | {"command": "unknown"})])
def test_anything_else_is_none_and_a_warning(status: int, body: object) -> None:
    said = messages_of(ask(status, body))
    assert (said.command, said.level) == (None, WARN)
    assert said.status.startswith("hold: ")


def test_clips_that_come_while_one_is_under_way_never_become_commands_later() -> None:
    said: queue.Queue[Messages] = queue.Queue()
    with hostile(says(200, ACCEPTANCE, after=0.5)) as server, Client(server.url) as gateway:
        clips = OneAtATime(gateway, said.put)
        began = time.monotonic()
        for _ in range(4):
            clips.hear(b"RIFF")
        refused = [said.get(timeout=5) for _ in range(3)]
        assert time.monotonic() - began < 0.4
        assert refused == [Messages(None, WARN, "hold: another clip is under way")] * 3
        assert said.get(timeout=5).command == "left"
        time.sleep(0.1)
        clips.hear(b"RIFF")
        assert said.get(timeout=5).command == "left"
    assert len(server.requests) == 2
