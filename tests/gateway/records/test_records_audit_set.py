"""`evenvoice audit records`, through its entry point, on records that the gateway wrote, on both databases."""

from __future__ import annotations

import json
import stat
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
import soundfile
from databases import Database, store
from robot import Evenvoice, encoded

from gateway.records import Records
from gateway.records.audit_set import MANIFEST_FILE, SELECTION_FILE
from monitoring.audit import AuditReport
from recognizer.manifest import Manifest, load_manifest

DAY = timedelta(days=1)
BEGUN = datetime(2026, 3, 1, tzinfo=UTC)


@pytest.fixture(autouse=True)
def _as_the_server_is_told(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("EVENVOICE_STATE", raising=False)
    monkeypatch.setenv("EVENVOICE_RECORDS", database.url)


@pytest.fixture
def kept(tmp_path: Path) -> Path:
    """The folder of kept clips."""
    return tmp_path / "kept"


@pytest.fixture
def records(open_records: Callable[..., Records], kept: Path) -> Records:
    return open_records(audio=kept)


@pytest.fixture(scope="module")
def tones(tone_manifest: Path) -> Manifest:
    return load_manifest(tone_manifest)


def told(records: Records, path: Path, command: str | None = "go", **fields: object) -> str:
    """Store a decision on a clip, and its true command; the request id."""
    given = {"clip": path.read_bytes(), "media_type": "audio/wav", "received_at": BEGUN, "groups": {"accent": "north"}}
    request_id = store(records, **{**given, **fields})
    if command is not None:
        records.label(request_id, command)
    return request_id


def clip(folder: Path, seed: int) -> Path:
    """Half a second of noise, another one for each seed."""
    path = folder / f"{seed}.wav"
    path.write_bytes(encoded(np.random.default_rng(seed).normal(0, 0.1, 8000)))
    return path


def selection(out: Path) -> dict[str, object]:
    found: dict[str, object] = json.loads((out / SELECTION_FILE).read_text())
    return found


def test_the_set_goes_through_an_audit(
    records: Records, tones: Manifest, bundle: Path, evenvoice: Evenvoice, kept: Path, tmp_path: Path
) -> None:
    rows = tones.table.groupby(["speaker", "command"]).head(2).to_dict("records")
    for row in rows:
        groups = {a: row[a] for a in tones.attributes}
        told(records, Path(row["path"]), row["command"], speaker=f"s-{row['speaker']}", groups=groups)
    done = evenvoice("audit", "records", "--audio", kept, "--out", tmp_path / "set")
    assert (done.code, done.err) == (0, "")
    assert f"{len(rows)} of {len(rows)} decisions are in the set, of 12 speakers" in done.words
    built = load_manifest(tmp_path / "set" / MANIFEST_FILE)
    assert built.table["command"].value_counts().to_dict() == dict.fromkeys((*tones.commands, "unknown"), 24)
    assert set(built.table["split"]) == {"test"}

    def clips(table: object) -> set[tuple[str, ...]]:
        found = [{str(k): v for k, v in row.items()} for row in table]
        return {(r["command"], r["accent"], r["gender"], Path(r["path"]).read_bytes().hex()) for r in found}

    assert clips(built.table.to_dict("records")) == clips(rows)  # each with its own label and groups
    audited = evenvoice("audit", "run", "--bundle", bundle, "--manifest", tmp_path / "set" / MANIFEST_FILE,
                        "--defense", "none", "--min-speakers", "10", "--out", tmp_path / "audit")  # fmt: skip
    report = AuditReport.model_validate_json((tmp_path / "audit" / "audit.json").read_bytes())
    assert (report.clips, report.speakers, report.unheard) == (len(rows), 12, ()), audited


def test_nothing_in_the_set_names_a_speaker_or_a_request(
    records: Records, tmp_path: Path, evenvoice: Evenvoice, kept: Path
) -> None:
    ids = [told(records, clip(tmp_path, i), speaker="anna-17") for i in range(3)]
    assert evenvoice("audit", "records", "--audio", kept, "--out", tmp_path / "set").code == 0
    files = [p for p in (tmp_path / "set").rglob("*") if p.is_file()]
    assert len(files) == 5
    everything = " ".join(map(str, files)) + "".join(p.read_text(errors="replace") for p in files)
    for word in ("anna-17", *ids):
        assert word not in everything
    assert load_manifest(tmp_path / "set" / MANIFEST_FILE).table["speaker"].nunique() == 1
    assert stat.S_IMODE((tmp_path / "set").stat().st_mode) == 0o700


def test_pseudonyms_are_the_same_with_the_same_key_and_others_without_one(
    records: Records, tmp_path: Path, evenvoice: Evenvoice, kept: Path
) -> None:
    told(records, clip(tmp_path, 0), speaker="a")
    told(records, clip(tmp_path, 1), speaker="b")
    tables = []
    for name, key in (("one", "key"), ("two", "key"), ("three", None)):
        options = () if key is None else ("--key", tmp_path / key)
        assert evenvoice("audit", "records", "--audio", kept, "--out", tmp_path / name, *options).code == 0
        tables.append((tmp_path / name / MANIFEST_FILE).read_text())
    assert tables[0] == tables[1]
    assert not set(load_manifest(tmp_path / "three" / MANIFEST_FILE).table["speaker"]) & set(
        load_manifest(tmp_path / "one" / MANIFEST_FILE).table["speaker"]
    )
    assert stat.S_IMODE((tmp_path / "key").stat().st_mode) == 0o600


def test_it_says_of_each_group_what_is_missing(
    records: Records, tmp_path: Path, evenvoice: Evenvoice, kept: Path
) -> None:
    north, south = {"accent": "north"}, {"accent": "south"}
    told(records, clip(tmp_path, 0), groups=north)
    told(records, clip(tmp_path, 1), None, groups=north)
    told(records, clip(tmp_path, 2), groups=south, clip=None)
    told(records, clip(tmp_path, 3), None, groups=south, speaker=None)
    gone = told(records, clip(tmp_path, 4), groups=south)
    (kept / f"{gone}.wav").unlink()
    done = evenvoice("audit", "records", "--audio", kept, "--out", tmp_path / "set")
    assert "1 of 5 decisions are in the set, of 1 speakers" in done.words
    assert "WARNING: Labelled records are a selection" in done.words
    found = selection(tmp_path / "set")
    assert [found[f"without_{what}"] for what in ("speaker", "label", "audio")] == [1, 2, 2]
    columns = ("decisions", "without_speaker", "without_label", "without_audio", "taken")
    by_group = {count["group"]: [count[c] for c in columns] for count in found["groups"]}  # type: ignore[attr-defined]
    assert by_group == {"north": [2, 0, 1, 0, 1], "south": [3, 1, 1, 2, 0]}


def test_a_span_and_a_number_a_speaker_limit_the_set(
    records: Records, tmp_path: Path, evenvoice: Evenvoice, kept: Path
) -> None:
    for day in range(6):
        told(records, clip(tmp_path, day), received_at=BEGUN + day * DAY, speaker="a")
        told(records, clip(tmp_path, 10 + day), received_at=BEGUN + day * DAY, speaker="b")
    span = ("--since", "2026-03-02", "--until", "2026-03-06")
    arguments = ("audit", "records", "--audio", kept, "--out", tmp_path / "set", *span, "--clips-a-speaker", "3")
    assert evenvoice(*arguments).code == 0
    found = selection(tmp_path / "set")
    assert (found["decisions"], found["taken"], found["beyond_limit"]) == (8, 6, 2)
    table = load_manifest(tmp_path / "set" / MANIFEST_FILE).table
    assert sorted(table["speaker"].value_counts()) == [3, 3]
    within = {clip(tmp_path, seed + day).read_bytes() for seed in (0, 10) for day in range(1, 5)}
    assert {Path(p).read_bytes() for p in table["path"]} < within


def test_a_speaker_whose_group_changed_is_in_the_newest_one(
    records: Records, tmp_path: Path, evenvoice: Evenvoice, kept: Path
) -> None:
    """An audit refuses a speaker in two groups."""
    for day, accent in ((1, "south"), (0, "undeclared"), (2, "north")):
        told(records, clip(tmp_path, day), received_at=BEGUN + day * DAY, groups={"accent": accent})
    done = evenvoice("audit", "records", "--audio", kept, "--out", tmp_path / "set")
    assert "1 speakers changed their group; the set has the newest one" in done.words
    assert list(load_manifest(tmp_path / "set" / MANIFEST_FILE).table["accent"]) == ["north"] * 3


def test_the_same_bytes_are_in_the_set_once(records: Records, tmp_path: Path, evenvoice: Evenvoice, kept: Path) -> None:
    """A robot that asked again sent the same clip; an audit refuses a clip that it has twice."""
    for _ in range(3):
        told(records, clip(tmp_path, 0))
    assert evenvoice("audit", "records", "--audio", kept, "--out", tmp_path / "set").code == 0
    assert (selection(tmp_path / "set")["taken"], selection(tmp_path / "set")["repeated"]) == (1, 2)


def test_bare_samples_become_a_file_with_the_same_samples(
    records: Records, tmp_path: Path, evenvoice: Evenvoice, kept: Path
) -> None:
    samples = np.random.default_rng(0).integers(-20_000, 20_000, (4000, 2), dtype=np.int16)
    bare = samples.astype(">i2").tobytes()
    told(records, clip(tmp_path, 0), clip=bare, media_type="audio/L16;rate=44100;channels=2")
    told(records, clip(tmp_path, 0), clip=bare + b"x", media_type="audio/L16;rate=44100;channels=2")  # damaged
    assert evenvoice("audit", "records", "--audio", kept, "--out", tmp_path / "set").code == 0
    (path,) = load_manifest(tmp_path / "set" / MANIFEST_FILE).table["path"]
    found, rate = soundfile.read(path, dtype="int16")
    assert rate == 44100
    np.testing.assert_array_equal(found, samples)
    assert selection(tmp_path / "set")["without_audio"] == 1


def test_attributes_of_ones_own_are_named_in_what_to_do_next(
    records: Records, tmp_path: Path, evenvoice: Evenvoice, kept: Path
) -> None:
    told(records, clip(tmp_path, 0), groups={"accent": "north", "shift": "night"})
    told(records, clip(tmp_path, 1), groups={"accent": "north"}, speaker="another")
    done = evenvoice("audit", "records", "--audio", kept, "--out", tmp_path / "set")
    assert done.words.endswith("--attributes accent,shift")
    table = load_manifest(tmp_path / "set" / MANIFEST_FILE, attributes=["accent", "shift"]).table
    assert sorted(table["shift"]) == ["night", "undeclared"]


def test_records_without_anything_to_take_are_one_line_and_leave_nothing(
    records: Records, tmp_path: Path, evenvoice: Evenvoice, kept: Path
) -> None:
    told(records, clip(tmp_path, 0), None)
    done = evenvoice("audit", "records", "--audio", kept, "--out", tmp_path / "set")
    assert done.code != 0
    assert "of 1 decisions none has a speaker, a label and audio together (0 without a speaker, 1 without" in done.err
    assert not list(tmp_path.glob("set*"))


def test_a_folder_that_holds_something_is_not_written_into(
    records: Records, tmp_path: Path, evenvoice: Evenvoice, kept: Path
) -> None:
    told(records, clip(tmp_path, 0))
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "mine").touch()
    done = evenvoice("audit", "records", "--audio", kept, "--out", tmp_path / "set")
    assert done.code != 0
    assert "is there and not empty" in done.err
    assert [p.name for p in (tmp_path / "set").iterdir()] == ["mine"]


def test_records_of_a_url_are_read(
    records: Records,
    database: Database,
    tmp_path: Path,
    evenvoice: Evenvoice,
    kept: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    told(records, clip(tmp_path, 0))
    monkeypatch.delenv("EVENVOICE_RECORDS")
    done = evenvoice("audit", "records", "--records", database.url, "--audio", kept, "--out", tmp_path / "set")
    assert (done.code, done.err) == (0, "")
    assert (tmp_path / "set" / MANIFEST_FILE).is_file()
