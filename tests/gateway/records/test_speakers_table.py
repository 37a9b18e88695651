"""The register as a table: what holds for the file holds here, and it can be written."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import pytest
from databases import Database, claim_of, entry_of, late, put, soon, store

from gateway.records import Records, RecordsError, TableRegister, migrate
from gateway.speakers import AlreadyEnrolled, Enrolled, Erased, Register, RegisterError, UnknownSpeaker

VOCABULARY = {"accent": ("north", "south"), "age": ("teens", "twenties"), "gender": ("female", "male")}
NOBODY = {"accent": "undeclared", "age": "undeclared", "gender": "undeclared"}


@pytest.fixture
def register(records: Records) -> TableRegister:
    return records.register()


def test_what_was_declared_is_kept_trimmed_and_becomes_groups_by_the_vocabulary(
    register: TableRegister, database: Database
) -> None:
    before = datetime.now(UTC)
    entry = register.enrol("a1", {"accent": " WEST  coast ", "age": "23", "gender": ""}, VOCABULARY)
    assert entry.declared == {"accent": "west coast", "age": "23"}
    assert register.get("a1") == entry
    assert entry.enrolled_at is not None
    assert before <= entry.enrolled_at <= datetime.now(UTC)
    assert register.groups("a1", VOCABULARY) == {"accent": "other", "age": "twenties", "gender": "undeclared"}
    assert register.groups("a1", {"accent": ("west coast",)}) == {"accent": "west coast"}  # of another bundle
    assert len(database.rows("speakers")) == 1


def test_nobody_in_particular_is_undeclared_everywhere(register: TableRegister) -> None:
    assert register.groups(None, VOCABULARY) == NOBODY


@pytest.mark.parametrize("speaker", ["a2", "A1", "a1 ", "", "' OR 1=1 --", "a\0"])
def test_a_speaker_who_is_not_there_is_unknown_and_not_repeated_back(register: TableRegister, speaker: str) -> None:
    register.enrol("a1", {}, VOCABULARY)
    for ask in (
        lambda: register.groups(speaker, VOCABULARY),
        lambda: register.get(speaker),
        lambda: register.change(speaker, {}, VOCABULARY),
        lambda: register.erase(speaker),
    ):
        with pytest.raises(UnknownSpeaker, match=r"^this speaker is not in the register"):
            ask()


@pytest.mark.parametrize("speaker", ["", " ", "a b", "a" * 65, "ä", "a/b", "a\n", "a\0", "Ann Smith"])
def test_an_id_that_is_none_cannot_be_enrolled(register: TableRegister, database: Database, speaker: str) -> None:
    with pytest.raises(RegisterError, match="is no id; 1 to 64 of"):
        register.enrol(speaker, {}, VOCABULARY)
    assert database.rows("speakers") == []


@pytest.mark.parametrize("speaker", ["a", "a" * 64, "A.b_c-9", "-", "."])
def test_any_opaque_id_can_be_enrolled(register: TableRegister, speaker: str) -> None:
    register.enrol(speaker, {}, VOCABULARY)
    assert register.groups(speaker, VOCABULARY) == NOBODY


@pytest.mark.parametrize(
    ("declared", "words"),
    [({"shoe": "42"}, "'shoe' is no attribute; known are accent, age, gender"), ({"accent": "n" * 65}, "at most 64"),
     ({"accent": "a\0b"}, "at most 64 characters of text")],
)  # fmt: skip
def test_what_cannot_be_declared_is_refused(register: TableRegister, declared: dict[str, str], words: str) -> None:
    register.enrol("a1", {"accent": "north"}, VOCABULARY)
    for write in (register.enrol, register.change):
        with pytest.raises(RegisterError, match=words):
            write("a1", declared, VOCABULARY)
    assert register.get("a1").declared == {"accent": "north"}


def test_a_speaker_is_enrolled_once_whoever_is_asked_first(open_records: Callable[..., Records]) -> None:
    doors = [open_records().register(), open_records().register()]

    def enrol(number: int) -> bool:
        try:
            doors[number % 2].enrol("a1", {"accent": f"accent {number}"}, VOCABULARY)
        except AlreadyEnrolled:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        won = list(pool.map(enrol, range(8)))
    assert sum(won) == 1
    assert doors[0].get("a1").declared == {"accent": f"accent {won.index(True)}"}


def test_a_change_holds_at_once_in_every_process_and_keeps_when_the_speaker_came(
    open_records: Callable[..., Records],
) -> None:
    here, there = open_records().register(), open_records().register()
    first = here.enrol("a1", {"accent": "north", "gender": "male"}, VOCABULARY)
    assert there.groups("a1", VOCABULARY)["accent"] == "north"
    changed = here.change("a1", {"accent": "south"}, VOCABULARY)
    assert there.groups("a1", VOCABULARY) == {**NOBODY, "accent": "south"}
    assert changed.enrolled_at == first.enrolled_at
    assert changed.changed_at is not None
    assert first.changed_at is not None
    assert changed.changed_at > first.changed_at


def test_the_register_is_listed_page_by_page_in_order(register: TableRegister) -> None:
    ids = [f"s-{number:02d}" for number in range(25)]
    for speaker in reversed(ids):
        register.enrol(speaker, {}, VOCABULARY)
    pages: list[list[str]] = []
    after = ""
    while page := register.list(after=after, limit=10):
        pages.append([entry.speaker for entry in page])
        after = pages[-1][-1]
    assert pages == [ids[:10], ids[10:20], ids[20:]]


def test_an_erasure_takes_all_that_is_stored_and_holds_at_once_in_every_process(
    open_records: Callable[..., Records], database: Database, tmp_path: Path
) -> None:
    audio = tmp_path / "audio"
    records, other = open_records(audio=audio), open_records(audio=audio)
    register = records.register()
    for speaker in ("a1", "a2"):
        register.enrol(speaker, {"accent": "north"}, VOCABULARY)
        put(records, entry_of(speaker=speaker, clip=b"RIFF", media_type="audio/wav"), claim_of(speaker))
        store(records, speaker=speaker)
    store(records, speaker=None)
    assert register.erase("a1") == Erased(decisions=2, answers=1, clips=1, uncounted=2)
    with pytest.raises(UnknownSpeaker):
        other.register().groups("a1", VOCABULARY)
    assert other.earlier("a1") is None
    assert other.earlier("a2") is not None
    assert sorted(str(row["speaker"]) for row in database.rows()) == ["None", "a2", "a2"]
    assert len(list(audio.iterdir())) == 1
    with pytest.raises(UnknownSpeaker):
        register.erase("a1")
    register.enrol("a1", {}, VOCABULARY)
    assert register.groups("a1", VOCABULARY) == NOBODY


def test_nothing_of_an_erased_speaker_is_left_in_sqlites_files(sqlite: Database) -> None:
    assert sqlite.file is not None
    migrate(sqlite.url)
    records = Records(sqlite.url)
    records.register().enrol("whose-id-this-is", {}, VOCABULARY)
    store(records, speaker="whose-id-this-is")
    files = {path.name: path for path in sqlite.file.parent.iterdir()}
    assert b"whose-id-this-is" in files[f"{sqlite.file.name}-wal"].read_bytes()
    records.register().erase("whose-id-this-is")
    assert [name for name, path in files.items() if b"whose-id-this-is" in path.read_bytes()] == []
    records.close()


def test_more_decisions_than_fit_into_one_transaction_are_erased(
    open_records: Callable[..., Records], database: Database
) -> None:
    records = open_records(busy_seconds=120)
    futures = [records.add(entry_of(speaker="a1"), until=soon(), late=late) for _ in range(1203)]
    for future in futures:
        future.result(timeout=60)
    store(records, speaker="a2")
    assert records.register().erase("a1") == Erased(decisions=1203, uncounted=1203)
    assert [row["speaker"] for row in database.rows()] == ["a2"]


def test_many_speakers_are_put_in_at_once_or_not_at_all(register: TableRegister, database: Database) -> None:
    register.enrol("a1", {"accent": "north"}, VOCABULARY)
    assert register.put([Enrolled("a1", {"accent": "south"}), Enrolled("a2", {}), Enrolled("a3", {})]) == (2, 1)
    assert register.get("a1").declared == {"accent": "south"}

    def broken() -> object:
        yield Enrolled("a4", {})
        raise OSError("the file is gone")

    with pytest.raises(RecordsError):
        register.put(broken())  # type: ignore[arg-type]
    assert len(database.rows("speakers")) == 3


def test_a_table_is_a_register(register: TableRegister) -> None:
    served: Register = register  # what mypy checks of the protocol
    assert served.groups(None, VOCABULARY) == NOBODY
