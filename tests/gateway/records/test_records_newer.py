"""An evenvoice that meets the tables of the next one: it goes on where these were only added to."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from databases import Database, claim_of, entry_of, put, store

from gateway.records import Records, RecordsError, Stored, migrate
from gateway.records.engine import number_of
from gateway.records.tables import REVISION
from monitoring.live import LiveSettings
from monitoring.release import ReleaseRule

ADDED = (
    "ALTER TABLE decisions ADD COLUMN language VARCHAR(16)",
    "ALTER TABLE speakers ADD COLUMN language VARCHAR(16)",
    "CREATE TABLE languages (language VARCHAR(16) PRIMARY KEY)",
    f"UPDATE alembic_version SET version_num = '{REVISION}a'",
)


def everything_works(records: Records, database: Database) -> None:
    request_id = store(records)
    assert records.label(request_id, "left").command == "left"
    assert isinstance(put(records, entry_of(), claim_of(request_id)), Stored)
    ledger = records.ledger(LiveSettings(ReleaseRule(1, 1)), grace=0.0)
    ledger.run()
    counted = sum(
        sum(tally.outcomes.values()) for cell, tally in ledger.snapshot().tallies.items() if cell.attribute == "accent"
    )
    assert counted == len(database.rows())


def test_a_gateway_that_runs_serves_on_while_the_next_ones_tables_are_made(
    database: Database, open_records: Callable[..., Records]
) -> None:
    records = open_records()
    everything_works(records, database)
    database.run(*ADDED)
    everything_works(records, database)


def test_a_gateway_that_starts_goes_on_with_what_was_only_added_to_and_leaves_it_so(
    database: Database, open_records: Callable[..., Records]
) -> None:
    migrate(database.url)
    database.run(*ADDED)
    everything_works(open_records(), database)
    assert database.rows("alembic_version") == [{"version_num": f"{REVISION}a"}]
    assert {"language"} <= database.rows()[0].keys()


NEXT = f"{int(number_of(REVISION)) + 1:04}"


@pytest.mark.parametrize("revision", [NEXT, f"{NEXT}a", "0999"])
def test_another_number_is_refused_in_one_line(database: Database, revision: str) -> None:
    migrate(database.url)
    database.run(f"UPDATE alembic_version SET version_num = '{revision}'")
    for opening in (migrate, Records):
        with pytest.raises(RecordsError, match=f"of a newer evenvoice .revision {revision}, this one knows") as caught:
            opening(database.url)
        assert "\n" not in str(caught.value)
    assert database.rows("alembic_version") == [{"version_num": revision}]
