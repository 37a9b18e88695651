"""A database by its SQLAlchemy URL: SQLite or PostgreSQL, how durable a commit is, and how long anything may wait."""

from __future__ import annotations

import random
import socket
import sqlite3
import string
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import URL

from gateway.records.errors import RecordsError, cause_of
from gateway.records.tables import REVISION
from gateway.settings import Settings, Sync

RECORDS_FILE = "records.sqlite3"

_POSTGRESQL = "postgresql+pg8000"
_WRITES = "evenvoice_writes"
_TIMESTAMPTZ = 1184
"""PostgreSQL's number of the type."""


def records_url(settings: Settings) -> str:
    """The URL of the records that these settings name: their own, or SQLite in the state folder."""
    if settings.records is not None:
        return settings.records.get_secret_value()
    return f"sqlite:///{settings.state.absolute() / RECORDS_FILE}"


def parse_url(url: str) -> URL:
    """
    Raises:
        RecordsError: it is no URL of a database that can be used; the message does not repeat it.
    """
    try:
        parsed = sa.make_url(url)
    except (sa.exc.ArgumentError, ValueError):
        raise RecordsError(
            "the URL of the records can't be read; accepted are sqlite:////path/to/file and "
            f"{_POSTGRESQL}://user:password@host/name"
        ) from None
    if parsed.drivername == "postgresql":
        parsed = parsed.set(drivername=_POSTGRESQL)
    if parsed.drivername not in ("sqlite", "sqlite+pysqlite", _POSTGRESQL):
        raise RecordsError(f"records can't be kept in {parsed.drivername}; sqlite and {_POSTGRESQL} are accepted")
    if file_of(parsed) is None and parsed.get_backend_name() == "sqlite":
        raise RecordsError("records can't be kept in memory; name a file, as in sqlite:////path/to/file")
    return parsed


def file_of(url: URL) -> Path | None:
    """SQLite's file; None on PostgreSQL."""
    named = url.get_backend_name() == "sqlite" and url.database not in (None, "", ":memory:")
    return Path(str(url.database)) if named else None


def place_of(url: URL) -> str:
    """Where the records are, for messages: without user, password or options."""
    return str(file_of(url) or f"{url.host or 'this host'}/{url.database or ''} (PostgreSQL)")


def create_engine(url: URL, *, sync: Sync, wait: float) -> sa.Engine:
    """
    Args:
        sync: what a commit survives.
        wait: seconds that a connection, a lock or a statement may take at most.

    Raises:
        RecordsError: the database's driver is not installed.
    """
    options: dict[str, Any] = {"hide_parameters": True, "pool_timeout": wait, "connect_args": {"timeout": wait}}
    try:
        if file_of(url) is not None:
            engine = sa.create_engine(url, **options)
            sa.event.listen(engine, "connect", _Sqlite(sync))
            sa.event.listen(engine, "begin", _BeginSqlite(wait))
        else:
            engine = sa.create_engine(url, pool_pre_ping=True, pool_size=8, **options)
            sa.event.listen(engine, "connect", _Postgresql(sync, wait))
    except ImportError:
        raise RecordsError("PostgreSQL needs the package pg8000; install evenvoice[postgres]") from None
    return engine


def open_engine(url: URL, *, sync: Sync, wait: float) -> sa.Engine:
    """An engine on records that are there and of this evenvoice's revision.

    Raises:
        RecordsError: they can't be opened, are not there, or are of a revision that this evenvoice can't go on with.
    """
    if (file := file_of(url)) is not None and not file.is_file():
        raise RecordsError(
            f"there are no records at {file}; `evenvoice serve` or `evenvoice records migrate` begins them"
        )
    engine = create_engine(url, sync=sync, wait=wait)
    try:
        with engine.connect() as connection:
            check_revision(revision_of(connection), place_of(url))
    except RecordsError:
        engine.dispose()
        raise
    except (sa.exc.SQLAlchemyError, OSError) as error:
        engine.dispose()
        raise RecordsError(f"the records {place_of(url)} can't be opened: {cause_of(error)}") from None
    return engine


def revision_of(connection: sa.Connection) -> str | None:
    """The migration that a database is at; None where no migration has seen it."""
    if not sa.inspect(connection).has_table("alembic_version"):
        return None
    return connection.execute(sa.text("SELECT version_num FROM alembic_version")).scalar_one_or_none()


def check_revision(found: str | None, place: str) -> None:
    """
    Raises:
        RecordsError: the database is of a revision that can't be used as it is.
    """
    if found is None or found < REVISION:
        age = "not begun yet" if found is None else f"of an older evenvoice (revision {found}, not {REVISION})"
        raise RecordsError(f"the records {place} are {age}; `evenvoice records migrate` brings them up to date")
    check_not_newer(found, place)


def check_not_newer(found: str | None, place: str) -> None:
    """
    Revisions of one number, `0004`, `0004a`, `0004b`, only add to each other: what knows one can go on with the next,
    so that a gateway can be rolled back. docs/upgrades.md has the rule.

    Raises:
        RecordsError: a newer evenvoice made the database, in a way that this one can't go on with.
    """
    if found is not None and number_of(found) > number_of(REVISION):
        raise RecordsError(
            f"the records {place} are of a newer evenvoice (revision {found}, this one knows {REVISION}); serve them "
            "with that one"
        )


def number_of(revision: str) -> str:
    """A revision without the letter of what it adds."""
    return revision.rstrip(string.ascii_lowercase)


@contextmanager
def writing(engine: sa.Engine) -> Iterator[sa.Connection]:
    """One transaction that writes: SQLite takes its lock at the beginning, where waiting for it helps."""
    with engine.connect() as connection, for_writing(connection).begin():
        yield connection


def pragma(engine: sa.Engine, words: str) -> tuple[Any, ...] | None:
    """One SQLite PRAGMA outside any transaction, where some of them have to be."""
    connection = engine.raw_connection()
    try:
        cursor = connection.cursor()
        cursor.execute(f"PRAGMA {words}")
        row = cursor.fetchone()
        return None if row is None else tuple(row)
    finally:
        connection.close()


def for_writing(connection: sa.Connection) -> sa.Connection:
    """The same connection; its transactions will write."""
    return connection.execution_options(**{_WRITES: True})


class _Sqlite:
    """Sets up each new SQLite connection."""

    def __init__(self, sync: Sync) -> None:
        # in WAL mode NORMAL survives a killed process, FULL a power cut; secure_delete: erased is erased
        self._statements = (f"PRAGMA synchronous={sync.name}", "PRAGMA secure_delete=ON")

    def __call__(self, connection: Any, _: Any) -> None:
        connection.isolation_level = None  # transactions begin where we say so, see _BeginSqlite
        _run(connection, self._statements)


class _BeginSqlite:
    """Begins each SQLite transaction; one that writes takes the lock at once, or tries again until its time is over.

    SQLite's own waiting tries again after up to 100 ms, so that a busy neighbour can keep a writer out for a second.
    The tries here are a millisecond apart.
    """

    def __init__(self, wait: float) -> None:
        self._wait = wait

    def __call__(self, connection: sa.Connection) -> None:
        if not connection.get_execution_options().get(_WRITES, False):
            connection.exec_driver_sql("BEGIN")
            return
        end = time.perf_counter() + self._wait
        driver: Any = connection.connection.driver_connection
        driver.execute("PRAGMA busy_timeout=0")
        try:
            while not self._is_begun(connection, is_last=time.perf_counter() > end):
                time.sleep(random.uniform(0.0002, 0.001))  # chance, lest two that wait keep meeting
        finally:
            driver.execute(f"PRAGMA busy_timeout={round(1000 * self._wait)}")

    def _is_begun(self, connection: sa.Connection, *, is_last: bool) -> bool:
        try:
            connection.exec_driver_sql("BEGIN IMMEDIATE")
        except sa.exc.OperationalError as error:
            code = getattr(error.orig, "sqlite_errorcode", 0) & 0xFF  # without the kind of busy
            if is_last or code != sqlite3.SQLITE_BUSY:
                raise
            return False
        return True


class _Postgresql:
    """Sets up each new PostgreSQL connection."""

    def __init__(self, sync: Sync, wait: float) -> None:
        # off: the server answers before its log is on the disk. What it holds survives any end of the gateway's
        # process; a crash of the server itself may take the last 0.6 s (three times wal_writer_delay).
        commit = "on" if sync is Sync.FULL else "off"
        # before the driver gives up on its socket: the server's word says why, and the connection is kept
        milliseconds = max(1, round(800 * wait))
        self._statements = (
            f"SET synchronous_commit = {commit}",
            f"SET statement_timeout = {milliseconds}",  # a wait for a lock is part of it
            "SET datestyle = 'ISO'",  # whatever the database's own: times are read by that
        )

    def __call__(self, connection: Any, _: Any) -> None:
        line = getattr(connection, "_usock", None)  # pg8000's own business, and without it things are only slower
        if line is not None and line.family != socket.AF_UNIX:
            # a statement that takes several packets would wait 40 ms for the first to be acknowledged
            line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.register_in_adapter(_TIMESTAMPTZ, _time_of)
        _run(connection, self._statements)
        connection.commit()


def _time_of(text: str) -> Any:
    """A time as PostgreSQL writes it in ISO style, fifty times as fast as the driver's own reader does.

    That one takes the rest: an error in here would leave its connection an answer behind for good.
    """
    try:
        return datetime.fromisoformat(text)
    except ValueError:  # infinity, years before Christ
        from pg8000.converters import timestamptz_in

        return timestamptz_in(text)


def _run(connection: Any, statements: tuple[str, ...]) -> None:
    """
    Raises:
        DBAPIError: whatever the driver raises; outside its own statements SQLAlchemy lets that through as it is.
    """
    try:
        cursor = connection.cursor()
        for statement in statements:
            cursor.execute(statement)
        cursor.close()
    except Exception as error:
        raise sa.exc.DBAPIError(None, None, error) from error
