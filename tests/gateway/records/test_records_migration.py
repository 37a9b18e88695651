"""How a database comes to be, and what becomes of an older one."""

from __future__ import annotations

import sqlite3
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from databases import Database, claim_of, entry_of, put, store
from postgres import PASSWORD

import gateway.records
from gateway.records import Records, RecordsError, Stored, migrate
from gateway.records.tables import METADATA, REVISION

BEFORE_MIGRATIONS = """
CREATE TABLE decisions (
    request_id VARCHAR(36) NOT NULL, received_at {time} NOT NULL, outcome VARCHAR(16) NOT NULL,
    reason VARCHAR(24) NOT NULL, command VARCHAR(64), defense VARCHAR(128) NOT NULL, confidence FLOAT, p_value FLOAT,
    draws INTEGER, seed BIGINT NOT NULL, replay JSON, speaker VARCHAR(64), groups JSON NOT NULL,
    model VARCHAR(80) NOT NULL, true_command VARCHAR(64), labelled_at {time}, PRIMARY KEY (request_id)
);
CREATE INDEX ix_decisions_speaker ON decisions (speaker);
CREATE INDEX ix_decisions_received_at ON decisions (received_at);
INSERT INTO decisions (request_id, received_at, outcome, reason, command, defense, confidence, seed, speaker, groups, model)
VALUES ('5c8f8f0e', '2026-01-02 03:04:05.678900', 'accepted', 'ok', 'left', 'none', 0.75, 7, 'a1', '{{"accent": "north"}}',
        'sha256:00')
"""  # noqa: E501 -- what an evenvoice without migrations made


def make_old(database: Database) -> None:
    if database.file is not None:
        database.file.parent.mkdir()
    kind = "DATETIME" if database.is_sqlite else "TIMESTAMP WITH TIME ZONE"
    database.run(*BEFORE_MIGRATIONS.format(time=kind).split(";"))


def test_a_new_database_gets_its_tables_and_migrating_again_changes_nothing(database: Database) -> None:
    migrate(database.url)
    records = Records(database.url)
    request_id = store(records)
    records.close()
    migrate(database.url)
    assert [row["request_id"] for row in database.rows()] == [request_id]
    assert database.rows("alembic_version") == [{"version_num": REVISION}]


def test_the_rows_of_an_evenvoice_without_migrations_stay(database: Database) -> None:
    make_old(database)
    (before,) = database.rows()
    migrate(database.url)
    (after,) = database.rows()
    new = ("parts", "clip_type", "is_pending", "is_label_pending")
    assert after == {**before, **dict.fromkeys(new)}
    records = Records(database.url)
    assert records.label("5c8f8f0e", "left").groups == {"accent": "north"}
    assert isinstance(put(records, entry_of(), claim_of("key")), Stored)
    records.close()


@pytest.mark.parametrize("begin", [lambda _: None, make_old], ids=["new", "old"])
def test_the_migrations_end_in_the_tables_that_the_code_uses(database: Database, begin: object) -> None:
    assert callable(begin)
    begin(database)
    migrate(database.url)
    engine = sa.create_engine(database.url)
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True, "compare_server_default": True})
        assert compare_metadata(context, METADATA) == []
    engine.dispose()


def test_the_newest_migration_is_the_one_that_the_code_opens() -> None:
    config = Config()
    config.set_main_option("script_location", str(Path(gateway.records.__file__).parent / "migrations"))
    assert ScriptDirectory.from_config(config).get_current_head() == REVISION


def test_a_database_that_nothing_has_migrated_is_refused(database: Database) -> None:
    if database.is_sqlite:
        with pytest.raises(RecordsError, match=r"there are no records at .*records\.sqlite3; `evenvoice serve`"):
            Records(database.url)
    make_old(database)
    with pytest.raises(RecordsError, match="are not begun yet; `evenvoice records migrate`"):
        Records(database.url)


@pytest.mark.parametrize(
    ("revision", "words"),
    [("0001", "of an older evenvoice .revision 0001, not"), ("0999", "of a newer evenvoice .revision 0999, this one")],
)
def test_another_revision_is_refused_in_one_line(database: Database, revision: str, words: str) -> None:
    migrate(database.url)
    database.run(f"UPDATE alembic_version SET version_num = '{revision}'")
    with pytest.raises(RecordsError, match=words) as caught:
        Records(database.url)
    assert "\n" not in str(caught.value)


def test_a_newer_database_is_not_migrated(database: Database) -> None:
    migrate(database.url)
    database.run("UPDATE alembic_version SET version_num = '0999'")
    with pytest.raises(RecordsError, match="of a newer evenvoice"):
        migrate(database.url)
    assert database.rows("alembic_version") == [{"version_num": "0999"}]


def test_records_that_lack_a_column_are_refused_and_left_as_they_are(database: Database) -> None:
    make_old(database)
    database.run("ALTER TABLE decisions DROP COLUMN replay")
    before = database.rows()
    with pytest.raises(RecordsError, match="they have no replay; put the file aside"):
        migrate(database.url)
    assert database.rows() == before


def test_a_migration_that_fails_leaves_nothing_behind(database: Database) -> None:
    make_old(database)
    database.run("CREATE TABLE speakers (name VARCHAR(10))")  # of somebody else: the last step can't be done
    before = database.rows()
    with pytest.raises(RecordsError, match="speakers"):
        migrate(database.url)
    assert database.rows() == before
    with pytest.raises(Exception, match="answers"):
        database.rows("answers")


def _migrate_and_store(url: str) -> str:
    migrate(url)
    records = Records(url, busy_seconds=20)
    request_id = store(records)
    records.close()
    return request_id


def test_gateways_that_start_at_once_on_an_empty_database_all_open_it(database: Database) -> None:
    with ProcessPoolExecutor(4, mp_context=get_context("spawn")) as pool:
        list(pool.map(abs, range(8)))  # all of them have started
        stored = set(pool.map(_migrate_and_store, [database.url] * 8))
    assert {row["request_id"] for row in database.rows()} == stored
    assert len(stored) == 8


def test_the_write_ahead_log_is_on(sqlite: Database) -> None:
    migrate(sqlite.url)
    assert sqlite.file is not None
    with sqlite3.connect(sqlite.file) as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)


def test_a_database_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RecordsError, match=r"file/records\.sqlite3 can't be opened"):
        migrate(f"sqlite:///{tmp_path / 'file' / 'records.sqlite3'}")


def test_a_file_that_is_no_database_is_named(tmp_path: Path) -> None:
    path = tmp_path / "records.sqlite3"
    path.write_bytes(b"no database at all" * 1000)
    for opening in (migrate, Records):
        with pytest.raises(RecordsError, match=r"records\.sqlite3 can't be opened: file is not a database"):
            opening(f"sqlite:///{path}")


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("", "can't be read; accepted are"), (f"postgresql:/{PASSWORD}", "can't be read"),
        (f"postgresql://u:{PASSWORD}@h:port/n", "can't be read"),
        (f"mysql://u:{PASSWORD}@h/n", "can't be kept in mysql"), ("sqlite://", "in memory"),
        ("sqlite:///:memory:", "in memory"), (f"oracle://u:{PASSWORD}@h/n", "can't be kept in oracle"),
    ],
)  # fmt: skip
def test_a_url_that_cannot_be_used_is_refused_and_not_repeated(url: str, words: str) -> None:
    for opening in (migrate, Records):
        with pytest.raises(RecordsError, match=words) as caught:
            opening(url)
        assert PASSWORD not in str(caught.value)
