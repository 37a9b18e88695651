"""The table of decisions: stored before the answer, labelled once, and nothing in it that was said."""

from __future__ import annotations

import sqlite3
import uuid
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from datetime import UTC, datetime
from multiprocessing import get_context
from pathlib import Path

import pytest
from robot import RECORDS_FILE, rows_of

from gateway.records import LabelledBefore, NotRecorded, Records, RecordsError
from recognizer.decision import Certificate, Decision, Reason, abstention

GROUPS = {"accent": "north", "gender": "undeclared"}
CERTIFICATE = Certificate(defense="smoothing", sigma=0.1, error_alpha=0.001, draws=100, p_value=0.25)
ACCEPTED = Decision(command="left", reason=Reason.OK, detail="", confidence=0.75, certificate=CERTIFICATE)


@pytest.fixture
def records(tmp_path: Path) -> Records:
    return Records(tmp_path / RECORDS_FILE)


def store(records: Records, decision: Decision = ACCEPTED, request_id: str | None = None) -> str:
    request_id = request_id or str(uuid.uuid4())
    records.add(
        decision,
        request_id=request_id,
        received_at=datetime(2026, 1, 2, 3, 4, 5, 678900, tzinfo=UTC),
        defense="smoothing",
        seed=2**62 - 1,
        speaker="a1",
        groups=GROUPS,
        model="sha256:" + "0" * 64,
    )
    return request_id


def test_a_stored_decision_can_be_read_by_another_connection_at_once(records: Records, tmp_path: Path) -> None:
    request_id = store(records)
    (row,) = rows_of(tmp_path)
    assert row["request_id"] == request_id
    assert (row["outcome"], row["reason"], row["command"]) == ("accepted", "ok", "left")
    assert (row["confidence"], row["p_value"], row["draws"]) == (0.75, 0.25, 100)
    assert row["seed"] == 2**62 - 1
    assert row["received_at"].startswith("2026-01-02 03:04:05.6789")
    assert (row["true_command"], row["labelled_at"]) == (None, None)


def test_the_write_ahead_log_is_on(records: Records, tmp_path: Path) -> None:
    store(records)
    with sqlite3.connect(tmp_path / RECORDS_FILE) as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)


def test_no_column_holds_audio(records: Records, tmp_path: Path) -> None:
    store(records)
    with sqlite3.connect(tmp_path / RECORDS_FILE) as connection:
        columns = {name: kind for _, name, kind, *_ in connection.execute("PRAGMA table_info(decisions)")}
    assert "BLOB" not in set(columns.values())
    assert set(columns) == {
        "request_id", "received_at", "outcome", "reason", "command", "defense", "confidence", "p_value", "draws",
        "seed", "replay", "speaker", "groups", "model", "true_command", "labelled_at",
    }  # fmt: skip


def test_an_abstention_before_any_network_is_stored_too(records: Records, tmp_path: Path) -> None:
    store(records, abstention(Reason.NO_SPEECH, "silence"))
    (row,) = rows_of(tmp_path)
    assert (row["outcome"], row["reason"], row["command"], row["p_value"]) == ("bad_input", "no_speech", None, None)


def test_one_request_id_is_stored_once(records: Records, tmp_path: Path) -> None:
    request_id = store(records)
    with pytest.raises(RecordsError):
        store(records, request_id=request_id)
    assert len(rows_of(tmp_path)) == 1


def test_a_label_gives_what_was_said_and_by_whom(records: Records, tmp_path: Path) -> None:
    recorded = records.label(store(records), "right")
    assert (recorded.command, recorded.defense, recorded.speaker) == ("left", "smoothing", "a1")
    assert recorded.groups == GROUPS
    assert recorded.model == "sha256:" + "0" * 64
    (row,) = rows_of(tmp_path)
    assert row["true_command"] == "right"
    assert row["labelled_at"] is not None


def test_a_second_label_is_refused_whatever_it_says_and_the_first_one_stays(records: Records, tmp_path: Path) -> None:
    request_id = store(records)
    records.label(request_id, "left")
    for other in (records, Records(tmp_path / RECORDS_FILE)):
        for command in ("left", "right"):
            with pytest.raises(LabelledBefore):
                other.label(request_id, command)
    assert [row["true_command"] for row in rows_of(tmp_path)] == ["left"]


def test_a_decision_that_was_not_stored_has_no_label(records: Records, tmp_path: Path) -> None:
    with pytest.raises(NotRecorded):
        records.label(str(uuid.uuid4()), "left")
    assert rows_of(tmp_path) == []


def label(records: Records, request_id: str, command: str) -> bool:
    try:
        records.label(request_id, command)
    except LabelledBefore:
        return False
    return True


def test_of_many_labels_at_once_exactly_one_is_the_first(records: Records, tmp_path: Path) -> None:
    doors = [records, Records(tmp_path / RECORDS_FILE)]
    with ThreadPoolExecutor(8) as pool:
        for _ in range(20):
            request_id = store(records)
            won = list(pool.map(lambda i, r=request_id: label(doors[i % 2], r, f"command {i}"), range(8)))
            assert sum(won) == 1
            (stored,) = {row["true_command"] for row in rows_of(tmp_path) if row["request_id"] == request_id}
            assert stored == f"command {won.index(True)}"


def test_many_threads_lose_no_decision(records: Records, tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        stored = set(pool.map(lambda _: store(records), range(200)))
    assert {row["request_id"] for row in rows_of(tmp_path)} == stored


def test_a_database_that_stays_locked_is_an_error_and_stores_nothing(records: Records, tmp_path: Path) -> None:
    request_id = store(records)
    with sqlite3.connect(tmp_path / RECORDS_FILE, isolation_level=None) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(RecordsError, match="locked"):
            records.label(request_id, "left")
        other.execute("ROLLBACK")
    assert label(records, request_id, "left")
    assert len(rows_of(tmp_path)) == 1


def test_a_database_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RecordsError, match=RECORDS_FILE):
        Records(tmp_path / "file" / RECORDS_FILE)


def test_a_file_that_is_no_database_is_named(tmp_path: Path) -> None:
    (tmp_path / RECORDS_FILE).write_bytes(b"no database at all" * 1000)
    with pytest.raises(RecordsError, match=RECORDS_FILE):
        Records(tmp_path / RECORDS_FILE)


def _open_and_close(path: Path) -> str:
    Records(path).close()
    return "opened"


def test_workers_that_start_at_once_on_a_new_folder_all_open_the_records(tmp_path: Path) -> None:
    with ProcessPoolExecutor(4, mp_context=get_context("spawn")) as pool:
        list(pool.map(abs, range(8)))  # all of them have started
        for number in range(10):
            path = tmp_path / f"state{number}" / "records.sqlite3"
            assert list(pool.map(_open_and_close, [path] * 4)) == ["opened"] * 4


def test_records_of_an_older_evenvoice_are_refused_and_left_as_they_are(records: Records, tmp_path: Path) -> None:
    request_id = store(records)
    records.close()
    with sqlite3.connect(tmp_path / RECORDS_FILE) as connection:
        connection.execute("ALTER TABLE decisions DROP COLUMN replay")
    with pytest.raises(RecordsError, match="they have no replay; put the file aside"):
        Records(tmp_path / RECORDS_FILE)
    assert [row["request_id"] for row in rows_of(tmp_path)] == [request_id]
