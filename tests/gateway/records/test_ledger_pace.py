"""How much a pass takes in at once, and what it does not wait for."""

from __future__ import annotations

import socket
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from databases import GROUPS, RECEIVED, Database, entry_of, late, soon
from postgres import Postgres

from gateway.records import Records, RecordsError, migrate
from gateway.records.engine import open_engine, parse_url
from gateway.records.ledger import Ledger
from gateway.records.ledger_intake import take_in
from gateway.settings import Sync
from monitoring.live import LiveSettings
from monitoring.release import ReleaseRule


def ledger_of(records: Records, decisions: int) -> Ledger:
    """A ledger that has to take in so many decisions."""
    entries = [entry_of(groups=GROUPS, received_at=RECEIVED + timedelta(seconds=n)) for n in range(decisions)]
    for future in [records.add(entry, until=soon(), late=late) for entry in entries]:
        future.result(timeout=60)
    return records.ledger(LiveSettings(ReleaseRule(1, 1)), grace=0.0)


def counted(ledger: Ledger) -> int:
    return sum(t.observations for cell, t in ledger.snapshot().tallies.items() if cell.attribute == "accent")


def test_transactions_grow_with_the_backlog_on_postgresql_and_never_on_sqlite(
    records: Records, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes = []

    def counting(*passed: Any, at_once: int, **named: Any) -> bool:
        sizes.append(at_once)
        return take_in(*passed, at_once=at_once, **named)

    monkeypatch.setattr("gateway.records.ledger.take_in", counting)
    ledger = ledger_of(records, 2000)
    ledger.run()
    assert counted(ledger) == 2000
    assert sizes == ([32] * 63 if database.is_sqlite else [256, 512, 1024, 1024])
    ledger.run()
    assert sizes[-1] == sizes[0]


def test_where_large_transactions_fail_the_small_ones_of_each_pass_get_on(
    server: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a server that takes longer for a large statement than a statement may."""
    url = server.new_database()
    migrate(url)
    records = Records(url)

    def slow(*passed: Any, at_once: int, **named: Any) -> bool:
        if at_once > 256:
            raise sa.exc.OperationalError("", {}, Exception("canceling statement due to statement timeout"))
        return take_in(*passed, at_once=at_once, **named)

    monkeypatch.setattr("gateway.records.ledger.take_in", slow)
    ledger = ledger_of(records, 600)
    for so_far in (256, 512):
        with pytest.raises(RecordsError, match="can't be counted: canceling statement"):
            ledger.run()
        assert counted(ledger) == so_far
    ledger.run()
    assert counted(ledger) == 600
    records.close()


def test_a_statement_of_several_packets_waits_for_no_acknowledgement(server: Postgres) -> None:
    """Otherwise the last packet is held back until the server has acknowledged the first: 40 ms on Linux."""
    url = server.new_database()
    migrate(url)
    engine = open_engine(parse_url(url), sync=Sync.NORMAL, wait=10)
    with engine.connect() as connection:
        driver: Any = connection.connection.driver_connection
        assert driver._usock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
    engine.dispose()


def engine_on(server: Postgres, *statements: str) -> sa.Engine:
    """An engine on a database of its own, about which these statements were said first."""
    url = server.new_database()
    migrate(url)
    with server.connect(url.rpartition("/")[2]) as other:
        for statement in statements:
            other.run(statement)
    return open_engine(parse_url(url), sync=Sync.NORMAL, wait=10)


@pytest.mark.parametrize("zone", ["UTC", "Asia/Kolkata", "America/St_Johns"])
@pytest.mark.parametrize("style", ["ISO", "SQL, DMY", "German"])
@pytest.mark.parametrize("said", ["2026-01-02 03:04:05", "2026-07-02 23:59:59.6", "1999-12-31 00:00:00.678901"])
def test_times_are_read_as_they_are_whatever_zone_and_style_the_database_has(
    server: Postgres, zone: str, style: str, said: str
) -> None:
    engine = engine_on(
        server,
        f"DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET datestyle = %L', current_database(), '{style}'); END $$",
        f"DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET timezone = %L', current_database(), '{zone}'); END $$",
    )
    with engine.connect() as connection:
        at, seconds = connection.execute(
            sa.text(f"SELECT t, extract(epoch FROM t) FROM (SELECT TIMESTAMPTZ '{said}+00' AS t) AS said")
        ).one()
        assert connection.exec_driver_sql("SHOW timezone").scalar() == zone
    engine.dispose()
    assert at == datetime.fromisoformat(said).replace(tzinfo=UTC)
    assert at - datetime.fromtimestamp(0, UTC) == timedelta(microseconds=int(seconds * 1_000_000))


@pytest.mark.parametrize("said", ["infinity", "-infinity", "0044-03-15 12:00+00 BC", "20000-01-01 00:00+00"])
def test_a_time_that_python_does_not_have_leaves_the_connection_in_step(server: Postgres, said: str) -> None:
    engine = engine_on(server)
    with engine.connect() as connection:
        for number in range(3):
            _, answer = connection.execute(sa.text(f"SELECT TIMESTAMPTZ '{said}', {number}")).one()
            assert answer == number
    engine.dispose()
