"""What is PostgreSQL's alone: its URL, its password, what a commit waits for."""

from __future__ import annotations

import logging
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import sqlalchemy as sa
from databases import ACCEPTED, Database, claim_of, entry_of, late, soon, store
from postgres import DATABASE, PASSWORD, Postgres

from gateway.records import Records, RecordsError, migrate
from gateway.records.batch import insert
from gateway.records.draft import Draft
from gateway.records.engine import create_engine, parse_url, writing
from gateway.settings import Sync


@pytest.fixture
def database(server: Postgres) -> Database:
    return Database(server.new_database(), server=server)


def test_a_plain_url_means_pg8000(database: Database) -> None:
    url = database.url.replace("postgresql+pg8000://", "postgresql://")
    migrate(url)
    records = Records(url)
    request_id = store(records)
    assert [row["request_id"] for row in database.rows()] == [request_id]
    records.close()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ((PASSWORD, "wrong"), "password authentication failed"),
        (("postgres:", "nobody:"), "password authentication failed"),
        (("/evenvoice", "/absent"), "does not exist"),
        (("127.0.0.1", "127.0.0.99"), "can't be opened"),
    ],
)
def test_a_database_that_cannot_be_opened_is_named_without_its_password(
    database: Database, change: tuple[str, str], words: str, caplog: pytest.LogCaptureFixture
) -> None:
    url = database.url.replace(*change)
    with caplog.at_level(logging.DEBUG):
        for opening in (migrate, Records):
            with pytest.raises(RecordsError, match=words) as caught:
                opening(url)
            assert "(PostgreSQL)" in str(caught.value)
            for secret in (PASSWORD, "wrong@"):
                assert secret not in str(caught.value) + repr(caught.value.__cause__) + caplog.text


@pytest.mark.parametrize(("sync", "waits"), [(Sync.NORMAL, "off"), (Sync.FULL, "on")])
def test_what_a_commit_waits_for_is_what_the_setting_says(database: Database, sync: Sync, waits: str) -> None:
    """The row says it of itself: a trigger copies the session's setting into it."""
    migrate(database.url)
    database.run(
        "CREATE FUNCTION noted() RETURNS trigger AS "
        "'BEGIN NEW.true_command := current_setting(''synchronous_commit''); RETURN NEW; END' LANGUAGE plpgsql",
        "CREATE TRIGGER noted BEFORE INSERT ON decisions FOR EACH ROW EXECUTE FUNCTION noted()",
    )
    records = Records(database.url, sync=sync)
    store(records)
    records.close()
    assert [row["true_command"] for row in database.rows()] == [waits]


def test_no_file_of_the_password_is_made(database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    migrate(database.url)
    Records(database.url).close()
    assert list(tmp_path.iterdir()) == []


def test_two_gateways_that_store_the_same_keys_at_once_never_wait_each_for_each(
    database: Database, server: Postgres
) -> None:
    """Both have begun when a third, which has a key of the middle, lets go of it; they hold them in other orders."""
    migrate(database.url)
    engines = [create_engine(parse_url(database.url), sync=Sync.NORMAL, wait=30) for _ in range(2)]

    def answered_before(engine: sa.Engine, keys: str) -> int:
        drafts = [Draft(entry_of(), soon(), late, claim_of(key), ACCEPTED) for key in keys]
        with writing(engine) as connection:
            return len(insert(connection, drafts))

    with server.connect(DATABASE) as third, server.connect(DATABASE) as watch, ThreadPoolExecutor(2) as pool:
        third.run("BEGIN")
        third.run("INSERT INTO answers VALUES ('m', 'r', 'd', '{}', now(), 'b', 0)")
        asked = [pool.submit(answered_before, *each) for each in zip(engines, ("amz", "zma"), strict=True)]
        ends = time.monotonic() + 20
        while watch.run("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'") != [[2]]:
            assert time.monotonic() < ends
            time.sleep(0.02)
        third.run("ROLLBACK")
        assert sorted(future.result() for future in asked) == [0, 3]
    assert len(database.rows()) == 3
    for engine in engines:
        engine.dispose()
