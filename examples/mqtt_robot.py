"""A robot behind `mqtt_bridge.py`: it publishes a clip and acts on the decision while that is fresh.

python examples/mqtt_robot.py --robot arm-3 left.wav right.wav

No two machines' clocks agree, so the robot counts from when it published the clip, by its own clock. What it did not
ask for, asked for too long ago, or was told already is a hold.
"""

from __future__ import annotations

import argparse
import contextlib
import queue
import sys
import threading
import uuid
from collections.abc import Sequence
from pathlib import Path

import paho.mqtt.client as mqtt
from mqtt_access import add_broker, connect
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from gateway.client import Answer, clock
from gateway.client.answer import LONGEST_VALID_MS, read_answer

AT_LEAST_ONCE = 1
PROBLEM = "application/problem+json"


class Asked:
    """What was asked and not answered yet; turns each message into an answer that grows old by itself."""

    def __init__(self) -> None:
        self._sent: dict[bytes, float] = {}
        self._lock = threading.Lock()

    def ask(self) -> bytes:
        """The correlation data of a clip that is published now."""
        now, correlation = clock.now(), uuid.uuid4().bytes
        with self._lock:
            old = [key for key, sent in self._sent.items() if sent < now - LONGEST_VALID_MS / 1000]
            for key in old:
                del self._sent[key]
            self._sent[correlation] = now
        return correlation

    def answer(self, message: mqtt.MQTTMessage) -> Answer:
        """What a decision means here and now; its `command` is None for a hold."""
        if message.retain:
            return Answer(None, "a decision that was retained is of some time ago")
        properties = message.properties
        with self._lock:
            sent = self._sent.pop(getattr(properties, "CorrelationData", b""), None)
        if sent is None:
            return Answer(None, "nobody asked for this decision, or it came already")
        if getattr(properties, "MessageExpiryInterval", None) is None:
            return Answer(None, "a decision that never expires is none")
        kind, payload = getattr(properties, "ContentType", ""), bytes(message.payload)
        if kind == PROBLEM:
            return Answer(None, payload[:500].decode(errors="replace"))
        return read_answer(payload, kind, sent=sent)


class Robot:
    """One robot's end of the line."""

    def __init__(self, name: str, *, prefix: str = "evenvoice") -> None:
        self._topic = f"{prefix}/{name}"
        self.asked = Asked()
        self.answers: queue.Queue[tuple[bytes, Answer]] = queue.Queue()
        self.subscribed = threading.Event()
        self.mqtt = mqtt.Client(CallbackAPIVersion.VERSION2, client_id=f"robot-{name}", protocol=mqtt.MQTTv5)
        self.mqtt.on_connect = self._on_connect
        self.mqtt.on_subscribe = lambda *_: self.subscribed.set()
        self.mqtt.on_message = self._on_message

    def _on_connect(self, client: mqtt.Client, _: object, __: object, reason: ReasonCode, *___: object) -> None:
        if reason.is_failure:
            print(f"the broker does not let the robot in: {reason}", file=sys.stderr, flush=True)
            return  # it is tried again
        client.subscribe(f"{self._topic}/decision", qos=AT_LEAST_ONCE)

    def _on_message(self, _: mqtt.Client, __: object, message: mqtt.MQTTMessage) -> None:
        correlation = getattr(message.properties, "CorrelationData", b"")
        self.answers.put((correlation, self.asked.answer(message)))

    def ask(self, audio: bytes, *, media_type: str = "audio/wav", timeout: float = 2.0) -> Answer:
        """Publish a clip and wait for its decision; one to an earlier clip is passed over."""
        ends, correlation = clock.now() + timeout, self.say(audio, media_type=media_type)
        while (left := ends - clock.now()) > 0:
            with contextlib.suppress(queue.Empty):
                about, answer = self.answers.get(timeout=left)
                if about == correlation:
                    return answer
        return Answer(None, f"no decision within {timeout:g} s")

    def say(self, audio: bytes, *, media_type: str = "audio/wav") -> bytes:
        """Publish a clip; its decision comes to `answers`."""
        properties = Properties(PacketTypes.PUBLISH)
        properties.ContentType = media_type
        properties.CorrelationData = correlation = self.asked.ask()
        properties.MessageExpiryInterval = 2  # nobody needs an answer to it later
        self.mqtt.publish(f"{self._topic}/audio", audio, qos=AT_LEAST_ONCE, properties=properties)
        return correlation


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="A robot behind mqtt_bridge.py.")
    parser.add_argument("clips", nargs="+", type=Path, help="spoken commands: WAV or FLAC")
    add_broker(parser)
    parser.add_argument("--robot", default="arm", help="its name in the topics")
    parser.add_argument("--timeout", type=float, default=2.0, help="seconds for an answer")
    chosen = parser.parse_args(arguments)
    robot = Robot(chosen.robot)
    connect(robot.mqtt, chosen)
    robot.mqtt.loop_start()
    robot.subscribed.wait(5)
    for clip in chosen.clips:
        media_type = "audio/flac" if clip.suffix == ".flac" else "audio/wav"
        answer = robot.ask(clip.read_bytes(), media_type=media_type, timeout=chosen.timeout)
        command = answer.command
        print(f"{clip.name}: {f'do {command}' if command is not None else f'hold: {answer.detail}'}", flush=True)
    robot.mqtt.disconnect()
    robot.mqtt.loop_stop()


if __name__ == "__main__":
    main()
