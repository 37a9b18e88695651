"""Audits in both databases."""

from __future__ import annotations

from dataclasses import asdict, replace
from datetime import UTC, datetime

import pytest
import sqlalchemy as sa
from databases import Database

from gateway.records import RecordsError, migrate
from gateway.records.audits import store_audit
from gateway.records.engine import create_engine, parse_url
from gateway.settings import Sync
from monitoring.audit.history import HistoryRow

ROW = HistoryRow(
    run="cd94a23d60d39c08",
    created_at=datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
    bundle="digits",
    model="sha256:" + "0" * 64,
    manifest="manifest.csv",
    fingerprint="sha256:" + "1" * 64,
    outcome="inconclusive",
    defense="smoothing",
    attribute="accent",
    group="north",
    metric="accuracy",
    part="",
    speakers=12,
    clips=120,
    value=0.75,
    lower=0.5,
    upper=None,
    verdict="",
)
GAP = replace(ROW, group="", speakers=None, clips=None, value=None, lower=None, verdict="insufficient")


@pytest.fixture
def engine(database: Database) -> sa.Engine:
    migrate(database.url)
    return create_engine(parse_url(database.url), sync=Sync.NORMAL, wait=5.0)


def test_an_audit_is_stored_as_it_is_and_once(engine: sa.Engine, database: Database) -> None:
    store_audit(engine, [ROW, GAP])
    store_audit(engine, [ROW, GAP])
    store_audit(engine, [replace(ROW, run="another")])
    store_audit(engine, [])
    with engine.connect() as connection:
        found = connection.execute(sa.text('SELECT * FROM audits ORDER BY run, "group"')).mappings().all()
    assert [row["run"] for row in found] == ["another", ROW.run, ROW.run]
    gap, mean = (dict(row) for row in found[1:])
    assert {k: v for k, v in mean.items() if k != "created_at"} == {
        k: v for k, v in asdict(ROW).items() if k != "created_at"
    }
    assert (gap["value"], gap["verdict"], gap["clips"]) == (None, "insufficient", None)
    assert "2026-01-02" in str(mean["created_at"])
    assert database.rows("audits")
    engine.dispose()


def test_of_an_audit_that_is_not_taken_nothing_is_stored(engine: sa.Engine, database: Database) -> None:
    with pytest.raises(RecordsError, match="the audit can't be stored"):
        store_audit(engine, [ROW, ROW])
    assert database.rows("audits") == []
    engine.dispose()
