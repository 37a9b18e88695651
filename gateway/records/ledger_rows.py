"""Reading and writing the ledger's rows.

On SQLite a decision that is to be stored waits for whoever writes. So there everything is ready before the lock is
taken, statements as text and parameters as SQLite takes them, and is carried out in a few calls of the driver: a fifth
of the time that SQLAlchemy takes to make the same of it. On PostgreSQL none waits. There all rows are one parameter,
as JSON: a statement that names each value takes the driver, and the server, longer to read than to carry out.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from operator import methodcaller
from typing import Any, NamedTuple, TypeVar

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.sql.compiler import SQLCompiler

from gateway.records.tables import DECISIONS, LEDGER
from monitoring.tally import Cell

CELL = Cell._fields

Key = tuple[Any, ...]

_Insert = TypeVar("_Insert", sqlite.Insert, postgresql.Insert)


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

    statement: sa.Executable | str
    """Text is SQLite's own SQL."""
    rows: Sequence[tuple[Any, ...]] = ()
    """SQLite's own."""


class _Sql(NamedTuple):
    """A statement as SQLite takes it, and how its parameters are told, in order."""

    text: str
    tellers: tuple[tuple[str, Callable[[Any], Any] | None], ...]

    def write(self, rows: Iterable[Mapping[str, Any]]) -> Write:
        told = [tuple(row[name] if tell is None else tell(row[name]) for name, tell in self.tellers) for row in rows]
        return Write(self.text, told)


def upsert(
    connection: sa.Connection,
    table: sa.Table,
    rows: Sequence[Mapping[str, Any]],
    *,
    summed: frozenset[str] = frozenset(),
) -> Iterator[Write]:
    """Insert rows, or put them in the place of those with the same key.

    Args:
        connection: says which database it is; nothing is done on it.
        summed: columns that are added to what is there.
    """
    if not rows:
        return
    if connection.dialect.name == "sqlite":
        yield _sqlite_upsert(connection.dialect, table, summed).write(rows)
    else:
        names = [column.name for column in table.columns]
        given = postgresql.insert(table).from_select(names, _given(table, names, rows))
        yield Write(_upsert(given, table, summed))


def delete(
    connection: sa.Connection, table: sa.Table, names: tuple[str, ...], keys: Collection[Key]
) -> Iterator[Write]:
    """Delete the rows whose columns of these names are one of some tuples."""
    if not keys:
        return
    if connection.dialect.name == "sqlite":
        yield _sqlite_delete(connection.dialect, table, names).write(dict(zip(names, key, strict=True)) for key in keys)
    else:
        yield Write(table.delete().where(where_in(connection, table, names, keys)))


def unmark(connection: sa.Connection, mark: str, request_ids: Collection[str]) -> Iterator[Write]:
    """Say that decisions are taken in, or their labels: `mark` is the column that says they are not."""
    if not request_ids:
        return
    if connection.dialect.name == "sqlite":
        yield _sqlite_unmark(connection.dialect, mark).write({"taken": request_id} for request_id in request_ids)
    else:
        taken = where_in(connection, DECISIONS, ("request_id",), [(request_id,) for request_id in request_ids])
        yield Write(DECISIONS.update().where(taken).values({mark: False}))


def carry_out(connection: sa.Connection, writes: Iterable[Write]) -> None:
    for statement, rows in writes:
        if isinstance(statement, str):
            connection.exec_driver_sql(statement, list(rows))
        else:
            connection.execute(statement)


@lru_cache
def _sqlite_upsert(dialect: sa.Dialect, table: sa.Table, summed: frozenset[str]) -> _Sql:
    return _sql(dialect, _upsert(sqlite.insert(table), table, summed), {c.name: c.type for c in table.columns})


@lru_cache
def _sqlite_delete(dialect: sa.Dialect, table: sa.Table, names: tuple[str, ...]) -> _Sql:
    types = {name: table.c[name].type for name in names}
    return _sql(dialect, table.delete().where(*(table.c[n] == sa.bindparam(n, type_=types[n]) for n in names)), types)


@lru_cache
def _sqlite_unmark(dialect: sa.Dialect, mark: str) -> _Sql:
    key = DECISIONS.c.request_id
    statement = DECISIONS.update().where(key == sa.bindparam("taken")).values({mark: sa.false()})
    return _sql(dialect, statement, {"taken": key.type})


def _given(table: sa.Table, names: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> sa.Select[Any]:
    """Rows of a table's columns of these names, as one parameter that PostgreSQL takes apart."""
    text = json.dumps(list(rows), default=methodcaller("isoformat"))  # days and times
    columns = [sa.column(name, table.c[name].type) for name in names]
    given = sa.func.json_to_recordset(sa.cast(sa.literal(text, sa.Text), sa.JSON)).table_valued(*columns)
    return sa.select(*given.render_derived(name="given", with_types=True).c)


def _upsert(insert: _Insert, table: sa.Table, summed: frozenset[str]) -> _Insert:
    keys = [column.name for column in table.primary_key]
    new = insert.excluded
    changes = {
        column.name: table.c[column.name] + new[column.name] if column.name in summed else new[column.name]
        for column in table.columns
        if column.name not in keys
    }
    return insert.on_conflict_do_update(index_elements=keys, set_=changes)


def _sql(dialect: sa.Dialect, statement: sa.ClauseElement, types: Mapping[str, sa.types.TypeEngine[Any]]) -> _Sql:
    compiled = statement.compile(dialect=dialect)
    assert isinstance(compiled, SQLCompiler)
    names = compiled.positiontup or ()
    return _Sql(str(compiled), tuple((n, types[n].dialect_impl(dialect).bind_processor(dialect)) for n in names))


def where_in(
    connection: sa.Connection, table: sa.Table, names: Sequence[str], keys: Collection[Key]
) -> sa.ColumnElement[bool]:
    """The rows whose columns of these names are one of some tuples."""
    columns = sa.tuple_(*(table.c[name] for name in names))
    if connection.dialect.name == "sqlite":
        return columns.in_(list(keys))
    return columns.in_(_given(table, names, (dict(zip(names, key, strict=True)) for key in keys)))


def cell_of(row: sa.Row[Any]) -> Cell:
    return Cell(*(row._mapping[name] for name in CELL))


def utc(stored: datetime) -> datetime:
    """SQLite keeps no time zone; everything is stored in UTC."""
    return stored.replace(tzinfo=UTC) if stored.tzinfo is None else stored.astimezone(UTC)
