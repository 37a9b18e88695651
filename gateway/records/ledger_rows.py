"""Reading and writing the ledger's rows."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from gateway.records.tables import LEDGER
from monitoring.tally import Cell

CELL = Cell._fields


class State(NamedTuple):
    """The ledger's own row."""

    id: str
    version: int
    position: int
    passed_at: float


def state_of(connection: sa.Connection) -> State:
    return State(*connection.execute(sa.select(*(LEDGER.c[name] for name in State._fields))).one())


def advance(connection: sa.Connection, seen: State | None = None, **changes: float) -> bool:
    """Begin to write: nobody else writes to the ledger until this transaction ends.

    Args:
        seen: what was read; None where nothing was computed from it.

    Returns:
        Whether the ledger is still what was seen; if not, nothing may be written.
    """
    statement = LEDGER.update().values(version=LEDGER.c.version + 1, **changes)
    if seen is not None:
        statement = statement.where(LEDGER.c.version == seen.version)
    return connection.execute(statement).rowcount == 1


class Write(NamedTuple):
    """A statement that is ready: what takes time is done before anything is locked."""

    statement: sa.Executable
    rows: Sequence[Mapping[str, Any]] | None = None


def upsert(
    connection: sa.Connection, table: sa.Table, rows: Sequence[Mapping[str, Any]], *, summed: Collection[str] = ()
) -> Iterator[Write]:
    """Insert rows, or put them in the place of those with the same key.

    Args:
        connection: says which database it is; nothing is done on it.
        summed: columns that are added to what is there.
    """
    if not rows:
        return
    statement = (sqlite.insert if connection.dialect.name == "sqlite" else postgresql.insert)(table)
    keys = [column.name for column in table.primary_key]
    new = statement.excluded
    changes = {
        column.name: table.c[column.name] + new[column.name] if column.name in summed else new[column.name]
        for column in table.columns
        if column.name not in keys
    }
    statement = statement.on_conflict_do_update(index_elements=keys, set_=changes)
    # RETURNING makes SQLAlchemy send the rows in one statement rather than one each
    yield Write(statement.returning(table.c[keys[0]]), rows)


def carry_out(connection: sa.Connection, writes: Iterable[Write]) -> None:
    for write in writes:
        if write.rows is None:
            connection.execute(write.statement)
        else:
            connection.execute(write.statement, write.rows).all()


def where_in(table: sa.Table, names: Sequence[str], keys: Collection[tuple[Any, ...]]) -> sa.ColumnElement[bool]:
    """The rows whose columns of these names are one of some tuples."""
    return sa.tuple_(*(table.c[name] for name in names)).in_(list(keys))


def cell_of(row: sa.Row[Any]) -> Cell:
    return Cell(*(row._mapping[name] for name in CELL))


def utc(stored: datetime) -> datetime:
    """SQLite keeps no time zone; everything is stored in UTC."""
    return stored.replace(tzinfo=UTC) if stored.tzinfo is None else stored.astimezone(UTC)
