"""Stored decisions as a table in a file, a chunk at a time: a million of them are never in memory at once."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pa_parquet
import sqlalchemy as sa

from gateway.records.errors import RecordsError, cause_of
from gateway.records.tables import DECISIONS

CHUNK = 10_000
"""Decisions in memory at once."""

GROUP_PREFIX = "group_"

_TIME = pa.timestamp("us", tz="UTC")
_BEFORE_GROUPS = {
    "request_id": pa.string(),
    "received_at": _TIME,
    "outcome": pa.string(),
    "reason": pa.string(),
    "command": pa.string(),
    "defense": pa.string(),
    "confidence": pa.float64(),
    "p_value": pa.float64(),
    "draws": pa.int64(),
    "seed": pa.int64(),
    "replay": pa.string(),
    "parts": pa.string(),
    "speaker": pa.string(),
}
_AFTER_GROUPS = {
    "model": pa.string(),
    "true_command": pa.string(),
    "labelled_at": _TIME,
    "clip_type": pa.string(),
}
_JSON = ("replay", "parts")
_FORMATS = {".parquet": pa_parquet.ParquetWriter, ".csv": pa_csv.CSVWriter}


def export(
    engine: sa.Engine, path: Path, *, since: datetime | None = None, until: datetime | None = None, chunk: int = CHUNK
) -> int:
    """Write the decisions by the time they were received; only a whole file gets the name `path`.

    Args:
        engine: of the records.
        path: ends in .parquet or .csv.
        since: the first moment that is in it.
        until: the first moment after `since` that is not.
        chunk: decisions in memory at once.

    Returns:
        How many decisions were written.

    Raises:
        RecordsError: another kind of file, records that can't be read.
        OSError: the file can't be written.
    """
    writer_of = _FORMATS.get(path.suffix)
    if writer_of is None:
        raise RecordsError(f"{path} is no .parquet and no .csv; name the file so")
    unfinished = path.with_name(path.name + ".part")
    written = 0
    try:
        with engine.connect() as connection, os.fdopen(_private(unfinished), "wb") as file:
            attributes = _attributes(connection)
            schema = _schema(attributes)
            with writer_of(file, schema) as writer:
                for rows in _chunks(connection, since, until, chunk):
                    writer.write_table(pa.Table.from_pylist([_flat(row, attributes) for row in rows], schema=schema))
                    written += len(rows)
        unfinished.replace(path)
    except sa.exc.SQLAlchemyError as error:
        raise RecordsError(f"the records can't be read: {cause_of(error)}") from None
    finally:
        unfinished.unlink(missing_ok=True)
    return written


def _chunks(
    connection: sa.Connection, since: datetime | None, until: datetime | None, chunk: int
) -> Iterator[Sequence[sa.Row[Any]]]:
    chosen = sa.select(DECISIONS).order_by(DECISIONS.c.received_at)
    if since is not None:
        chosen = chosen.where(DECISIONS.c.received_at >= since.astimezone(UTC))
    if until is not None:
        chosen = chosen.where(DECISIONS.c.received_at < until.astimezone(UTC))
    yield from connection.execution_options(yield_per=chunk).execute(chosen).partitions()


def _attributes(connection: sa.Connection) -> list[str]:
    """Every attribute that a decision has a group of."""
    distinct = connection.execute(sa.select(sa.cast(DECISIONS.c.groups, sa.Text)).distinct()).scalars()
    return sorted({attribute for groups in distinct for attribute in json.loads(groups)})


def _schema(attributes: Sequence[str]) -> pa.Schema:
    groups = {GROUP_PREFIX + attribute: pa.string() for attribute in attributes}
    return pa.schema({**_BEFORE_GROUPS, **groups, **_AFTER_GROUPS})


def _flat(row: sa.Row[Any], attributes: Sequence[str]) -> dict[str, Any]:
    values = dict(row._mapping)
    groups = values.pop("groups")
    for name in _JSON:
        values[name] = None if values[name] is None else json.dumps(values[name])
    for name in ("received_at", "labelled_at"):
        if values[name] is not None and values[name].tzinfo is None:  # SQLite keeps none; everything is stored in UTC
            values[name] = values[name].replace(tzinfo=UTC)
    return {**values, **{GROUP_PREFIX + attribute: groups.get(attribute) for attribute in attributes}}


def _private(path: Path) -> int:
    """Who said what is in it: for the owner's eyes."""
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
