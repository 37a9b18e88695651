"""The register of speakers: a closed vocabulary, and errors that name the line."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.speakers import FileRegister, ReadOnlyRegister, Register, RegisterError, UnknownSpeaker, load_register

VOCABULARY = {"accent": ("north", "south"), "gender": ("female", "male")}


def load(folder: Path, text: str | bytes) -> FileRegister:
    path = folder / "speakers.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return load_register(path, VOCABULARY)


def test_groups_are_trimmed_and_lower_cased(tmp_path: Path) -> None:
    register = load(tmp_path, 'speaker,accent,gender\na1," NORTH ",Female\n')
    assert register.groups("a1", VOCABULARY) == {"accent": "north", "gender": "female"}


@pytest.mark.parametrize(
    ("cell", "group"),
    [("west", "other"), ("north; DROP TABLE", "other"), ("other", "other"), ("", "undeclared"), ("  ", "undeclared"),
     ("undeclared", "undeclared")],
)  # fmt: skip
def test_free_text_never_becomes_a_group(tmp_path: Path, cell: str, group: str) -> None:
    assert load(tmp_path, f"speaker,accent\na1,{cell}\n").groups("a1", VOCABULARY)["accent"] == group


def test_an_attribute_without_a_column_or_a_cell_is_undeclared(tmp_path: Path) -> None:
    register = load(tmp_path, "speaker,accent\na1,north\na2\n")
    assert register.groups("a1", VOCABULARY) == {"accent": "north", "gender": "undeclared"}
    assert register.groups("a2", VOCABULARY) == {"accent": "undeclared", "gender": "undeclared"}


def test_columns_outside_the_vocabulary_are_left_out(tmp_path: Path) -> None:
    assert set(load(tmp_path, "name,speaker,accent\nAnn,a1,north\n").groups("a1", VOCABULARY)) == set(VOCABULARY)


def test_nobody_in_particular_is_undeclared_everywhere(tmp_path: Path) -> None:
    nobody = {"accent": "undeclared", "gender": "undeclared"}
    assert load(tmp_path, "speaker,accent\na1,north\n").groups(None, VOCABULARY) == nobody
    assert load_register(None, VOCABULARY).groups(None, VOCABULARY) == nobody


@pytest.mark.parametrize("speaker", ["a2", "A1", "a1 ", "", "speaker"])
def test_a_speaker_who_is_not_there_is_unknown_and_not_repeated_back(tmp_path: Path, speaker: str) -> None:
    register = load(tmp_path, "speaker,accent\na1,north\n")
    with pytest.raises(UnknownSpeaker, match="not in the register"):
        register.groups(speaker, VOCABULARY)


def test_without_a_register_every_id_is_unknown() -> None:
    with pytest.raises(UnknownSpeaker):
        load_register(None, VOCABULARY).groups("a1", VOCABULARY)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("speaker,accent\na1,north\na1,south\n", "line 3: the speaker 'a1'"),
        ("speaker,accent\na1,north\n a1 ,south\n", "line 3: the speaker 'a1'"),
        ("speaker,accent\na1,north\n,south\n", "line 3: the speaker ''"),
        ("speaker,accent\n  ,north\n", "line 2"),
        ('speaker,accent\na1,"two\nlines"\na1,north\n', "line 4"),
        ("name,accent\na1,north\n", "no column `speaker`"),
        ("", "no column `speaker`"),
        ("Speaker,accent\na1,north\n", "no column `speaker`"),
        (b"speaker,accent\n\xff\xfe,north\n", "no CSV text"),
        (b"speaker,accent\n\"" + b"a" * 200_000 + b"\",north\n", "no CSV text"),
    ],
)  # fmt: skip
def test_a_register_that_is_not_right_is_refused_with_its_line(tmp_path: Path, text: str | bytes, words: str) -> None:
    with pytest.raises(RegisterError, match=words.replace("(", r"\(")) as caught:
        load(tmp_path, text)
    assert "speakers.csv" in str(caught.value)


@pytest.mark.parametrize("speaker", ["Ann Smith", "a/b", "ä", "a" * 65])
def test_an_id_that_tells_whose_it_is_or_is_none_is_refused_with_its_line(tmp_path: Path, speaker: str) -> None:
    with pytest.raises(RegisterError, match=r"line 3: the speaker .* is no id; 1 to 64 of A-Z"):
        load(tmp_path, f"speaker,accent\na1,north\n{speaker},south\n")


def test_a_value_that_is_too_long_is_refused_with_its_line(tmp_path: Path) -> None:
    with pytest.raises(RegisterError, match="line 2: accent can't be stored; at most 64"):
        load(tmp_path, f"speaker,accent\na1,{'n' * 65}\n")


def test_what_was_declared_is_read_anew_by_another_bundles_vocabulary(tmp_path: Path) -> None:
    register = load(tmp_path, "speaker,accent\na1,West\n")
    assert register.groups("a1", VOCABULARY)["accent"] == "other"
    assert register.groups("a1", {"accent": ("west",)}) == {"accent": "west"}


def test_a_file_is_listed_page_by_page_and_never_written(tmp_path: Path) -> None:
    register: Register = load(tmp_path, "speaker,accent\nb,\na,North\nc,south\n")
    assert [(e.speaker, e.declared, e.enrolled_at) for e in register.list(limit=2)] == [
        ("a", {"accent": "north"}, None), ("b", {}, None),
    ]  # fmt: skip
    assert [entry.speaker for entry in register.list(after="b")] == ["c"]
    for write in (
        lambda: register.enrol("d", {}, VOCABULARY),
        lambda: register.change("a", {}, VOCABULARY),
        lambda: register.erase("a"),
    ):
        with pytest.raises(ReadOnlyRegister, match="edit the file"):
            write()
    assert (tmp_path / "speakers.csv").read_text() == "speaker,accent\nb,\na,North\nc,south\n"


@pytest.mark.parametrize("name", ["absent.csv", "."])
def test_a_register_that_cannot_be_opened_is_named(tmp_path: Path, name: str) -> None:
    with pytest.raises(RegisterError, match=r"can't be read: (No such file|Is a directory)"):
        load_register(tmp_path / name, VOCABULARY)


def test_a_byte_order_mark_of_a_spreadsheet_does_not_hide_the_column(tmp_path: Path) -> None:
    assert load(tmp_path, b"\xef\xbb\xbfspeaker,accent\na1,north\n").groups("a1", VOCABULARY)["accent"] == "north"


@given(st.text())
def test_whatever_a_cell_holds_the_group_is_in_the_vocabulary(cell: str) -> None:
    from recognizer.groups import group_in

    assert group_in(VOCABULARY, "accent", cell) in {"north", "south", "other", "undeclared"}
