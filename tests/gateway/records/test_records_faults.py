"""Killed, locked, gone, frozen, full: nothing that was answered is lost, and nobody waits for ever."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import sqlalchemy as sa
from databases import ACCEPTED, Database, claim_of, entry_of, late, put, soon, store
from postgres import Postgres

from gateway.records import Records, RecordsError, Stored, migrate
from gateway.settings import Sync

ADDER = Path(__file__).with_name("adder.py")
BUSY = 1.0
"""Seconds"""


def run_until_killed(url: str, seconds: float) -> set[str]:
    """The ids that a child process told of before SIGKILL met it in the middle of its work."""
    folders = (str(ADDER.parent), str(Path(__file__).parents[3]))
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(folders)}
    command = [sys.executable, str(ADDER), url]
    child = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert child.stdout is not None
    first = child.stdout.readline()  # it has begun
    time.sleep(seconds)
    child.kill()
    rest, errors = child.communicate()
    assert child.returncode == -signal.SIGKILL, errors.decode()
    return set((first + rest).decode().split())


def test_what_was_told_survives_kill_9_and_no_row_is_half(database: Database) -> None:
    migrate(database.url)
    moments = random.Random(5)
    told: set[str] = set()
    for _ in range(5):
        told |= run_until_killed(database.url, moments.uniform(0.05, 0.6))
    assert len(told) >= 50
    stored = {row["request_id"] for row in database.rows()}
    assert told <= stored
    assert {row["request_id"] for row in database.rows("answers")} == stored  # both of a transaction, or neither
    records = Records(database.url)
    assert all(records.label(request_id, "left").command == "left" for request_id in list(told)[:20])
    store(records)
    records.close()


def fails_in_time(records: Records) -> str:
    begun = time.perf_counter()
    futures = [records.add(entry_of(), until=soon(), late=late) for _ in range(20)]
    time.sleep(BUSY / 4)
    futures += [records.add(entry_of(), until=soon(), late=late) for _ in range(5)]  # behind those that wait already
    errors = [future.exception(timeout=30) for future in futures]
    assert all(isinstance(error, RecordsError) for error in errors), errors
    assert time.perf_counter() - begun < 1.25 * BUSY + 0.5  # the last five began a quarter later
    return " ".join({str(error) for error in errors})


def test_a_database_that_stays_locked_is_an_error_in_time_and_then_all_is_well(
    open_records: Callable[..., Records], database: Database
) -> None:
    records = open_records(busy_seconds=BUSY)
    request_id = store(records)
    with database.locked():
        words = fails_in_time(records)
        assert "locked" in words or "statement timeout" in words
        with pytest.raises(RecordsError, match=r"locked|statement timeout"):
            records.label(request_id, "left")
    assert [row["request_id"] for row in database.rows()] == [request_id]
    store(records)
    records.label(request_id, "left")
    assert len(database.rows()) == 2


@pytest.fixture
def on_server(server: Postgres) -> Database:
    database = Database(server.new_database(), server=server)
    migrate(database.url)
    return database


def test_a_postgresql_that_is_stopped_and_started_again_costs_what_was_under_way_and_no_more(
    server: Postgres, on_server: Database
) -> None:
    records = Records(on_server.url, busy_seconds=BUSY)
    register = records.register()
    before = store(records)
    register.enrol("a1", {"accent": "north"}, {"accent": ("north",)})
    server.stop()
    try:
        fails_in_time(records)
        with pytest.raises(RecordsError):
            records.earlier("key")
        with pytest.raises(RecordsError):
            register.groups("a1", {"accent": ("north",)})
    finally:
        server.start()
    after = store(records)
    assert register.groups("a1", {"accent": ("north",)}) == {"accent": "north"}
    assert {row["request_id"] for row in on_server.rows()} == {before, after}
    records.close()


def test_a_postgresql_that_was_started_again_unnoticed_costs_nothing(server: Postgres, on_server: Database) -> None:
    records = Records(on_server.url, busy_seconds=5 * BUSY)
    store(records)
    server.stop()
    server.start()
    store(records)
    assert len(on_server.rows()) == 2
    records.close()


def test_a_postgresql_under_load_that_is_stopped_keeps_all_that_was_told_with_full_sync(
    server: Postgres, on_server: Database
) -> None:
    records = Records(on_server.url, sync=Sync.FULL, busy_seconds=BUSY)
    entries = [entry_of() for _ in range(400)]
    futures = [records.add(entry, until=soon(), late=late) for entry in entries[:200]]
    futures[0].result(timeout=30)
    server.stop("immediate")
    futures += [records.add(entry, until=soon(), late=late) for entry in entries[200:]]
    told = {e.request_id for e, f in zip(entries, futures, strict=True) if f.exception(timeout=30) is None}
    server.start()
    assert 0 < len(told) < 400
    assert told <= {row["request_id"] for row in on_server.rows()}
    store(records)
    records.close()


def test_a_postgresql_that_has_frozen_keeps_nobody_waiting(server: Postgres, on_server: Database) -> None:
    records = Records(on_server.url, busy_seconds=BUSY)
    store(records)
    with server.connect("postgres") as other:
        name = on_server.url.rpartition("/")[2]
        backends = [pid for (pid,) in other.run("SELECT pid FROM pg_stat_activity WHERE datname = :name", name=name)]
    assert backends
    for pid in backends:
        os.kill(pid, signal.SIGSTOP)
    try:
        future = records.add(entry_of(), until=soon(), late=late)
        begun = time.perf_counter()
        assert isinstance(future.exception(timeout=30), RecordsError)
        assert time.perf_counter() - begun < BUSY + 0.5
        store(records)  # on a connection of its own
    finally:
        for pid in backends:
            os.kill(pid, signal.SIGCONT)
    records.close()


@contextmanager
def at_most(pages: int) -> Iterator[None]:
    """Every SQLite connection that is made may fill so many pages: SQLITE_FULL, as of a full disk."""

    def limit(connection: object, _: object) -> None:
        connection.execute(f"PRAGMA max_page_count={pages}")  # type: ignore[attr-defined]

    sa.event.listen(sa.pool.Pool, "connect", limit)
    try:
        yield
    finally:
        sa.event.remove(sa.pool.Pool, "connect", limit)


def store_until_it_fails(records: Records) -> tuple[list[str], str]:
    """The ids that were stored, and what was said of the one that was not."""
    told: list[str] = []
    try:
        while len(told) < 10_000:
            told.append(store(records))
    except RecordsError as error:
        return told, str(error)
    raise AssertionError("it was never full")


def test_a_full_database_is_an_error_and_what_was_told_stays(sqlite: Database) -> None:
    migrate(sqlite.url)
    with at_most(30):
        records = Records(sqlite.url)
        told, words = store_until_it_fails(records)
        assert "full" in words
        assert told
        records.label(told[0], "left")  # needs no room
        records.close()
    records = Records(sqlite.url)  # there is room again
    told.append(store(records))
    records.close()
    assert {row["request_id"] for row in sqlite.rows()} == set(told)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A folder on a disk of 1 MiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)]
    if subprocess.run(command, check=False, capture_output=True).returncode:
        pytest.skip("a disk to fill can't be mounted; root can")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk_is_an_error_and_when_there_is_room_again_all_is_well(small_disk: Path) -> None:
    file = small_disk / "records.sqlite3"
    database = Database(f"sqlite:///{file}", file=file)
    migrate(database.url)
    records = Records(database.url, audio=small_disk / "audio")
    told = [store(records)]
    filler = small_disk / "filler"
    with pytest.raises(OSError, match="No space left"):
        filler.write_bytes(bytes(2 << 20))
    with pytest.raises(RecordsError, match="No space left"):
        put(records, entry_of(clip=bytes(100_000)))
    more, words = store_until_it_fails(records)
    assert "full" in words
    filler.unlink()
    told += [*more, store(records)]
    records.close()
    assert {row["request_id"] for row in database.rows()} == set(told)
    assert list((small_disk / "audio").iterdir()) == []


def test_a_claim_that_could_not_be_stored_is_free_for_the_next_try(
    open_records: Callable[..., Records], database: Database
) -> None:
    records = open_records(busy_seconds=BUSY)
    with database.locked():
        future = records.add(entry_of(), until=soon(), late=late, claim=claim_of("key"))
        assert isinstance(future.exception(timeout=30), RecordsError)
    assert put(records, entry_of(), claim_of("key")) == Stored(ACCEPTED)
