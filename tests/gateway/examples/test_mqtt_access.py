"""Bridge and robot as programs, and a broker that lets in whom it knows, over TLS, to their own topics."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import trustme
from brokers import broker_with
from hostile import ACCEPTANCE, hostile, says
from mqtt_robot import Robot
from waiting import PATIENCE, until

EXAMPLES = Path(__file__).parents[3] / "examples"
PASSWORDS = {"evenvoice-bridge": "of the bridge", "arm-3": "of the arm", "arm-4": "of another"}
BRIDGE = "evenvoice-bridge"


@dataclass(frozen=True)
class Site:
    """A broker with users, and who vouches for it."""

    port: int
    authority: Path
    clip: Path
    log: Path

    def run(self, program: str, user: str, *arguments: str, password: str | None = None) -> subprocess.Popen[str]:
        known = {**os.environ, "EVENVOICE_MQTT_PASSWORD": password or PASSWORDS[user]}
        to = ("--host", "localhost", "--port", str(self.port), "--user", user, "--ca-file", str(self.authority))
        return subprocess.Popen(
            [sys.executable, EXAMPLES / program, *to, *arguments],
            env=known,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )

    def ask(self, user: str, robot: str, *, seconds: float = 1.0, password: str | None = None) -> str:
        """What a robot prints of one clip, and of an answer that does not come within so many seconds."""
        options = ("--robot", robot, "--timeout", str(seconds), str(self.clip))
        asked = self.run("mqtt_robot.py", user, *options, password=password)
        return asked.communicate(timeout=120)[0]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    maker = shutil.which("mosquitto_passwd", path="/usr/bin:/usr/local/bin")
    if maker is None:
        pytest.skip("mosquitto_passwd is not installed; on Debian: apt install mosquitto")
    folder = tmp_path_factory.mktemp("site")
    authority, users = trustme.CA(), folder / "passwords"
    issued = authority.issue_cert("localhost")
    authority.cert_pem.write_to_path(folder / "ca.pem")
    issued.private_key_pem.write_to_path(folder / "key.pem")
    issued.cert_chain_pems[0].write_to_path(folder / "cert.pem")
    users.touch(mode=0o600)
    for user, password in PASSWORDS.items():
        subprocess.run([maker, "-b", users, user, password], check=True)
    (folder / "clip.wav").write_bytes(b"RIFF")
    settings = f"""allow_anonymous false
use_username_as_clientid true
user root
password_file {users}
acl_file {EXAMPLES / "mosquitto.acl"}
certfile {folder / "cert.pem"}
keyfile {folder / "key.pem"}
log_dest file {folder / "log"}
log_type all"""
    with broker_with(folder, settings) as port:
        yield Site(port, folder / "ca.pem", folder / "clip.wav", folder / "log")


@pytest.fixture(scope="module")
def bridge(site: Site) -> Iterator[Site]:
    """The site, with a bridge to a gateway that accepts everything."""
    with hostile(says(200, ACCEPTANCE)) as gateway:
        process = site.run("mqtt_bridge.py", BRIDGE, "--url", gateway.url)
        try:
            assert until(lambda: f"Sending SUBACK to {BRIDGE}" in site.log.read_text() or process.poll() is not None)
            assert process.poll() is None
            yield site
        finally:
            process.terminate()
            process.wait(20)


def test_a_robot_that_says_who_it_is_gets_its_decision(bridge: Site) -> None:
    assert bridge.ask("arm-3", "arm-3", seconds=30) == "clip.wav: do left\n"


def test_a_robot_with_a_wrong_password_gets_none(bridge: Site) -> None:
    said = bridge.ask("arm-3", "arm-3", password="of the arn")
    assert "the broker does not let the robot in: Not authorized" in said
    assert "clip.wav: hold: no decision" in said


def test_a_robot_speaks_under_its_own_name_only(bridge: Site) -> None:
    assert "hold: no decision" in bridge.ask("arm-4", "arm-3")
    assert "Denied PUBLISH" in bridge.log.read_text()


def test_a_robot_hears_its_own_decisions_only_and_can_say_none(bridge: Site) -> None:
    """What it hears comes in order, so that its own decision comes after all that it should not have heard."""
    ear = Robot("arm-4")
    heard: list[tuple[str, bool]] = []
    ear.mqtt.on_message = lambda _, __, message: heard.append((message.topic, message.payload == b"forged"))
    ear.mqtt.username_pw_set("arm-4", PASSWORDS["arm-4"])
    ear.mqtt.tls_set(str(bridge.authority))
    ear.mqtt.connect("localhost", bridge.port)
    ear.mqtt.loop_start()
    assert ear.subscribed.wait(PATIENCE)
    for topic in ("#", "evenvoice/+/decision", "evenvoice/arm-3/decision"):
        ear.mqtt.subscribe(topic, qos=1)
    assert bridge.ask("arm-3", "arm-3", seconds=30) == "clip.wav: do left\n"
    for robot in ("arm-3", "arm-4"):
        ear.mqtt.publish(f"evenvoice/{robot}/decision", b"forged", qos=1).wait_for_publish(PATIENCE)
    ear.say(b"RIFF")
    assert until(lambda: heard)
    assert set(heard) == {("evenvoice/arm-4/decision", False)}
    ear.mqtt.disconnect()
    ear.mqtt.loop_stop()


def test_a_broker_that_nobody_vouches_for_is_not_spoken_to(site: Site, tmp_path: Path) -> None:
    other = tmp_path / "other.pem"
    trustme.CA().cert_pem.write_to_path(other)
    said = Site(site.port, other, site.clip, site.log).ask("arm-3", "arm-3")
    assert "certificate verify failed" in said
    assert "do left" not in said
