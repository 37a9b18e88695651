"""Clients and `evenvoice send` against `evenvoice serve`, a process of its own."""

from __future__ import annotations

import json
import os
import select
import socket
import struct
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hostile import ABSTENTION, ACCEPTANCE, PROBLEM, Robot, hostile, resets, says
from robot import Spoken, rows_of
from test_served import EVENVOICE, Server

from gateway.access.keys import add_key
from gateway.access.routes import Role
from gateway.client import Client, Ended, Heard, Kind


@pytest.fixture(scope="module")
def key_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("client_keys")
    file = folder / "robot.key"
    file.write_text(add_key(folder / "keys.json", role=Role.ROBOT, name="arm", per_minute=5000) + "\n")
    return file


@pytest.fixture(scope="module")
def server(
    bundle: Path, speakers_csv: Path, key_file: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    patient = {"EVENVOICE_DEADLINE_MS": "20000", "EVENVOICE_VALID_FOR_MS": "30000"}
    options = ("--keys", str(key_file.with_name("keys.json")), "--speakers", str(speakers_csv))
    started = Server(tmp_path_factory.mktemp("client_served"), bundle, options, patient)
    try:
        yield started.ready()
    finally:
        started.kill()


@pytest.fixture(scope="module")
def url(server: Server) -> str:
    return f"http://127.0.0.1:{server.port}"


@pytest.fixture
def own(key_file: Path) -> dict[str, object]:
    """A client's settings."""
    return {"key": key_file.read_text().strip(), "timeout": 20.0}


@contextmanager
def losing_the_first_answer(port: int) -> Iterator[str]:
    """A way to the server on which its first answer is lost: it is read to its end, then the connection is reset."""
    listening = socket.create_server(("127.0.0.1", 0))
    lost = threading.Event()

    def carry(client: socket.socket) -> None:
        with client, socket.create_connection(("127.0.0.1", port)) as gateway:
            while True:
                for ready in select.select([client, gateway], [], [])[0]:
                    data = ready.recv(65_536)
                    if not data:
                        return
                    if ready is client:
                        gateway.sendall(data)
                    elif lost.is_set():
                        client.sendall(data)
                    else:
                        lost.set()
                        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                        return

    def accept() -> None:
        try:
            while True:
                client, _ = listening.accept()
                threading.Thread(target=carry, args=(client,), daemon=True).start()
        except OSError:
            return

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
    finally:
        listening.close()
        assert lost.is_set()


def test_a_command_is_decided_and_labelled(
    robot: Robot, server: Server, url: str, own: dict[str, object], spoken: Spoken
) -> None:
    assert robot.call(url, "is_ready", client=own)
    assert spoken.command in robot.call(url, "model", client=own).commands
    answer = robot.decide(url, spoken.path, client=own, defense="none", speaker=spoken.speaker)
    assert answer.command == spoken.command, answer.detail
    assert answer.response is not None
    assert robot.call(url, "label", answer.response.request_id, spoken.command, client=own)
    assert not robot.call(url, "label", answer.response.request_id, spoken.command, client=own)  # once ever
    (row,) = [row for row in rows_of(server.state) if row["request_id"] == answer.response.request_id]
    assert row["true_command"] == spoken.command


def test_samples_are_heard_as_their_file_is(robot: Robot, url: str, own: dict[str, object], spoken: Spoken) -> None:
    samples, rate = spoken.pcm
    answer = robot.decide(url, samples, rate=rate, client=own, defense="none")
    floats = robot.decide(url, samples / 32768, rate=rate, client=own, defense="none")
    assert answer.command == floats.command == spoken.command
    assert answer.response is not None
    assert floats.response is not None
    assert answer.response.confidence == floats.response.confidence


def test_an_answer_that_was_lost_is_had_again_and_counted_once(
    robot: Robot, server: Server, own: dict[str, object], spoken: Spoken
) -> None:
    before = len(rows_of(server.state))
    with losing_the_first_answer(server.port) as url:
        answer = robot.decide(url, spoken.data, client=own, defense="none")
    assert answer.command == spoken.command, answer.detail
    rows = rows_of(server.state)
    assert len(rows) == before + 1
    assert answer.response is not None
    assert answer.response.request_id == rows[-1]["request_id"]
    assert answer.response.valid_for_ms < 30_000  # it is the first answer, and some time has passed


def test_a_wrong_key_is_a_hold(robot: Robot, url: str, spoken: Spoken) -> None:
    answer = robot.decide(url, spoken.data)
    assert (answer.command, answer.kind, answer.status) == (None, Kind.REFUSED, 401)
    (ended,) = Client(url).stream([], rate=16_000)
    assert isinstance(ended, Ended)


def test_a_word_is_heard_in_a_stream_with_a_key(url: str, own: dict[str, object], spoken: Spoken) -> None:
    pause = bytes(16_000)
    with Client(url, **own) as gateway:  # type: ignore[arg-type]
        events = list(gateway.stream([pause, spoken.pcm[0].tobytes(), pause, pause], rate=16_000, defense="none"))
    assert isinstance(events[-1], Ended)
    assert events[-1].totals is not None, events
    assert all(event.answer.response is not None for event in events if isinstance(event, Heard))


def send(*arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
    clean = {k: v for k, v in os.environ.items() if not k.startswith("EVENVOICE_")}
    return subprocess.run(
        [EVENVOICE, "send", *map(str, arguments)],
        env={**clean, **environment, "COLUMNS": "200"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_send_prints_a_decision_a_file(url: str, key_file: Path, spoken: Spoken) -> None:
    ran = send(spoken.path, "--url", url, "--key-file", key_file, "--defense", "none", "--timeout", 20)
    assert ran.returncode == 0, ran.stderr
    (line,) = [line for line in ran.stdout.splitlines() if "accept" in line]
    assert spoken.command in line


def test_send_prints_json_lines_and_labels(server: Server, url: str, key_file: Path, spoken: Spoken) -> None:
    key = key_file.read_text().strip()
    options = ("--url", url, "--json", "--defense", "none", "--label", spoken.command, "--timeout", 20)
    ran = send(spoken.path, spoken.path, *options, EVENVOICE_KEY=key)
    assert ran.returncode == 0, ran.stderr
    rows = [json.loads(line) for line in ran.stdout.splitlines()]
    assert [(row["kind"], row["is_labelled"]) for row in rows] == [("answered", True)] * 2
    labelled = {row["request_id"]: row["true_command"] for row in rows_of(server.state)}
    assert all(labelled[row["response"]["request_id"]] == spoken.command for row in rows)


def test_send_exits_with_2_for_a_file_that_is_no_clip(url: str, key_file: Path, spoken: Spoken, tmp_path: Path) -> None:
    text = tmp_path / "notes.txt"
    text.write_text("no audio")
    for file in (text, tmp_path / "missing.wav"):
        ran = send(spoken.path, file, "--url", url, "--key-file", key_file, "--timeout", 20)
        assert ran.returncode == 2, ran.stdout
        assert "Traceback" not in ran.stderr


@pytest.mark.parametrize(
    ("step", "code"),
    [
        (says(200, ACCEPTANCE), 0),
        (says(200, ABSTENTION), 0),
        (says(200, b"?"), 3),
        (says(401, PROBLEM), 3),
        (says(415, PROBLEM), 2),
        (resets, 3),
    ],
)
def test_sends_exit_code_says_what_came(step: object, code: int, spoken: Spoken) -> None:
    with hostile(step) as server:  # type: ignore[arg-type]
        ran = send(spoken.path, "--url", server.url, "--timeout", 2)
    assert ran.returncode == code, ran.stdout


@pytest.mark.parametrize("status", [200, 500])
def test_what_a_server_says_steers_no_terminal(spoken: Spoken, status: int) -> None:
    with hostile(says(status, ACCEPTANCE | {"command": "left\x1b[2J", "detail": "fine \x1b]0;x\x07"})) as server:
        ran = send(spoken.path, "--url", server.url, "--timeout", 2)
    assert "fine" in ran.stdout
    assert "\x1b" not in ran.stdout


def test_no_answer_outweighs_a_file_that_is_no_clip(spoken: Spoken, tmp_path: Path) -> None:
    with hostile(resets) as server:
        assert send(tmp_path / "missing.wav", spoken.path, "--url", server.url, "--timeout", 1).returncode == 3


def test_a_key_file_that_is_none_is_said_in_one_line(spoken: Spoken, tmp_path: Path) -> None:
    ran = send(spoken.path, "--key-file", tmp_path / "none.key")
    assert ran.returncode == 1
    assert "can't be read" in ran.stderr
    assert "Traceback" not in ran.stderr
