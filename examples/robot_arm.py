"""A simulated arm that moves on fresh acceptances only, and says what it does and why it holds.

evenvoice serve --bundle bundle
python examples/robot_arm.py left.wav right.wav noise.wav
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from gateway.client import Answer, Client

STEP_DEGREES = 5.0
LIMIT_DEGREES = 90.0
STEPS = 3  # of a motion

Motion = tuple[str, int]
"""A joint, and which way it turns: 1 or -1."""

MOTIONS: Mapping[str, Motion] = {
    "left": ("base", 1),
    "right": ("base", -1),
    "up": ("shoulder", 1),
    "down": ("shoulder", -1),
    "forward": ("elbow", 1),
    "backward": ("elbow", -1),
    "go": ("elbow", 1),
}
STOP = "stop"  # a spoken stop is a convenience; the emergency stop is another circuit


@dataclass
class Arm:
    """Joints in degrees, within +-90; it begins a motion for a command and ends it by itself."""

    motions: Mapping[str, Motion] = field(default_factory=lambda: MOTIONS)
    joints: dict[str, float] = field(default_factory=dict)
    moving: str | None = None
    """The command whose motion is under way."""
    _steps_left: int = 0

    def hear(self, answer: Answer) -> str:
        """Begin what was asked for, or hold: begin nothing. What is under way goes on either way; says what it did."""
        command = answer.command  # asked for now, not when the answer came: it may have grown old meanwhile
        if command is None:
            return f"hold: {_why(answer)}"
        if command == STOP:
            self.moving, self._steps_left = None, 0
            return "stop"
        if command not in self.motions:
            return f"hold: no motion is known for {command!r}"
        self.moving, self._steps_left = command, STEPS
        return f"begin {command}"

    def step(self) -> str | None:
        """One step of the motion under way; None where there is none."""
        if self.moving is None:
            return None
        joint, way = self.motions[self.moving]
        before = self.joints.get(joint, 0.0)
        self.joints[joint] = max(-LIMIT_DEGREES, min(LIMIT_DEGREES, before + way * STEP_DEGREES))
        self._steps_left -= 1
        if self._steps_left == 0:
            self.moving = None
        return f"{joint} {before:+.0f} -> {self.joints[joint]:+.0f} degrees"


def _why(answer: Answer) -> str:
    said = answer.response
    if said is None:
        return answer.detail
    if said.decision == "accept":
        return f"{said.command!r} was accepted, but that is too old now"
    return f"{said.reason} ({said.detail})"


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="A simulated arm that obeys a gateway.")
    parser.add_argument("clips", nargs="+", type=Path, help="spoken commands: WAV or FLAC")
    parser.add_argument("--url", default="http://127.0.0.1:3000")
    parser.add_argument("--speaker")
    parser.add_argument("--defense")
    parser.add_argument("--timeout", type=float, default=1.5, help="seconds for an answer")
    parser.add_argument("--delay", type=float, default=0.0, help="seconds between an answer and acting on it")
    chosen = parser.parse_args(arguments)

    arm, began = Arm(), time.monotonic()

    def trace(words: str) -> None:
        print(f"{time.monotonic() - began:7.3f} s  {words}", flush=True)

    with Client(chosen.url, key=os.environ.get("EVENVOICE_KEY"), timeout=chosen.timeout) as gateway:
        for clip in chosen.clips:
            answer = gateway.decide(clip, speaker=chosen.speaker, defense=chosen.defense)
            time.sleep(chosen.delay)
            trace(f"{clip.name}: {arm.hear(answer)}")
            while (moved := arm.step()) is not None:
                trace(f"  {moved}")
    trace(f"joints: {arm.joints or 'where they were'}")


if __name__ == "__main__":
    main()
