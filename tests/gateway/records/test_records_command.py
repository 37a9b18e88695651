"""`evenvoice records` and `evenvoice speakers`, through their entry point, on both databases."""

from __future__ import annotations

import csv
import io
import json
import re
import stat
import tracemalloc
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq
import pytest
import sqlalchemy as sa
from databases import ACCEPTED, COMBINED, GROUPS, RECEIVED, Database, claim_of, entry_of, late, put, soon, store
from robot import Evenvoice

from gateway.records import Records, migrate
from gateway.records.export import export
from gateway.speakers import Erased


@pytest.fixture(autouse=True)
def _as_the_server_is_told(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """SQLite by the state folder, PostgreSQL by its URL."""
    monkeypatch.delenv("EVENVOICE_RECORDS", raising=False)
    if database.file is not None:
        monkeypatch.setenv("EVENVOICE_STATE", str(database.file.parent))
    else:
        monkeypatch.setenv("EVENVOICE_RECORDS", database.url)


def test_an_export_to_parquet_holds_every_decision_with_a_column_an_attribute(
    records: Records, evenvoice: Evenvoice, tmp_path: Path
) -> None:
    first = store(records)
    second = store(records, COMBINED, groups={"age": "teens"}, speaker=None, received_at=RECEIVED + timedelta(hours=1))
    records.label(first, "right")
    done = evenvoice("records", "export", tmp_path / "out.parquet")
    assert (done.code, done.err) == (0, "")
    assert "wrote 2 decisions" in done.words
    table = pq.read_table(tmp_path / "out.parquet").to_pydict()
    assert table["request_id"] == [first, second]
    assert table["received_at"] == [RECEIVED, RECEIVED + timedelta(hours=1)]
    assert table["group_accent"] == ["north", None]
    assert table["group_gender"] == ["undeclared", None]
    assert table["group_age"] == [None, "teens"]
    assert table["true_command"] == ["right", None]
    assert table["seed"] == [2**62 - 1] * 2
    assert table["confidence"] == [0.75, 0.75]
    assert table["parts"][0] is None
    assert [part["defense"] for part in json.loads(table["parts"][1])] == ["neural_rejection", "smoothing"]
    assert stat.S_IMODE((tmp_path / "out.parquet").stat().st_mode) == 0o600
    assert not list(tmp_path.glob("*.part"))


def test_an_export_to_csv_says_the_same(records: Records, evenvoice: Evenvoice, tmp_path: Path) -> None:
    request_id = store(records)
    assert evenvoice("records", "export", tmp_path / "out.csv").code == 0
    with (tmp_path / "out.csv").open(newline="") as file:
        (row,) = csv.DictReader(file)
    assert (row["request_id"], row["command"], row["group_accent"]) == (request_id, "left", GROUPS["accent"])
    assert datetime.fromisoformat(row["received_at"].replace("Z", "+00:00")) == RECEIVED


def test_an_export_takes_what_was_received_from_since_to_before_until(
    records: Records, evenvoice: Evenvoice, tmp_path: Path
) -> None:
    days = [datetime(2026, 3, day, tzinfo=UTC) for day in (1, 2, 3, 4)]
    ids = [store(records, received_at=day) for day in days]
    arguments = ("--since", "2026-03-02", "--until", "2026-03-04T00:00")
    assert evenvoice("records", "export", tmp_path / "out.parquet", *arguments).code == 0
    assert list(pd.read_parquet(tmp_path / "out.parquet")["request_id"]) == ids[1:3]


def test_an_export_of_nothing_is_an_empty_table(records: Records, evenvoice: Evenvoice, tmp_path: Path) -> None:
    assert records
    assert evenvoice("records", "export", tmp_path / "out.parquet").code == 0
    assert len(pd.read_parquet(tmp_path / "out.parquet")) == 0


@pytest.mark.parametrize("name", ["out.xlsx", "out", "absent/out.csv"])
def test_an_export_that_cannot_be_written_is_one_line(
    records: Records, evenvoice: Evenvoice, tmp_path: Path, name: str
) -> None:
    store(records)
    done = evenvoice("records", "export", tmp_path / name)
    assert done.code == 1
    assert re.fullmatch(r"evenvoice: [^\n]*\n", done.err)
    assert not (tmp_path / name).exists()


def test_a_large_export_is_never_in_memory_at_once(records: Records, database: Database, tmp_path: Path) -> None:
    copies = 4_000
    store(records)
    if database.is_sqlite:
        numbers = f"WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c WHERE n < {copies}) SELECT n FROM c"
    else:
        numbers = f"SELECT n FROM generate_series(1, {copies}) AS series(n)"
    columns = ", ".join(f"d.{name}" for name in database.rows()[0] if name != "request_id")
    database.run(f"INSERT INTO decisions SELECT 'copy-' || n, {columns} FROM decisions AS d, ({numbers}) AS numbers")
    engine = sa.create_engine(database.url)
    peaks = []
    for chunk in (100, copies + 1):
        tracemalloc.start()
        assert export(engine, tmp_path / "out.parquet", chunk=chunk) == copies + 1
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    engine.dispose()
    assert peaks[0] < peaks[1] / 8
    assert pq.ParquetFile(tmp_path / "out.parquet").metadata.num_rows == copies + 1


def test_a_speaker_is_erased_from_every_table_and_file(
    open_records: Callable[..., Records], database: Database, evenvoice: Evenvoice, tmp_path: Path
) -> None:
    records = open_records(audio=tmp_path / "audio")
    records.register().enrol("gone-for-good", {}, {})
    put(records, entry_of(speaker="gone-for-good", clip=b"RIFF"), claim_of("key"))
    kept = store(records, speaker="a2")
    refused = evenvoice("records", "erase", "--speaker", "gone-for-good", "--yes")
    assert refused.code == 1
    assert "clips were kept with these decisions" in refused.err
    done = evenvoice("records", "erase", "--speaker", "gone-for-good", "--yes", "--audio", tmp_path / "audio")
    assert "erased 1 decisions, 1 stored answers, 1 clips" in done.words
    assert [row["request_id"] for row in database.rows()] == [kept]
    assert database.rows("speakers") == database.rows("answers") == []
    assert list((tmp_path / "audio").iterdir()) == []
    if database.file is not None:  # not a byte of it is left, in the database or in its log
        for path in database.file.parent.iterdir():
            assert b"gone-for-good" not in path.read_bytes(), path
        assert b"a2" in database.file.read_bytes()


def test_nothing_is_erased_before_the_question_is_answered(
    records: Records, database: Database, evenvoice: Evenvoice, monkeypatch: pytest.MonkeyPatch
) -> None:
    store(records, speaker="a1")
    for answer, code, left in (("", 130, 1), ("n\n", 130, 1), ("y\n", 0, 0)):
        monkeypatch.setattr("sys.stdin", io.StringIO(answer))
        assert evenvoice("records", "erase", "--speaker", "a1").code == code
        assert len(database.rows()) == left


def test_a_speaker_of_whom_nothing_is_stored_is_said_to_be_unknown(records: Records, evenvoice: Evenvoice) -> None:
    store(records)
    done = evenvoice("records", "erase", "--speaker", "a9", "--yes")
    assert done.code == 1
    assert "not in the register" in done.err


def test_what_is_older_than_the_days_to_keep_is_erased(
    open_records: Callable[..., Records], database: Database, evenvoice: Evenvoice, tmp_path: Path
) -> None:
    records = open_records(audio=tmp_path / "audio")
    now = datetime.now(UTC)
    old = [entry_of(received_at=now - timedelta(days=d), clip=b"RIFF") for d in (31, 400)]
    new = [entry_of(received_at=now - timedelta(days=d), clip=b"RIFF") for d in (0, 29)]
    for entry in (*old, *new):
        put(records, entry, claim_of(entry.request_id))
    done = evenvoice("records", "retain", "--days", "30", "--audio", tmp_path / "audio")
    assert "erased 2 decisions, 2 stored answers, 2 clips" in done.words
    kept = {entry.request_id for entry in new}
    assert {row["request_id"] for row in database.rows()} == kept
    assert {row["request_id"] for row in database.rows("answers")} == kept
    assert {path.stem for path in (tmp_path / "audio").iterdir()} == kept
    assert "erased 0 decisions" in evenvoice("records", "retain", "--days", "30", "--audio", tmp_path / "audio").words


def test_records_can_be_erased_while_they_are_written(
    open_records: Callable[..., Records], database: Database, evenvoice: Evenvoice
) -> None:
    records = open_records(busy_seconds=120)
    long_ago = datetime.now(UTC) - timedelta(days=99)
    futures = [records.add(entry_of(received_at=long_ago), until=soon(), late=late) for _ in range(600)]
    for future in futures:
        future.result(timeout=60)
    fresh = [records.add(entry_of(received_at=datetime.now(UTC)), until=soon(), late=late) for _ in range(600)]
    done = evenvoice("records", "retain", "--days", "30")
    assert "erased 600 decisions" in done.words
    assert all(future.result(timeout=60).decision == ACCEPTED for future in fresh)  # type: ignore[union-attr]
    assert len(database.rows()) == 600


def test_records_that_are_not_there_are_named(database: Database, evenvoice: Evenvoice, tmp_path: Path) -> None:
    done = evenvoice("records", "export", tmp_path / "out.csv")
    assert done.code == 1
    assert ("no records at" if database.is_sqlite else "not begun yet") in done.err
    assert evenvoice("records", "migrate").code == 0
    assert evenvoice("records", "export", tmp_path / "out.csv").code == 0


def test_a_register_is_imported_and_listed(
    database: Database, evenvoice: Evenvoice, bundle: Path, tmp_path: Path
) -> None:
    register = tmp_path / "people.csv"
    register.write_text("speaker,name,accent,gender\nb,Bo, North ,\na,Ann,west,female\n")
    done = evenvoice("speakers", "import", register, "--bundle", bundle)
    assert (done.err, done.words) == ("", "enrolled 2 speakers, changed 0")
    register.write_text("speaker,accent\nb,south\nc,\n")
    assert evenvoice("speakers", "import", register, "--bundle", bundle).words == "enrolled 1 speakers, changed 1"
    lines = [json.loads(line) for line in evenvoice("speakers", "list").out.splitlines()]
    assert [(line["speaker"], line["declared"]) for line in lines] == [
        ("a", {"accent": "west", "gender": "female"}), ("b", {"accent": "south"}), ("c", {}),
    ]  # fmt: skip
    assert all(datetime.fromisoformat(line["enrolled_at"]).tzinfo for line in lines)
    assert "Ann" not in str(database.rows("speakers"))


def test_a_register_with_a_bad_line_is_not_imported_at_all(
    database: Database, evenvoice: Evenvoice, bundle: Path, tmp_path: Path
) -> None:
    migrate(database.url)
    register = tmp_path / "people.csv"
    register.write_text("speaker,accent\na,north\nAnn Smith,north\n")
    done = evenvoice("speakers", "import", register, "--bundle", bundle)
    assert done.code == 1
    assert "line 3" in done.err
    assert database.rows("speakers") == []


def test_what_was_erased_adds_up() -> None:
    assert Erased(1, 2, 3) + Erased(10, 20, 30) == Erased(11, 22, 33)
