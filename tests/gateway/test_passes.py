"""The thread of passes: it counts by itself, leaves out what another did, outlives a database that fails, and ends."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

import pytest
from robot import Door, Spoken, assert_problem, samples_of, total
from waiting import until

from gateway.passes import Passes

NAME = "evenvoice_group_commands_total"


def counted(door: Door) -> float:
    """Without a pass of the test's own."""
    return total(samples_of(door.ask("GET", "/metrics").text), NAME, attribute="accent")


def test_what_is_decided_is_counted_by_itself_until_it_is_closed(
    open_door: Callable[..., Door], spoken: Spoken
) -> None:
    door = open_door(release_commands=1, release_speakers=1)
    passes = Passes(door.gateway.ledger, seconds=0.05)
    door.decide(spoken.data, defense="none", speaker=spoken.speaker)
    assert until(lambda: counted(door) == 1)
    passes.close()
    door.decide(spoken.data, defense="none", speaker=spoken.speaker)
    time.sleep(0.3)
    assert counted(door) == 1
    assert not [thread for thread in threading.enumerate() if thread.name == "ledger"]


def test_a_pass_is_left_out_where_there_was_one_just_now(open_door: Callable[..., Door], spoken: Spoken) -> None:
    door = open_door(release_commands=1, release_speakers=1)
    door.decide(spoken.data, defense="none", speaker=spoken.speaker)
    door.gateway.ledger.run()
    door.decide(spoken.data, defense="none", speaker=spoken.speaker)
    door.gateway.ledger.run(unless_within=60)
    assert counted(door) == 1
    door.gateway.ledger.run()
    assert counted(door) == 2


def test_a_database_that_fails_is_told_once_and_tried_again(
    open_door: Callable[..., Door], spoken: Spoken, caplog: pytest.LogCaptureFixture
) -> None:
    """The ledger's row is away for a while, as a table is that somebody else works on."""
    door = open_door(release_commands=1, release_speakers=1)
    door.decide(spoken.data, defense="none", speaker=spoken.speaker)
    engine = door.gateway.ledger._engine
    with engine.begin() as connection:
        connection.exec_driver_sql("ALTER TABLE ledger RENAME TO elsewhere")
    with caplog.at_level(logging.WARNING, logger="gateway.passes"):
        passes = Passes(door.gateway.ledger, seconds=0.02)
        time.sleep(0.5)
    told = [record.getMessage() for record in caplog.records if record.name == "gateway.passes"]
    assert told == ["stored decisions can't be counted: no such table: ledger; this is tried again"]
    scraped = door.ask("GET", "/metrics")
    assert scraped.status_code == 200
    assert total(samples_of(scraped.text), "evenvoice_commands_total") == 1  # what the process counts is told
    assert NAME not in scraped.text
    assert_problem(door.ask("GET", "/v1/fairness"), 503)
    with engine.begin() as connection:
        connection.exec_driver_sql("ALTER TABLE elsewhere RENAME TO ledger")
    assert until(lambda: counted(door) == 1)
    passes.close()
