"""A real server: `evenvoice serve` as a process of its own, asked over HTTP."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import numpy as np
import psutil
import pytest
from robot import Samples, Spoken, assert_problem, encoded, rows_of, samples_of, total

EVENVOICE = Path(sys.executable).with_name("evenvoice")
START_SECONDS = 180
SILENCE = encoded(np.zeros(8000))


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass
class Server:
    """`evenvoice serve`, started in a folder that also holds a package named `gateway`, which is not ours."""

    home: Path
    bundle: Path
    options: tuple[str, ...] = ()
    environment: dict[str, str] = field(default_factory=dict)
    port: int = 0
    """0: any that is free."""

    def __post_init__(self) -> None:
        trap = self.home / "gateway"
        trap.mkdir(parents=True, exist_ok=True)
        (trap / "__init__.py").write_text("raise SystemExit('the wrong gateway was imported')\n")
        self.state = self.home / "state"
        self.port = self.port or free_port()
        self.log = self.home / f"{self.port}.log"
        inherited = {k: v for k, v in os.environ.items() if not k.startswith(("EVENVOICE_", "BENTOML", "PROMETHEUS"))}
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                [
                    EVENVOICE,
                    "serve",
                    "--bundle",
                    self.bundle,
                    "--port",
                    str(self.port),
                    "--state",
                    self.state,
                    *self.options,
                ],
                cwd=self.home,
                env={**inherited, "HOME": str(self.home), "OMP_NUM_THREADS": "1", **self.environment},
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    @property
    def said(self) -> str:
        return self.log.read_text()

    def ready(self) -> Server:
        ends = time.monotonic() + START_SECONDS
        while time.monotonic() < ends:
            assert self.process.poll() is None, self.said
            try:
                if self.ask("GET", "/readyz", timeout=1.0).status_code == 200:
                    return self
            except httpx.HTTPError:
                time.sleep(0.1)
        raise AssertionError(self.said)

    def ask(self, method: str, path: str, *, timeout: float = 20.0, **options: object) -> httpx.Response:
        url = f"http://127.0.0.1:{self.port}{path}"
        return httpx.request(method, url, timeout=timeout, **options)  # type: ignore[arg-type]

    def decide(self, clip: bytes, **query: str) -> httpx.Response:
        return self.ask("POST", "/v1/commands", content=clip, headers={"content-type": "audio/wav"}, params=query)

    def label(self, request_id: str, command: str) -> httpx.Response:
        return self.ask("POST", f"/v1/commands/{request_id}/label", json={"command": command})

    @property
    def samples(self) -> Samples:
        answer = self.ask("GET", "/metrics")
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith("text/plain")
        return samples_of(answer.text)

    def counted(self, name: str, value: float, seconds: float = 20.0, **labels: str) -> Samples:
        """A scrape, once the ledger has counted so much."""
        ends = time.monotonic() + seconds
        while total(found := self.samples, name, **labels) < value and time.monotonic() < ends:
            time.sleep(0.05)
        return found

    def ended(self, seconds: float) -> int:
        """The exit code, once it has ended by itself."""
        return self.process.wait(seconds)

    def kill(self) -> None:
        """End every process of this server at once, as a power cut would; workers are in sessions of their own."""
        family = [process for process in psutil.process_iter() if self._is_ours(process)]
        for process in family:
            process.kill()
        psutil.wait_procs(family, timeout=10)
        self.process.wait(10)

    def _is_ours(self, process: psutil.Process) -> bool:
        try:
            return process.environ().get("EVENVOICE_STATE") == str(self.state)
        except psutil.Error:
            return False


@pytest.fixture(scope="module")
def server(bundle: Path, speakers_csv: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Two worker processes; every group is released at once, so that sums can be compared."""
    environment = {
        "EVENVOICE_RELEASE_COMMANDS": "1",
        "EVENVOICE_RELEASE_SPEAKERS": "1",
        "EVENVOICE_LEDGER_SECONDS": "0.2",
        "EVENVOICE_LEDGER_GRACE_SECONDS": "0",
        "EVENVOICE_DEADLINE_MS": "20000",
        "EVENVOICE_VALID_FOR_MS": "30000",
    }
    options = ("--workers", "2", "--speakers", str(speakers_csv))
    started = Server(tmp_path_factory.mktemp("served"), bundle, options, environment)
    try:
        yield started.ready()
    finally:
        started.kill()


def test_it_is_alive_ready_and_documented(server: Server) -> None:
    assert server.ask("GET", "/livez").status_code == 200
    assert server.ask("GET", "/readyz").status_code == 200
    document = server.ask("GET", "/openapi.json").json()
    assert document["openapi"].startswith("3.1")
    assert "/v1/commands" in document["paths"]


def test_the_documentation_and_all_it_loads_comes_from_the_server(server: Server) -> None:
    page = server.ask("GET", "/docs")
    assert page.status_code == 200
    assert "http://" not in page.text
    assert "https://" not in page.text
    parts = [word.split('"')[1] for word in page.text.split() if word.startswith(("src=", "href="))]
    assert len(parts) >= 3
    for part in parts:
        assert part.startswith("/")
        assert server.ask("GET", part).status_code == 200, part


def test_two_workers_count_as_one_gateway(server: Server, spoken: Spoken, speakers_csv: Path) -> None:
    before = server.samples
    speakers = [line.split(",")[0] for line in speakers_csv.read_text().splitlines()[1:]]

    def one(i: int) -> dict[str, str]:
        clip = SILENCE if i % 4 == 0 else spoken.data
        return server.decide(clip, speaker=speakers[i % len(speakers)], defense="none").json()

    with ThreadPoolExecutor(6) as pool:
        bodies = list(pool.map(one, range(48)))
    reasons = {body["reason"] for body in bodies}
    assert reasons == {"ok", "no_speech"}
    name = "evenvoice_group_commands_total"
    server.counted(name, total(before, name, attribute="accent") + 48, attribute="accent")
    for _ in range(3):  # whichever worker answers
        after = server.samples
        for reason in reasons:
            new = [total(s, "evenvoice_commands_total", reason=reason) for s in (before, after)]
            assert new[1] - new[0] == sum(body["reason"] == reason for body in bodies)
        for attribute in spoken.groups:
            new = [total(s, "evenvoice_group_commands_total", attribute=attribute) for s in (before, after)]
            assert new[1] - new[0] == 48
        new = [total(s, "evenvoice_decision_seconds_count") for s in (before, after)]
        assert new[1] - new[0] == 48
        assert {v for (name, _), v in after.items() if name == "evenvoice_model_info"} == {1.0}
    own_groups = {"attribute": "accent", "group": spoken.groups["accent"]}
    assert total(after, "evenvoice_group_commands_total", **own_groups) > 0


def test_of_many_labels_of_one_decision_one_is_counted(server: Server, spoken: Spoken) -> None:
    decided = server.decide(spoken.data, defense="none", speaker=spoken.speaker).json()
    before = total(server.samples, "evenvoice_group_labelled_total", attribute="accent")
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: server.label(decided["request_id"], spoken.command), range(8)))
    assert sorted(answer.status_code for answer in answers) == [200] + [409] * 7
    for answer in answers:
        if answer.status_code == 409:
            assert_problem(answer, 409)
    name = "evenvoice_group_labelled_total"
    assert total(server.counted(name, before + 1, attribute="accent"), name, attribute="accent") == before + 1
    time.sleep(0.5)  # of two passes more
    assert total(server.samples, name, attribute="accent") == before + 1


def test_problems_come_through_the_server_as_they_are(server: Server, spoken: Spoken) -> None:
    assert_problem(server.decide(b"no audio"), 415)
    assert_problem(server.decide(spoken.data, speaker="nobody"), 422)
    assert_problem(server.ask("GET", "/v1/commands"), 405)
    assert_problem(server.ask("POST", "/v1/commands/not-an-id/label", json={"command": "unknown"}), 422)
    assert_problem(server.ask("GET", "/nowhere"), 404)  # answered by BentoML's router
    started = time.monotonic()
    assert_problem(server.decide(bytes(2 << 20)), 413)
    chunks = {"content": iter([bytes(100_000)] * 50), "headers": {"content-type": "audio/wav"}}
    assert_problem(server.ask("POST", "/v1/commands", **chunks), 413)
    assert time.monotonic() - started < 5


def test_paths_that_are_not_there_add_no_series(server: Server) -> None:
    before = set(server.samples)
    for path in ("/a", "/b", "/v1/commands/x"):
        server.ask("GET", path)
    assert set(server.samples) == before


def test_a_second_server_on_the_same_state_is_refused_and_the_first_keeps_its_metrics(
    server: Server, spoken: Spoken
) -> None:
    server.decide(spoken.data, defense="none")
    before = total(server.samples, "evenvoice_commands_total")
    assert before > 0
    second = Server(server.home, server.bundle)
    assert second.ended(20) == 1
    assert second.said.strip().splitlines() == [
        f"evenvoice: another gateway uses {server.state}; give this one another --state"
    ]
    assert total(server.samples, "evenvoice_commands_total") == before
    server.decide(spoken.data, defense="none")
    assert total(server.samples, "evenvoice_commands_total") == before + 1


def test_what_cannot_be_served_ends_the_start_with_one_line(bundle: Path, tmp_path: Path) -> None:
    damaged = Path(shutil.copytree(bundle, tmp_path / "damaged"))
    weights = damaged / "clean.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1])
    register = tmp_path / "speakers.csv"
    register.write_text("speaker,accent\na,north\na,south\n")
    servers = {
        "is damaged": Server(tmp_path / "a", damaged),
        "line 3: the speaker 'a' is empty or there twice": Server(
            tmp_path / "b", bundle, ("--speakers", str(register))
        ),
        "evenvoice: EVENVOICE_DEADLINE_MS: Input should be": Server(
            tmp_path / "c", bundle, environment={"EVENVOICE_DEADLINE_MS": "soon"}
        ),
    }
    try:
        for words, server in servers.items():
            assert server.ended(45) == 1, server.said
            assert words in server.said
            assert "Traceback" not in server.said
            assert server.said.strip().splitlines()[-1].startswith("evenvoice: ")
    finally:
        for server in servers.values():
            server.kill()


def test_answered_decisions_survive_a_kill_and_a_restart_stops_cleanly(
    bundle: Path, spoken: Spoken, tmp_path: Path
) -> None:
    first = Server(tmp_path, bundle)
    answered: dict[str, str | None] = {}

    def ask_until_it_dies(_: int) -> None:
        while True:
            try:
                body = first.decide(spoken.data, defense="none").json()
            except httpx.HTTPError:
                return
            answered[body["request_id"]] = body["command"]

    try:
        first.ready()
        with ThreadPoolExecutor(4) as pool:
            dying = pool.map(ask_until_it_dies, range(4))
            while len(answered) < 40:
                time.sleep(0.01)
            first.kill()
            list(dying)
    finally:
        first.kill()
    stored = {row["request_id"]: row["command"] for row in rows_of(tmp_path / "state")}
    assert answered.items() <= stored.items()
    assert len(stored) <= len(answered) + 4  # those stored and cut off before their answer

    again = Server(tmp_path, bundle)  # the lock ended with the processes that held it
    try:
        again.ready()
        assert again.label(next(iter(answered)), spoken.command).json()["result"] == "correct"
        assert total(again.samples, "evenvoice_commands_total") == 0
        again.process.send_signal(signal.SIGTERM)
        assert again.ended(20) == 0, again.said
        assert "Traceback" not in again.said
        with pytest.raises(httpx.ConnectError):
            again.ask("GET", "/livez")
    finally:
        again.kill()
    assert len(rows_of(tmp_path / "state")) == len(stored)
