"""Backups as docs/backups.md makes them, taken while decisions are stored, restored and gone on with."""

from __future__ import annotations

import re
import subprocess
import sys
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from databases import Database, claim_of, entry_of, put, store
from postgres import DATABASE, Postgres

from gateway.records import AnsweredBefore, Records, migrate

PAGE = Path(__file__).parents[3] / "docs" / "backups.md"
COPY = "copy"


@contextmanager
def storing(records: Records) -> Iterator[None]:
    """Somebody stores decisions meanwhile."""
    stop = threading.Event()

    def go_on() -> None:
        while not stop.is_set():
            store(records)

    thread = threading.Thread(target=go_on)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def check(copy: Database, before: dict[str, dict[str, object]], key: str, labelled: str) -> None:
    """All that was there when the backup began is in the copy as it was, and a gateway can go on with it."""
    rows = {str(row["request_id"]): row for row in copy.rows()}
    assert {request_id: rows[request_id] for request_id in before} == before
    migrate(copy.url)
    records = Records(copy.url)
    assert isinstance(put(records, entry_of(), claim_of(key)), AnsweredBefore)
    assert store(records) not in rows
    assert records.label(labelled, "left").command == "left"
    records.close()


def filled(database: Database) -> tuple[Records, str, str]:
    """Records with decisions, a stored answer's key, and the id of a decision without a label."""
    migrate(database.url)
    records = Records(database.url)
    key = uuid.uuid4().hex
    put(records, entry_of(), claim_of(key))
    labelled, *_ = (store(records) for _ in range(50))
    return records, key, labelled


def test_a_copy_of_sqlite_made_while_it_is_written_is_whole(
    sqlite: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the page's own lines, which say `state` and `backup`."""
    assert sqlite.file is not None
    (page,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    records, key, labelled = filled(sqlite)
    before = {str(row["request_id"]): row for row in sqlite.rows()}
    copy = tmp_path / "backup" / sqlite.file.name
    copy.parent.mkdir()
    monkeypatch.chdir(sqlite.file.parents[1])
    with storing(records):
        subprocess.run([sys.executable, "-c", page], check=True)
    records.close()
    check(Database(f"sqlite:///{copy}", file=copy), before, key, labelled)


def test_a_dump_of_postgresql_made_while_it_is_written_is_whole(server: Postgres, tmp_path: Path) -> None:
    database = Database(server.new_database(), server=server)
    records, key, labelled = filled(database)
    before = {str(row["request_id"]): row for row in database.rows()}
    source = database.url.replace("postgresql+pg8000", "postgresql")
    target, dump = source.replace(f"/{DATABASE}", f"/{COPY}"), tmp_path / "backup.dump"
    with storing(records):
        run(server, "pg_dump", "--format=custom", f"--file={dump}", source)
    records.close()
    with server.connect("postgres") as connection:
        connection.run(f"DROP DATABASE IF EXISTS {COPY}")
        connection.run(f"CREATE DATABASE {COPY}")
    run(server, "pg_restore", "--exit-on-error", "--no-owner", f"--dbname={target}", str(dump))
    check(Database(database.url.replace(f"/{DATABASE}", f"/{COPY}"), server=server), before, key, labelled)


def run(server: Postgres, program: str, *arguments: str) -> None:
    found = (server.programs / "initdb").resolve().parent / program
    done = subprocess.run([found, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
