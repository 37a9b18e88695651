"""A served gateway whose worker is killed, and whose bundle is replaced, while robots keep asking."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import httpx
import psutil
import pytest
from robot import Door, Spoken, rows_of, total
from test_served import Server
from test_swap import other_bundle, point
from waiting import until

from gateway import gateway as module
from recognizer.bundle import version_of


@dataclass
class Robots:
    """Several at once, until they are told to stop; each answer is kept."""

    server: Server
    spoken: Spoken
    query: dict[str, str]
    answers: list[httpx.Response] = field(default_factory=list)
    lost: int = 0
    stop: threading.Event = field(default_factory=threading.Event)

    def ask(self) -> None:
        while not self.stop.is_set():
            try:
                self.answers.append(self.server.decide(self.spoken.data, **self.query))
            except httpx.HTTPError:
                self.lost += 1

    def accepted(self) -> dict[str, str]:
        """Request id -> the version of the bundle."""
        bodies = [answer.json() for answer in self.answers if answer.status_code == 200]
        return {body["request_id"]: body["model"]["version"] for body in bodies}


@contextmanager
def asking(server: Server, spoken: Spoken, *, speaker: str | None, robots: int = 3) -> Iterator[Robots]:
    found = Robots(server, spoken, {"defense": "none"} | ({} if speaker is None else {"speaker": speaker}))
    with ThreadPoolExecutor(robots) as pool:
        tasks: list[Future[None]] = [pool.submit(found.ask) for _ in range(robots)]
        try:
            yield found
        finally:
            found.stop.set()
        for task in tasks:
            task.result()


ENVIRONMENT = {
    "EVENVOICE_DEADLINE_MS": "20000",
    "EVENVOICE_VALID_FOR_MS": "30000",
    "EVENVOICE_BUNDLE_POLL_SECONDS": "0.2",
    "EVENVOICE_RELEASE_COMMANDS": "1",
    "EVENVOICE_RELEASE_SPEAKERS": "1",
    "EVENVOICE_LEDGER_SECONDS": "0.2",
    "EVENVOICE_LEDGER_GRACE_SECONDS": "0",
}


@pytest.fixture
def folder(bundle: Path, tmp_path: Path) -> Path:
    """A symbolic link to the bundle."""
    link = tmp_path / "served"
    link.symlink_to(bundle)
    return link


@pytest.fixture
def server(folder: Path, speakers_csv: Path, tmp_path: Path) -> Iterator[Server]:
    started = Server(
        tmp_path / "home", folder, ("--workers", "2", "--speakers", str(speakers_csv)), environment=ENVIRONMENT
    )
    try:
        yield started.ready()
    finally:
        started.kill()


def workers(server: Server) -> list[psutil.Process]:
    return [p for p in psutil.Process(server.process.pid).children(recursive=True) if p.num_threads() > 3]


def test_a_killed_worker_takes_no_answered_decision_with_it_and_another_comes(server: Server, spoken: Spoken) -> None:
    with asking(server, spoken, speaker=spoken.speaker) as robots:
        assert until(lambda: len(robots.answers) > 20)
        before = workers(server)
        assert len(before) == 2
        for worker in before:  # one after the other: the first's successor may not be there yet
            heard = len(robots.answers)
            worker.kill()
            assert until(lambda heard=heard: len(robots.answers) > heard + 20, 60)  # type: ignore[misc]
    assert {answer.status_code for answer in robots.answers} == {200}
    stored = {row["request_id"] for row in rows_of(server.state)}
    answered = set(robots.accepted())
    assert answered <= stored
    assert len(stored - answered) <= robots.lost
    assert robots.lost <= 3 * 2
    counted = total(server.samples, "evenvoice_commands_total")
    assert len(answered) - robots.lost <= counted <= len(stored)
    name = "evenvoice_group_commands_total"
    samples = server.counted(name, len(stored), attribute="accent")
    assert total(samples, name, attribute="accent") == len(stored)  # whoever was killed, each is counted once


def test_a_bundle_that_is_replaced_under_load_loses_nothing_and_a_bad_one_changes_nothing(
    server: Server, folder: Path, bundle: Path, spoken: Spoken
) -> None:
    other = other_bundle(bundle, folder.parent / "other")
    bad = other_bundle(bundle, folder.parent / "bad")
    (bad / "bundle.json").write_text("{}")
    with asking(server, spoken, speaker=spoken.speaker) as robots:
        assert until(lambda: len(robots.answers) > 20)
        point(folder, other)
        assert until(lambda: server.said.count("serving the bundle") == 2, 60)  # each worker says so
        heard = len(robots.answers)
        point(folder, bad)
        assert until(lambda: server.said.count("the new bundle is refused") == 2, 60)
        time.sleep(0.5)
    assert robots.lost == 0
    assert {answer.status_code for answer in robots.answers} == {200}
    assert set(robots.accepted().values()) == {version_of(bundle), version_of(other)}
    late = [answer.json()["model"]["version"] for answer in robots.answers[heard + 3 :]]
    assert set(late) == {version_of(other)}
    assert {row["request_id"]: row["model"] for row in rows_of(server.state)} == robots.accepted()
    for version in (version_of(bundle), version_of(other)):
        short = version.removeprefix("sha256:")[:12]
        name, labels = "evenvoice_group_commands_total", {"attribute": "accent", "model": short}
        answered = sum(model == version for model in robots.accepted().values())
        assert total(server.counted(name, answered, **labels), name, **labels) == answered


def test_a_clock_that_jumps_changes_nothing_but_the_time_that_is_told(
    door: Door, spoken: Spoken, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Jumping(datetime):
        @classmethod
        def now(cls, _: object = None) -> datetime:  # type: ignore[override]
            return datetime(1999, 1, 1, tzinfo=UTC)

    header = {"content-type": "audio/wav", "idempotency-key": "k"}
    query = {"defense": "none", "speaker": spoken.speaker}
    first = door.ask("POST", "/v1/commands", content=spoken.data, headers=header, params=query).json()
    monkeypatch.setattr(module, "datetime", Jumping)
    monkeypatch.setattr(time, "time", lambda: 0.0)
    again = door.ask("POST", "/v1/commands", content=spoken.data, headers=header, params=query).json()
    other = door.decide(spoken.data, **query).json()
    assert again["request_id"] == first["request_id"]
    assert first["decision"] == again["decision"] == other["decision"] == "accept"
    assert 0 < again["valid_for_ms"] < first["valid_for_ms"]
    assert other["valid_for_ms"] == first["valid_for_ms"]
    assert other["received_at"].startswith("1999-01-01")
    assert door.label(other["request_id"], spoken.command).json()["result"] == "correct"
