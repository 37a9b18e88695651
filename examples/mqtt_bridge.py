"""Audio in, decisions out, over MQTT 5: `evenvoice/ROBOT/audio` -> gateway -> `evenvoice/ROBOT/decision`.

pip install 'evenvoice[mqtt]'
evenvoice serve --bundle bundle
python examples/mqtt_bridge.py --host 127.0.0.1

A robot publishes each clip with correlation data of its own (QoS 1), and gets the decision with the same. A decision
is never retained, since it would be played back to whoever connects next; it expires in the broker with the acceptance;
and the same clip delivered twice is decided once, by its correlation data. `mqtt_robot.py` is the other end.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import math
import os
import sys
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import paho.mqtt.client as mqtt
from mqtt_access import add_broker, connect
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from gateway.client import Answer, Client, clock

AT_LEAST_ONCE = 1
UNDER_WAY = 4
WAITING = 8  # clips behind those; a later one is a hold at once rather than an old command afterwards
DECISION, PROBLEM = "application/json", "application/problem+json"


def said(answer: Answer) -> tuple[str, bytes]:
    """Content type and payload: the gateway's answer as it came, if it is fresh or an abstention; else why to hold."""
    if answer.response is not None and (answer.command is not None or answer.response.decision == "abstain"):
        return DECISION, answer.response.model_dump_json().encode()
    detail = "the acceptance is too old" if answer.response is not None else answer.detail
    return PROBLEM, json.dumps({"decision": "abstain", "safe_action": "hold", "detail": detail}).encode()


def properties_of(answer: Answer, kind: str, correlation: bytes | None) -> Properties:
    """MQTT counts whole seconds: rounded up, since 0 means never to some brokers; the robot counts the rest."""
    properties = Properties(PacketTypes.PUBLISH)
    properties.MessageExpiryInterval = max(1, math.ceil(answer.seconds_left))
    properties.ContentType = kind
    if correlation is not None:
        properties.CorrelationData = correlation
    return properties


class Bridge:
    """Between a broker and a gateway, for every robot under one prefix."""

    def __init__(self, gateway: Client, *, prefix: str = "evenvoice", client_id: str = "evenvoice-bridge") -> None:
        self._gateway = gateway
        self._prefix = prefix
        self._threads = ThreadPoolExecutor(UNDER_WAY, thread_name_prefix="decide")
        self._room = threading.BoundedSemaphore(UNDER_WAY + WAITING)
        self.subscribed = threading.Event()
        self.mqtt = mqtt.Client(CallbackAPIVersion.VERSION2, client_id=client_id, protocol=mqtt.MQTTv5)
        self.mqtt.on_connect = self._on_connect
        self.mqtt.on_subscribe = lambda *_: self.subscribed.set()
        self.mqtt.on_message = self._on_message

    def close(self) -> None:
        self.mqtt.on_message = None
        self._threads.shutdown(cancel_futures=True)
        self.mqtt.disconnect()

    def _on_connect(self, client: mqtt.Client, _: object, __: object, reason: ReasonCode, *___: object) -> None:
        if reason.is_failure:
            print(f"the broker does not let the bridge in: {reason}", file=sys.stderr, flush=True)
            return  # it is tried again
        client.subscribe(f"{self._prefix}/+/audio", qos=AT_LEAST_ONCE)  # again after each reconnection

    def _on_message(self, _: mqtt.Client, __: object, message: mqtt.MQTTMessage) -> None:
        robot = message.topic.split("/")[-2]
        if message.retain:
            self._publish(robot, Answer(None, "audio that was retained is of some time ago"), message)
        elif not self._room.acquire(blocking=False):
            self._publish(robot, Answer(None, f"{UNDER_WAY + WAITING} clips are under way"), message)
        else:  # the network's thread must not wait
            self._threads.submit(self._decide, robot, message, clock.now())

    def _decide(self, robot: str, message: mqtt.MQTTMessage, came: float) -> None:
        try:
            correlation = _correlation(message)
            answer = self._gateway.decide(
                message.payload,
                media_type=getattr(message.properties, "ContentType", None),
                idempotency_key=None if correlation is None else _key(robot, correlation),
                since=came,  # it may have waited for a thread
            )
            self._publish(robot, answer, message)
        finally:
            self._room.release()

    def _publish(self, robot: str, answer: Answer, message: mqtt.MQTTMessage) -> None:
        if not self.mqtt.is_connected():
            return  # it would be kept, and sent after the outage with as much time left as it has now
        kind, payload = said(answer)
        properties = properties_of(answer, kind, _correlation(message))
        topic = f"{self._prefix}/{robot}/decision"
        self.mqtt.publish(topic, payload, qos=AT_LEAST_ONCE, retain=False, properties=properties)


def _correlation(message: mqtt.MQTTMessage) -> bytes | None:
    return getattr(message.properties, "CorrelationData", None) or None


def _key(robot: str, correlation: bytes) -> str:
    """No two robots' are the same, whatever they chose."""
    return hashlib.sha256(robot.encode() + b"\0" + correlation).hexdigest()


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Audio in, decisions out, over MQTT 5.")
    add_broker(parser)
    parser.add_argument("--prefix", default="evenvoice", help="of the topics")
    parser.add_argument("--url", default="http://127.0.0.1:3000", help="the gateway's; its key is in EVENVOICE_KEY")
    chosen = parser.parse_args(arguments)
    with Client(chosen.url, key=os.environ.get("EVENVOICE_KEY"), timeout=1.5) as gateway:
        bridge = Bridge(gateway, prefix=chosen.prefix)
        connect(bridge.mqtt, chosen)
        try:
            bridge.mqtt.loop_forever()
        except KeyboardInterrupt:
            bridge.close()


if __name__ == "__main__":
    main()
