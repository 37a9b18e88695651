"""Audio and decisions through a real broker and a real gateway."""

from __future__ import annotations

import json
import queue
import time
from collections.abc import Callable, Iterator

import paho.mqtt.client as mqtt
import pytest
from hostile import ACCEPTANCE, PROBLEM, Hostile, hostile, says
from mqtt_bridge import Bridge
from mqtt_robot import Robot
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from robot import Spoken, rows_of
from test_served import Server

from gateway.client import Client, Kind, clock

PATIENCE = 20.0
Start = Callable[..., Bridge]


@pytest.fixture
def bridge(broker: int) -> Iterator[Start]:
    """Starts a bridge to a gateway."""
    started: list[tuple[Client, Bridge]] = []

    def start(url: str, timeout: float = PATIENCE) -> Bridge:
        gateway = Client(url, timeout=timeout)
        made = Bridge(gateway, client_id=f"bridge-{time.monotonic_ns()}")
        made.mqtt.connect("127.0.0.1", broker)
        made.mqtt.loop_start()
        assert made.subscribed.wait(PATIENCE)
        started.append((gateway, made))
        return made

    yield start
    for gateway, made in started:
        made.close()
        made.mqtt.loop_stop()
        gateway.close()


@pytest.fixture
def arm(broker: int) -> Iterator[Robot]:
    robot = Robot("arm-3")
    robot.mqtt.connect("127.0.0.1", broker)
    robot.mqtt.loop_start()
    assert robot.subscribed.wait(PATIENCE)
    yield robot
    robot.mqtt.disconnect()
    robot.mqtt.loop_stop()


class Observer:
    """Another client: sees every decision and may publish anything."""

    def __init__(self, port: int, name: str = "observer") -> None:
        self.messages: queue.Queue[mqtt.MQTTMessage] = queue.Queue()
        self.mqtt = mqtt.Client(CallbackAPIVersion.VERSION2, client_id=name, protocol=mqtt.MQTTv5)
        self.mqtt.on_message = lambda _, __, message: self.messages.put(message)
        self.mqtt.connect("127.0.0.1", port)
        self.mqtt.loop_start()

    def see_decisions(self, robot: str = "+") -> None:
        _, number = self.mqtt.subscribe(f"evenvoice/{robot}/decision", qos=1)
        assert number is not None
        time.sleep(0.2)

    def publish(self, topic: str, payload: bytes, *, retain: bool = False, **properties: object) -> None:
        given = Properties(PacketTypes.PUBLISH)
        for name, value in properties.items():
            setattr(given, name, value)
        self.mqtt.publish(topic, payload, qos=1, retain=retain, properties=given).wait_for_publish(PATIENCE)

    def close(self) -> None:
        self.mqtt.disconnect()
        self.mqtt.loop_stop()


@pytest.fixture
def observer(broker: int) -> Iterator[Observer]:
    made = Observer(broker)
    yield made
    made.close()


def test_a_spoken_command_comes_back_as_a_fresh_decision(
    bridge: Start, arm: Robot, observer: Observer, server: Server, spoken: Spoken
) -> None:
    bridge(f"http://127.0.0.1:{server.port}")
    observer.see_decisions()
    answer = arm.ask(spoken.data, timeout=PATIENCE)
    assert answer.response is not None, answer.detail
    assert answer.response.request_id in {row["request_id"] for row in rows_of(server.state)}
    message = observer.messages.get(timeout=PATIENCE)
    assert message.topic == "evenvoice/arm-3/decision"
    assert (message.qos, bool(message.retain)) == (1, False)
    left = answer.response.valid_for_ms / 1000
    if answer.response.decision == "accept":
        assert 0 < message.properties.MessageExpiryInterval <= left
        assert answer.command == answer.response.command


def test_an_acceptance_is_void_by_the_robots_own_clock(
    bridge: Start, arm: Robot, monkeypatch: pytest.MonkeyPatch
) -> None:
    with hostile(says(200, ACCEPTANCE)) as gateway:
        bridge(gateway.url)
        answer = arm.ask(b"RIFF")
    assert answer.command == "left", answer.detail
    assert answer.expires - answer.sent == pytest.approx(1.5)
    monkeypatch.setattr(clock, "now", lambda: answer.sent + 1.5)
    assert answer.command is None


def test_the_same_clip_delivered_twice_has_one_key_and_moves_a_robot_once(bridge: Start, arm: Robot) -> None:
    with hostile(says(200, ACCEPTANCE)) as gateway:
        bridge(gateway.url)
        correlation = arm.say(b"RIFF")
        properties = Properties(PacketTypes.PUBLISH)
        properties.CorrelationData = correlation
        arm.mqtt.publish("evenvoice/arm-3/audio", b"RIFF", qos=1, properties=properties)
        answers = [arm.answers.get(timeout=PATIENCE)[1] for _ in range(2)]
    assert sorted(str(answer.command) for answer in answers) == ["None", "left"]
    assert len({request.headers["idempotency-key"] for request in gateway.requests}) == 1


def test_two_robots_with_the_same_correlation_data_have_two_keys(bridge: Start, observer: Observer) -> None:
    with hostile(says(200, ACCEPTANCE)) as gateway:
        bridge(gateway.url)
        observer.see_decisions()
        for robot in ("a", "b"):
            observer.publish(f"evenvoice/{robot}/audio", b"RIFF", CorrelationData=b"1")
        for _ in range(2):
            observer.messages.get(timeout=PATIENCE)
    assert len({request.headers["idempotency-key"] for request in gateway.requests}) == 2


def test_a_gateway_that_does_not_answer_is_a_hold_with_its_reason(
    bridge: Start, arm: Robot, observer: Observer
) -> None:
    with hostile(says(500, PROBLEM)) as gateway:
        bridge(gateway.url)
        observer.see_decisions()
        answer = arm.ask(b"RIFF")
        message = observer.messages.get(timeout=PATIENCE)
    assert answer.command is None
    assert "500" in answer.detail
    body = json.loads(message.payload)
    assert (body["decision"], body["safe_action"]) == ("abstain", "hold")
    assert message.properties.MessageExpiryInterval == 1


def test_an_acceptance_that_came_too_late_is_not_passed_on(bridge: Start, observer: Observer) -> None:
    with hostile(says(200, ACCEPTANCE | {"valid_for_ms": 100}, after=0.3)) as gateway:
        bridge(gateway.url)
        observer.see_decisions()
        observer.publish("evenvoice/a/audio", b"RIFF")
        assert json.loads(observer.messages.get(timeout=PATIENCE).payload)["decision"] == "abstain"


def test_audio_that_was_retained_is_a_hold_and_nobody_is_asked(bridge: Start, observer: Observer) -> None:
    observer.publish("evenvoice/old/audio", b"RIFF", retain=True)
    observer.see_decisions("old")
    try:
        with hostile(says(200, ACCEPTANCE)) as gateway:
            bridge(gateway.url)
            body = json.loads(observer.messages.get(timeout=PATIENCE).payload)
        assert body["decision"] == "abstain"
        assert "retained" in body["detail"]
        assert gateway.requests == []
    finally:
        observer.publish("evenvoice/old/audio", b"", retain=True)


def test_a_decision_expires_in_the_broker(bridge: Start, broker: int) -> None:
    """A robot that was away for longer than an acceptance lives never sees it."""

    def session(linger: int) -> Observer:
        made = Observer.__new__(Observer)
        made.messages = queue.Queue()
        made.mqtt = mqtt.Client(CallbackAPIVersion.VERSION2, client_id="away", protocol=mqtt.MQTTv5)
        made.mqtt.on_message = lambda _, __, message: made.messages.put(message)
        kept = Properties(PacketTypes.CONNECT)
        kept.SessionExpiryInterval = linger
        made.mqtt.connect("127.0.0.1", broker, clean_start=False, properties=kept)
        made.mqtt.loop_start()
        return made

    first = session(600)
    first.see_decisions("away")
    first.close()
    with hostile(says(200, ACCEPTANCE)) as gateway:
        bridge(gateway.url)
        sender = Observer(broker, "sender")
        sender.publish("evenvoice/away/audio", b"RIFF")
        time.sleep(0.5)
        soon = session(600)
        assert soon.messages.get(timeout=PATIENCE)  # it waited in the broker ...
        soon.close()
        sender.publish("evenvoice/away/audio", b"RIFF")
        time.sleep(4)
        late = session(0)
        with pytest.raises(queue.Empty):
            late.messages.get(timeout=1)  # ... and this one waited too long
        late.close()
        sender.close()
    assert len(gateway.requests) == 2


@pytest.mark.parametrize(
    ("payload", "properties", "retain", "words"),
    [
        (json.dumps(ACCEPTANCE).encode(), {"CorrelationData": b"x", "MessageExpiryInterval": 5}, False, "nobody asked"),
        (json.dumps(ACCEPTANCE).encode(), {"MessageExpiryInterval": 5}, False, "nobody asked"),
        (json.dumps(ACCEPTANCE).encode(), {"MessageExpiryInterval": 5}, True, "retained"),
    ],
)
def test_a_robot_holds_on_what_it_did_not_ask_for(
    broker: int, observer: Observer, payload: bytes, properties: dict[str, object], retain: bool, words: str
) -> None:
    topic = "evenvoice/arm-9/decision"
    if retain:
        observer.publish(topic, payload, retain=True, **properties)
    robot = Robot("arm-9")
    robot.mqtt.connect("127.0.0.1", broker)
    robot.mqtt.loop_start()
    try:
        assert robot.subscribed.wait(PATIENCE)
        if not retain:
            observer.publish(topic, payload, **properties)
        _, answer = robot.answers.get(timeout=PATIENCE)
        assert answer.command is None
        assert words in answer.detail
    finally:
        robot.mqtt.disconnect()
        robot.mqtt.loop_stop()
        observer.publish(topic, b"", retain=True)


@pytest.mark.parametrize(
    "properties",
    [
        {"ContentType": "application/json"},
        {"ContentType": "text/plain", "MessageExpiryInterval": 5},
        {"MessageExpiryInterval": 5},
    ],
    ids=["never expires", "another type", "no type"],
)
def test_a_robot_holds_on_a_decision_that_is_not_as_the_bridge_sends_it(
    arm: Robot, observer: Observer, properties: dict[str, object]
) -> None:
    correlation = arm.asked.ask()
    observer.publish(
        "evenvoice/arm-3/decision", json.dumps(ACCEPTANCE).encode(), CorrelationData=correlation, **properties
    )
    assert arm.answers.get(timeout=PATIENCE)[1].command is None


def test_a_robot_waits_no_longer_than_it_said(arm: Robot) -> None:
    began = time.monotonic()
    answer = arm.ask(b"RIFF", timeout=0.3)
    assert time.monotonic() - began < 1.0
    assert (answer.command, answer.kind) == (None, Kind.NO_ANSWER)


def test_what_waited_for_its_turn_counts_from_when_it_came(bridge: Start, observer: Observer) -> None:
    """Four are asked at a time; the fifth waits for 0.5 s."""
    short = ACCEPTANCE | {"valid_for_ms": 800}
    with hostile(says(200, short, after=0.5)) as gateway:
        bridge(gateway.url)
        observer.see_decisions("queue")
        for number in range(5):
            observer.publish("evenvoice/queue/audio", b"RIFF", CorrelationData=bytes([number]))
        bodies = [json.loads(observer.messages.get(timeout=PATIENCE).payload) for _ in range(5)]
    assert [body["decision"] for body in bodies] == ["accept"] * 4 + ["abstain"]
    assert "too old" in bodies[-1]["detail"]


def test_a_decision_of_an_outage_is_not_sent_after_it(bridge: Start, observer: Observer) -> None:
    with hostile(says(200, ACCEPTANCE, after=0.5)) as gateway:
        made = bridge(gateway.url)
        observer.see_decisions("lost")
        observer.publish("evenvoice/lost/audio", b"RIFF")
        ends = time.monotonic() + PATIENCE
        while not gateway.requests and time.monotonic() < ends:
            time.sleep(0.01)
        made.mqtt.disconnect()
        time.sleep(1.0)  # the answer came meanwhile
        made.subscribed.clear()
        made.mqtt.reconnect()
        made.mqtt.loop_start()
        assert made.subscribed.wait(PATIENCE)
        with pytest.raises(queue.Empty):
            observer.messages.get(timeout=0.5)
        observer.publish("evenvoice/lost/audio", b"RIFF")
        assert json.loads(observer.messages.get(timeout=PATIENCE).payload)["decision"] == "accept"


def test_beyond_what_can_wait_a_clip_is_a_hold_at_once(bridge: Start, observer: Observer) -> None:
    with hostile(says(200, ACCEPTANCE, after=1.5)) as gateway:
        bridge(gateway.url)
        observer.see_decisions("many")
        began = time.monotonic()
        for _ in range(20):
            observer.publish("evenvoice/many/audio", b"RIFF")
        refused = [json.loads(observer.messages.get(timeout=PATIENCE).payload) for _ in range(8)]
        assert time.monotonic() - began < 1.5
    assert all("under way" in body["detail"] for body in refused)
    assert isinstance(gateway, Hostile)
