"""Decisions into ROS 2: `/evenvoice/command` for fresh acceptances alone, `/evenvoice/status` for all that was heard.

What is published, and whether, is decided in `messages_of` and `OneAtATime`, which are tested; the node around them
needs `rclpy` and was never run against a ROS installation.

python examples/ros2_bridge.py --ros-args -p url:=http://127.0.0.1:3000

It takes audio as `std_msgs/UInt8MultiArray` with the bytes of a WAV or FLAC file on `/evenvoice/audio`.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from threading import Semaphore

from gateway.client import Answer, Client

LIFESPAN = 0.2  # seconds: what the middleware could not deliver by then would be old when it comes
OK, WARN = 0, 1
"""Levels of `diagnostic_msgs/DiagnosticStatus`."""


@dataclass(frozen=True)
class Messages:
    """What goes out for one answer."""

    command: str | None
    """`std_msgs/String`; None: nothing is published, and the robot holds."""
    level: int
    status: str


def messages_of(answer: Answer) -> Messages:
    """A command while it is fresh; else none, and a status that says why."""
    command = answer.command
    said = answer.response
    if command is not None:
        return Messages(command, OK, f"accepted {command}")
    if said is None:
        return Messages(None, WARN, f"hold: {answer.detail}")
    if said.decision == "accept":
        return Messages(None, WARN, "hold: the acceptance is too old")
    return Messages(None, OK, f"hold: {said.reason} ({said.detail})")


class OneAtATime:
    """Has a gateway decide on clips, and says what to publish.

    A clip that comes while another is under way is a hold at once: it would be old when its turn came, and look fresh.
    """

    def __init__(self, gateway: Client, publish: Callable[[Messages], None]) -> None:
        self._gateway, self._publish = gateway, publish
        self._thread = ThreadPoolExecutor(1)
        self._is_free = Semaphore()

    def hear(self, audio: bytes) -> None:
        """Returns at once; the middleware's thread must not wait."""
        if self._is_free.acquire(blocking=False):
            self._thread.submit(self._decide, audio)
        else:
            self._publish(messages_of(Answer(None, "another clip is under way")))

    def _decide(self, audio: bytes) -> None:
        try:
            self._publish(messages_of(self._gateway.decide(audio)))
        finally:
            self._is_free.release()


def main() -> None:
    import rclpy
    from diagnostic_msgs.msg import DiagnosticStatus
    from rclpy.duration import Duration
    from rclpy.node import Node
    from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
    from std_msgs.msg import String, UInt8MultiArray

    class Bridge(Node):
        def __init__(self) -> None:
            super().__init__("evenvoice_bridge")
            url = self.declare_parameter("url", "http://127.0.0.1:3000").value
            gateway = Client(url, key=os.environ.get("EVENVOICE_KEY"), timeout=1.5)
            self._clips = OneAtATime(gateway, self._say)
            # Volatile: a command is never replayed to a robot that joins later, as a retained one would be.
            volatile = QoSProfile(
                depth=1,
                reliability=ReliabilityPolicy.RELIABLE,
                durability=DurabilityPolicy.VOLATILE,
                lifespan=Duration(seconds=LIFESPAN),
            )
            self._commands = self.create_publisher(String, "/evenvoice/command", volatile)
            self._status = self.create_publisher(DiagnosticStatus, "/evenvoice/status", 10)
            self.create_subscription(UInt8MultiArray, "/evenvoice/audio", self._on_audio, 1)

        def _on_audio(self, message: UInt8MultiArray) -> None:
            self._clips.hear(bytes(message.data))

        def _say(self, messages: Messages) -> None:
            if messages.command is not None:
                self._commands.publish(String(data=messages.command))
            level = bytes([messages.level])
            self._status.publish(DiagnosticStatus(level=level, name="evenvoice", message=messages.status))

    rclpy.init()
    node = Bridge()
    try:
        rclpy.spin(node)
    except KeyboardInterrupt:
        node.destroy_node()


if __name__ == "__main__":
    main()
