"""Both gateways replaced by newer ones under load, and back: every command is answered, rightly, and stored once."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest
from balancers import Balancer, ask, url_of
from replicated import Site
from robot import Spoken
from test_swap import other_bundle
from waiting import until

from gateway.client import Client
from gateway.client.answer import Answer, Kind
from gateway.records.tables import REVISION
from recognizer.bundle import version_of

PHASE_SECONDS = 2.0
PAUSE_SECONDS = 0.4
"""Between two commands of one robot."""
EXPANSION = (
    "ALTER TABLE decisions ADD COLUMN language VARCHAR(16)",
    "CREATE TABLE languages (language VARCHAR(16) PRIMARY KEY)",
    f"UPDATE alembic_version SET version_num = '{REVISION}a'",
)
"""What the next evenvoice might do with the database."""


@dataclass
class Load:
    """Robots that ask until they are told to stop, and what they were told."""

    versions: dict[str, str] = field(default_factory=dict)
    """Request id -> the bundle that was named."""
    newest: str = ""
    wrong: list[str] = field(default_factory=list)
    stop: threading.Event = field(default_factory=threading.Event)

    def heard(self, request_id: str, command: str | None, version: str, expected: str) -> None:
        if request_id in self.versions or command != expected:
            self.wrong.append(f"{request_id}: {command}")
        self.versions[request_id] = self.newest = version

    def ask(self, once: Callable[[], None]) -> None:
        while not self.stop.wait(PAUSE_SECONDS):
            once()

    def goes_on(self, seconds: float = PHASE_SECONDS) -> None:
        before = len(self.versions)
        time.sleep(seconds)
        assert len(self.versions) > before
        assert self.wrong == []


@contextmanager
def load_on(balancers: list[Balancer], spoken: Spoken) -> Iterator[Load]:
    """Before each balancer a robot with the client library, and one that sends bare HTTP and never sends again."""
    load = Load()

    def by_client(client: Client) -> Callable[[], None]:
        def once() -> None:
            answer = client.decide(spoken.data, defense="none")
            if answer.kind is not Kind.ANSWERED or answer.response is None:
                load.wrong.append(f"{answer.kind}: {answer.detail}")
            else:
                load.heard(answer.response.request_id, answer.command, answer.response.model.version, spoken.command)

        return once

    def by_http(balancer: Balancer) -> Callable[[], None]:
        def once() -> None:
            try:
                body = ask(
                    balancer,
                    "POST",
                    "/v1/commands",
                    content=spoken.data,
                    headers={"content-type": "audio/wav"},
                    params={"defense": "none"},
                ).json()
                load.heard(body["request_id"], body["command"], body["model"]["version"], spoken.command)
            except (httpx.HTTPError, ValueError, KeyError) as error:
                load.wrong.append(repr(error))

        return once

    clients = [Client(url_of(balancer), tls=balancer.papers.trust, timeout=20) for balancer in balancers]
    with ThreadPoolExecutor(2 * len(balancers)) as pool:
        robots = [*map(by_client, clients), *map(by_http, balancers)]
        tasks: list[Future[None]] = [pool.submit(load.ask, once) for once in robots]
        try:
            yield load
        finally:
            load.stop.set()
        for task in tasks:
            task.result()
    for client in clients:
        client.close()


def drained(site: Site, replica: int, spoken: Spoken) -> None:
    """It says that it is not ready, answers all the same, and closes the connection behind each answer."""
    server = site.replicas[replica]
    site.drain(replica)
    assert until(lambda: server.ask("GET", "/readyz").status_code == 503)
    answer = server.ask(
        "POST",
        "/v1/commands",
        content=spoken.data,
        headers={"content-type": "audio/wav", "idempotency-key": f"while {server.process.pid} drains"},
        params={"defense": "none"},
    )
    assert answer.json()["command"] == spoken.command
    assert answer.headers["connection"] == "close"


@pytest.mark.timeout(900)  # six starts of a gateway and the phases between them
def test_an_upgrade_and_a_roll_back_lose_nothing(site: Site, bundle: Path, spoken: Spoken, tmp_path: Path) -> None:
    newer = other_bundle(bundle, tmp_path / "newer")
    old_version, new_version = version_of(bundle), version_of(newer)
    before = len(site.rows())
    with load_on(list(site.balancers.values()), spoken) as load:
        load.goes_on()
        for replica in range(len(site.replicas)):
            drained(site, replica, spoken)
            if replica == 0:  # the first newer process brings the tables up to date; the older one serves on
                site.run(*EXPANSION)
            site.replace(replica, newer)
            load.goes_on()
        load.newest = new_version
        load.goes_on()
        assert load.newest == new_version
        for replica in range(len(site.replicas)):
            drained(site, replica, spoken)
            site.replace(replica, bundle)
        load.goes_on()
        assert load.newest == old_version
    assert load.wrong == []
    rows = site.rows()
    stored = {row["request_id"]: row["model"] for row in rows}
    assert len(rows) == len(stored) == before + len(load.versions) + 2 * len(site.replicas)  # and those of `drained`
    assert load.versions.items() <= stored.items()
    assert set(load.versions.values()) == {old_version, new_version}
    assert [row["version_num"] for row in site.rows("alembic_version")] == [f"{REVISION}a"]


def test_of_commands_with_a_key_none_is_lost_when_a_gateway_is_killed(site: Site, spoken: Spoken) -> None:
    """The last of this module: one gateway stays dead."""

    def through(balancer: Balancer) -> list[Answer]:
        with Client(url_of(balancer), tls=balancer.papers.trust, timeout=20) as client:
            return [client.decide(spoken.data, defense="none") for _ in range(30)]

    with ThreadPoolExecutor(2) as pool:
        asked = [pool.submit(through, balancer) for balancer in site.balancers.values()]
        before = len(site.rows())
        assert until(lambda: len(site.rows()) > before + 5)
        site.replicas[-1].kill()
        answers = [answer for future in asked for answer in future.result()]
    assert {(answer.kind, answer.detail) for answer in answers} == {(Kind.ANSWERED, "")}
    assert {answer.command for answer in answers} == {spoken.command}
    told = [answer.response.request_id for answer in answers if answer.response is not None]
    stored = [row["request_id"] for row in site.rows()]
    assert [stored.count(request_id) for request_id in told] == [1] * len(answers)
