"""Bringing a database up to this evenvoice's tables, once, before anything opens it."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import sqlalchemy as sa

from gateway.records.engine import (
    check_not_newer,
    create_engine,
    file_of,
    for_writing,
    parse_url,
    place_of,
    pragma,
    revision_of,
)
from gateway.records.errors import RecordsError, cause_of
from gateway.records.tables import REVISION
from gateway.settings import Sync

WAIT_SECONDS = 60.0
"""How long another gateway that starts at the same time may take, and a migration itself."""

_ADVISORY_LOCK = 0x6576656E766F6963  # "evenvoic": any number that nobody else's application takes
_BEFORE_MIGRATIONS = (
    *("request_id", "received_at", "outcome", "reason", "command", "defense", "confidence", "p_value", "draws", "seed"),
    *("replay", "speaker", "groups", "model", "true_command", "labelled_at"),
)
"""The columns of the table `decisions` of the evenvoice that had no migrations yet."""


def migrate(url: str) -> None:
    """Make the tables, or bring older ones up to date; what they hold stays. Several may ask at once.

    Raises:
        RecordsError: the database can't be opened or made, or holds something else or newer.
    """
    parsed = parse_url(url)
    engine = create_engine(parsed, sync=Sync.FULL, wait=WAIT_SECONDS)
    try:
        with _alone(file_of(parsed)):
            if file_of(parsed) is not None:
                pragma(engine, "journal_mode=WAL")
            with engine.connect() as connection, for_writing(connection).begin():
                _upgrade(connection, place_of(parsed))
    except (sa.exc.SQLAlchemyError, OSError) as error:
        raise RecordsError(f"the records {place_of(parsed)} can't be opened: {cause_of(error)}") from None
    finally:
        engine.dispose()


@contextmanager
def _alone(file: Path | None) -> Iterator[None]:
    """SQLite's journal mode can't be changed inside a transaction, so a lock on a file beside it is needed."""
    if file is None:
        yield
        return
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with file.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _upgrade(connection: sa.Connection, place: str) -> None:
    if connection.dialect.name == "postgresql":
        connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_ADVISORY_LOCK)))
    found = revision_of(connection)
    check_not_newer(found, place)
    if found is None or found < REVISION:  # a newer one may have added to these tables
        _bring_up(connection, place, is_begun=found is not None)


def _bring_up(connection: sa.Connection, place: str, *, is_begun: bool) -> None:
    from alembic import command  # takes half a second, which few starts need
    from alembic.config import Config
    from alembic.util import CommandError

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations").replace("%", "%%"))
    config.attributes["connection"] = connection
    if not is_begun and sa.inspect(connection).has_table("decisions"):
        there = {column["name"] for column in sa.inspect(connection).get_columns("decisions")}
        if missing := [name for name in _BEFORE_MIGRATIONS if name not in there]:
            raise RecordsError(
                f"the records {place} are of an older evenvoice: they have no {', '.join(missing)}; put the file "
                "aside, and a new one is begun"
            )
        command.stamp(config, "0001")
    try:
        command.upgrade(config, "head")
    except CommandError as error:
        raise RecordsError(f"the records {place} can't be brought up to date: {error}") from None
