"""The arm moves on fresh acceptances alone."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import EXAMPLES
from hostile import ABSTENTION, ACCEPTANCE, PROBLEM, hostile, resets, says
from robot import Spoken, encoded
from robot_arm import MOTIONS, Arm
from test_served import Server

from gateway.client import Client, clock


def run_arm(*arguments: object) -> list[str]:
    """The lines of its trace, without their times."""
    clean = {k: v for k, v in os.environ.items() if not k.startswith("EVENVOICE_")}
    command = [sys.executable, str(EXAMPLES / "robot_arm.py"), *map(str, arguments)]
    ran = subprocess.run(command, env=clean, capture_output=True, text=True, timeout=120, check=True)
    return [line.split(" s  ", 1)[1] for line in ran.stdout.splitlines()]


def test_it_moves_on_an_acceptance_and_holds_with_the_reason_else(
    server: Server, spoken: Spoken, tmp_path: Path
) -> None:
    silence = tmp_path / "silence.wav"
    silence.write_bytes(encoded(np.zeros(8000)))
    url = f"http://127.0.0.1:{server.port}"
    trace = run_arm(silence, spoken.path, "--url", url, "--defense", "none", "--timeout", 20)
    assert trace[0].startswith("silence.wav: hold: no_speech")
    joint, way = MOTIONS[spoken.command]
    assert trace[1] == f"{spoken.path.name}: begin {spoken.command}"
    assert trace[2:5] == [f"  {joint} {5 * k * way:+.0f} -> {5 * (k + 1) * way:+.0f} degrees" for k in range(3)]
    assert trace[5] == f"joints: {{'{joint}': {15.0 * way}}}"


def test_it_holds_when_the_acceptance_has_grown_old_before_it_moves(spoken: Spoken) -> None:
    with hostile(says(200, ACCEPTANCE | {"valid_for_ms": 400})) as gateway:
        trace = run_arm(spoken.path, "--url", gateway.url, "--delay", 0.5)
    assert trace == [
        f"{spoken.path.name}: hold: 'left' was accepted, but that is too old now",
        "joints: where they were",
    ]


@pytest.mark.parametrize("step", [says(200, ABSTENTION), says(503, PROBLEM), says(200, b"?"), resets])
def test_it_holds_whatever_else_is_said(step: object) -> None:
    arm = Arm()
    with hostile(step) as server, Client(server.url, timeout=1.0) as gateway:  # type: ignore[arg-type]
        assert arm.hear(gateway.decide(b"RIFF")).startswith("hold: ")
    assert (arm.moving, arm.joints) == (None, {})


def test_a_hold_neither_stops_nor_continues_a_motion() -> None:
    arm = Arm()
    with hostile(says(200, ACCEPTANCE), says(200, ABSTENTION)) as server, Client(server.url) as gateway:
        assert arm.hear(gateway.decide(b"RIFF")) == "begin left"
        arm.step()
        assert arm.hear(gateway.decide(b"RIFF")).startswith("hold: smoothing_tie")
    assert [arm.step(), arm.step(), arm.step()] == ["base +5 -> +10 degrees", "base +10 -> +15 degrees", None]


def test_stop_ends_a_motion_and_a_command_without_a_motion_begins_none() -> None:
    arm = Arm()
    bodies = [ACCEPTANCE | {"command": command} for command in ("left", "stop", "sing")]
    with hostile(*(says(200, body) for body in bodies)) as server, Client(server.url) as gateway:
        arm.hear(gateway.decide(b"RIFF"))
        assert arm.hear(gateway.decide(b"RIFF")) == "stop"
        assert arm.step() is None
        assert arm.hear(gateway.decide(b"RIFF")) == "hold: no motion is known for 'sing'"


def test_no_joint_passes_its_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    arm = Arm()
    with hostile(says(200, ACCEPTANCE)) as server, Client(server.url) as gateway:
        answer = gateway.decide(b"RIFF")
    monkeypatch.setattr(clock, "now", lambda: answer.sent)
    for _ in range(40):
        arm.hear(answer)
        arm.step()
    assert arm.joints == {"base": 90.0}
