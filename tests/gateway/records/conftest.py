"""Both databases; PostgreSQL's tests are left out where there is none."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from databases import Database
from postgres import NoPostgres, Postgres

from gateway.records import Records, migrate


@pytest.fixture(scope="session")
def server() -> Iterator[Postgres]:
    try:
        server = Postgres.begin()
    except NoPostgres as error:
        pytest.skip(str(error))
    yield server
    server.remove()


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Database:
    """An empty database, which no migration has seen."""
    if request.param == "sqlite":
        file = tmp_path / "state" / "records.sqlite3"
        return Database(f"sqlite:///{file}", file=file)
    server: Postgres = request.getfixturevalue("server")
    return Database(server.new_database(), server=server)


@pytest.fixture
def sqlite(tmp_path: Path) -> Database:
    file = tmp_path / "state" / "records.sqlite3"
    return Database(f"sqlite:///{file}", file=file)


@pytest.fixture
def open_records(database: Database) -> Iterator[Callable[..., Records]]:
    """Opens records of the database; closes them afterwards."""
    opened: list[Records] = []
    migrate(database.url)

    def build(**options: Any) -> Records:
        opened.append(Records(database.url, **options))
        return opened[-1]

    yield build
    for records in opened:
        records.close()


@pytest.fixture
def records(open_records: Callable[..., Records]) -> Records:
    return open_records()
