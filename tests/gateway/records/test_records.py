"""The table of decisions: stored before the answer, labelled once, and nothing in it that was said."""

from __future__ import annotations

import json
import threading
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from databases import ACCEPTED, COMBINED, GROUPS, MODEL, RECEIVED, SILENCE, Database, entry_of, late, put, soon, store

from gateway.records import LabelledBefore, NotRecorded, Records, RecordsError, Stored
from recognizer.decision import Decision, Reason


def received(row: dict[str, Any]) -> datetime:
    """SQLite has no type for it: ISO text, in UTC."""
    value = row["received_at"]
    return datetime.fromisoformat(value).replace(tzinfo=UTC) if isinstance(value, str) else value


def loaded(value: Any) -> Any:
    return json.loads(value) if isinstance(value, str) else value


def test_a_stored_decision_can_be_read_by_another_connection_at_once(records: Records, database: Database) -> None:
    request_id = store(records)
    (row,) = database.rows()
    assert row["request_id"] == request_id
    assert (row["outcome"], row["reason"], row["command"]) == ("accepted", "ok", "left")
    assert (row["confidence"], row["p_value"], row["draws"]) == (0.75, 0.25, 100)
    assert row["seed"] == 2**62 - 1
    assert loaded(row["groups"]) == GROUPS
    assert received(row) == RECEIVED
    assert (row["true_command"], row["labelled_at"], row["parts"], row["clip_type"]) == (None, None, None, None)


def test_times_are_stored_in_utc_wherever_they_come_from(records: Records, database: Database) -> None:
    store(records, received_at=RECEIVED.astimezone(timezone(timedelta(hours=-9))))
    assert received(database.rows()[0]) == RECEIVED


def test_the_parts_of_a_combined_defense_are_stored_with_their_scores(records: Records, database: Database) -> None:
    store(records, COMBINED)
    assert loaded(database.rows()[0]["parts"]) == [
        {"defense": "neural_rejection", "reason": "ok", "confidence": 0.875, "p_value": None, "draws": None},
        {"defense": "smoothing", "reason": "smoothing_tie", "confidence": 0.75, "p_value": 0.25, "draws": 100},
    ]


def test_no_column_holds_audio(records: Records, database: Database) -> None:
    store(records, clip=b"RIFF" + b"\x01" * 100, media_type="audio/wav")
    (row,) = database.rows()
    assert not any(isinstance(value, bytes) for value in row.values())
    assert row["clip_type"] is None
    assert set(row) == {
        "request_id", "received_at", "outcome", "reason", "command", "defense", "confidence", "p_value", "draws",
        "seed", "replay", "speaker", "groups", "model", "true_command", "labelled_at", "parts", "clip_type",
        "is_pending", "is_label_pending",
    }  # fmt: skip


def test_an_abstention_before_any_network_is_stored_too(records: Records, database: Database) -> None:
    store(records, SILENCE)
    (row,) = database.rows()
    assert (row["outcome"], row["reason"], row["command"], row["p_value"]) == ("bad_input", "no_speech", None, None)


def test_one_request_id_is_stored_once(records: Records, database: Database) -> None:
    request_id = store(records)
    with pytest.raises(RecordsError):
        store(records, request_id=request_id)
    assert len(database.rows()) == 1


def test_a_label_gives_what_was_said_and_by_whom(records: Records, database: Database) -> None:
    recorded = records.label(store(records), "right")
    assert (recorded.command, recorded.defense, recorded.speaker) == ("left", "smoothing", "a1")
    assert recorded.groups == GROUPS
    assert recorded.model == MODEL
    (row,) = database.rows()
    assert row["true_command"] == "right"
    assert row["labelled_at"] is not None


def test_a_second_label_is_refused_whatever_it_says_and_the_first_one_stays(
    open_records: Callable[..., Records], database: Database
) -> None:
    records = open_records()
    request_id = store(records)
    records.label(request_id, "left")
    for other in (records, open_records()):
        for command in ("left", "right"):
            with pytest.raises(LabelledBefore):
                other.label(request_id, command)
    assert [row["true_command"] for row in database.rows()] == ["left"]


def test_a_decision_that_was_not_stored_has_no_label(records: Records, database: Database) -> None:
    with pytest.raises(NotRecorded):
        records.label(str(uuid.uuid4()), "left")
    assert database.rows() == []


def label(records: Records, request_id: str, command: str) -> bool:
    try:
        records.label(request_id, command)
    except LabelledBefore:
        return False
    return True


def test_of_many_labels_at_once_exactly_one_is_the_first(
    open_records: Callable[..., Records], database: Database
) -> None:
    doors = [open_records(), open_records()]
    with ThreadPoolExecutor(8) as pool:
        for _ in range(20):
            request_id = store(doors[0])
            won = list(pool.map(lambda i, r=request_id: label(doors[i % 2], r, f"command {i}"), range(8)))
            assert sum(won) == 1
            (stored,) = {row["true_command"] for row in database.rows() if row["request_id"] == request_id}
            assert stored == f"command {won.index(True)}"


def test_many_threads_lose_no_decision(records: Records, database: Database) -> None:
    with ThreadPoolExecutor(8) as pool:
        stored = set(pool.map(lambda _: store(records), range(200)))
    assert {row["request_id"] for row in database.rows()} == stored


def test_what_queued_up_is_stored_together_and_a_bad_row_among_it_fails_alone(
    records: Records, database: Database
) -> None:
    there = store(records)
    with database.locked():
        first = records.add(entry_of(), until=soon(), late=late)  # waits for the lock; the others queue up behind it
        good = [entry_of() for _ in range(20)]
        bad = [entry_of(request_id=there), entry_of(seed=2**70), entry_of(model="m" * 100_000 + "\0", speaker="\0")]
        futures = [records.add(entry, until=soon(), late=late) for entry in (*good[:10], *bad, *good[10:])]
    results = [future.exception(timeout=30) for future in (first, *futures)]
    failed = [isinstance(result, RecordsError) for result in results]
    wanted = [False] * 11 + [True, True, not database.is_sqlite] + [False] * 10  # SQLite's texts have no longest length
    assert failed == wanted
    assert len(database.rows()) == 1 + 24 - sum(wanted)


def test_an_error_tells_nothing_of_what_the_row_holds(records: Records) -> None:
    request_id = store(records)
    with pytest.raises(RecordsError) as caught:
        store(records, request_id=request_id, speaker="somebody-in-particular")
    assert "somebody" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_acceptance_whose_time_is_over_is_stored_as_an_abstention(records: Records, database: Database) -> None:
    stored = records.add(entry_of(), until=0.0, late=late).result(timeout=30)
    assert stored == Stored(ACCEPTED.but_abstain(Reason.DEADLINE, "too late"))
    (row,) = database.rows()
    assert (row["outcome"], row["reason"], row["command"]) == ("service", "deadline", None)
    assert (row["confidence"], row["p_value"]) == (0.75, 0.25)  # what it would have been


def test_an_abstention_is_never_too_late(records: Records, database: Database) -> None:
    assert records.add(entry_of(SILENCE), until=0.0, late=late).result(timeout=30) == Stored(SILENCE)
    assert database.rows()[0]["reason"] == "no_speech"


def test_a_cancelled_decision_is_not_stored(records: Records, database: Database) -> None:
    with database.locked():
        first = records.add(entry_of(), until=soon(), late=late)
        while not first.running():
            pass
        given_up = records.add(entry_of(), until=soon(), late=late)
        assert given_up.cancel()
    first.result(timeout=30)
    store(records)
    assert len(database.rows()) == 2


def test_what_is_queued_is_stored_before_the_records_close(
    open_records: Callable[..., Records], database: Database
) -> None:
    records = open_records(busy_seconds=120)
    futures = [records.add(entry_of(), until=soon(), late=late) for _ in range(1000)]
    records.close()
    assert all(future.done() and future.exception() is None for future in futures)
    assert len(database.rows()) == 1000
    with pytest.raises(RecordsError, match="closed"):
        records.add(entry_of(), until=soon(), late=late)


def test_a_decision_that_cannot_be_made_late_fails_alone(records: Records, database: Database) -> None:
    def broken(_: Decision) -> Decision:
        raise KeyError("a fault")

    with database.locked():
        first = records.add(entry_of(), until=soon(), late=late)
        bad = records.add(entry_of(), until=0.0, late=broken)
        good = records.add(entry_of(), until=soon(), late=late)
    assert isinstance(bad.exception(timeout=30), RecordsError)
    assert first.result(timeout=30) == good.result(timeout=30) == Stored(ACCEPTED)
    assert len(database.rows()) == 2


def test_records_are_written_by_one_thread(open_records: Callable[..., Records]) -> None:
    before = threading.active_count()
    records = open_records()
    with ThreadPoolExecutor(4) as pool:
        writers = set(pool.map(lambda _: _thread_that_makes_it_late(records), range(20)))
        assert threading.active_count() == before + 1 + 4
    assert len(writers) == 1


def _thread_that_makes_it_late(records: Records) -> int:
    seen: list[int] = []

    def noted(decision: Decision) -> Decision:
        seen.append(threading.get_ident())
        return late(decision)

    records.add(entry_of(), until=0.0, late=noted).result(timeout=30)
    return seen[0]


def test_a_clip_is_not_kept_unless_there_is_a_folder_for_it(records: Records, database: Database) -> None:
    put(records, entry_of(clip=b"RIFFxxxx", media_type="audio/wav"))
    assert database.rows()[0]["clip_type"] is None
