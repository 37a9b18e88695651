"""A served gateway on both databases: what was answered is stored, whatever is killed; the rest is not answered."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from databases import Database
from robot import Spoken, assert_problem
from test_faults import asking
from test_served import Server
from waiting import until

ENVIRONMENT = {"EVENVOICE_DEADLINE_MS": "5000", "EVENVOICE_VALID_FOR_MS": "10000"}


@pytest.fixture
def serve(bundle: Path, tmp_path: Path) -> Iterator[Callable[[Database], Server]]:
    started: list[Server] = []

    def start(database: Database) -> Server:
        secrets = tmp_path / "secrets"
        secrets.mkdir(exist_ok=True)
        (secrets / "evenvoice_records").write_text(database.url)  # a password is no argument and no variable
        (secrets / "evenvoice_records").chmod(0o600)
        environment = {**ENVIRONMENT, "EVENVOICE_SECRETS_DIR": str(secrets)}
        if database.file is not None:
            database.file.parent.mkdir(exist_ok=True)
        started.append(Server(tmp_path / "home", bundle, environment=environment))
        return started[-1].ready()

    yield start
    for server in started:
        server.kill()


def test_answered_decisions_survive_a_kill_of_the_whole_gateway(
    serve: Callable[[Database], Server], database: Database, spoken: Spoken
) -> None:
    first = serve(database)
    with asking(first, spoken, speaker=None) as robots:
        assert until(lambda: len(robots.answers) > 40, 60)
        first.kill()
    answered = robots.accepted()
    stored = {row["request_id"]: row["model"] for row in database.rows()}
    assert len(answered) > 40
    assert answered.items() <= stored.items()
    assert len(stored) <= len(answered) + 3  # stored, and cut off before their answer
    again = serve(database)
    assert again.label(next(iter(answered)), spoken.command).json()["result"] == "correct"
    assert len(database.rows()) == len(stored)


def test_while_the_database_is_locked_nothing_is_accepted_and_afterwards_everything_works(
    serve: Callable[[Database], Server], database: Database, spoken: Spoken
) -> None:
    server = serve(database)
    assert server.decide(spoken.data, defense="none").json()["decision"] == "accept"
    with database.locked():
        assert_problem(server.decide(spoken.data, defense="none"), 503)
    assert until(lambda: server.decide(spoken.data, defense="none").status_code == 200)
    assert all(row["outcome"] in ("accepted", "service") for row in database.rows())


def test_a_database_that_goes_and_comes_back_is_used_again(
    serve: Callable[[Database], Server], database: Database, spoken: Spoken
) -> None:
    if database.server is None:
        pytest.skip("SQLite is a file, which does not go away")
    server = serve(database)
    with asking(server, spoken, speaker=None) as robots:
        assert until(lambda: len(robots.answers) > 10, 60)
        database.server.stop("immediate")
        seen = len(robots.answers)
        assert until(lambda: any(answer.status_code == 503 for answer in robots.answers[seen:]), 60)
        database.server.start()
        seen = len(robots.answers)
        assert until(lambda: any(answer.status_code == 200 for answer in robots.answers[seen:]), 60)
    assert {answer.status_code for answer in robots.answers} == {200, 503}
    for answer in robots.answers:
        if answer.status_code == 503:
            assert_problem(answer, 503)
