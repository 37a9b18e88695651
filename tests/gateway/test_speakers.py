"""The register of speakers: a closed vocabulary, and errors that name the line."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.speakers import Register, RegisterError, UnknownSpeaker, load_register

VOCABULARY = {"accent": ("north", "south"), "gender": ("female", "male")}


def load(folder: Path, text: str | bytes) -> Register:
    path = folder / "speakers.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return load_register(path, VOCABULARY)


def test_groups_are_trimmed_and_lower_cased(tmp_path: Path) -> None:
    register = load(tmp_path, 'speaker,accent,gender\na1," NORTH ",Female\n')
    assert register.groups("a1") == {"accent": "north", "gender": "female"}


@pytest.mark.parametrize(
    ("cell", "group"),
    [("west", "other"), ("north; DROP TABLE", "other"), ("other", "other"), ("", "undeclared"), ("  ", "undeclared"),
     ("undeclared", "undeclared")],
)  # fmt: skip
def test_free_text_never_becomes_a_group(tmp_path: Path, cell: str, group: str) -> None:
    assert load(tmp_path, f"speaker,accent\na1,{cell}\n").groups("a1")["accent"] == group


def test_an_attribute_without_a_column_or_a_cell_is_undeclared(tmp_path: Path) -> None:
    register = load(tmp_path, "speaker,accent\na1,north\na2\n")
    assert register.groups("a1") == {"accent": "north", "gender": "undeclared"}
    assert register.groups("a2") == {"accent": "undeclared", "gender": "undeclared"}


def test_columns_outside_the_vocabulary_are_left_out(tmp_path: Path) -> None:
    assert set(load(tmp_path, "name,speaker,accent\nAnn,a1,north\n").groups("a1")) == set(VOCABULARY)


def test_nobody_in_particular_is_undeclared_everywhere(tmp_path: Path) -> None:
    nobody = {"accent": "undeclared", "gender": "undeclared"}
    assert load(tmp_path, "speaker,accent\na1,north\n").groups(None) == nobody
    assert load_register(None, VOCABULARY).groups(None) == nobody


@pytest.mark.parametrize("speaker", ["a2", "A1", "a1 ", "", "speaker"])
def test_a_speaker_who_is_not_there_is_unknown_and_not_repeated_back(tmp_path: Path, speaker: str) -> None:
    register = load(tmp_path, "speaker,accent\na1,north\n")
    with pytest.raises(UnknownSpeaker, match="not in the register"):
        register.groups(speaker)


def test_without_a_register_every_id_is_unknown() -> None:
    with pytest.raises(UnknownSpeaker):
        load_register(None, VOCABULARY).groups("a1")


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


@pytest.mark.parametrize("name", ["absent.csv", "."])
def test_a_register_that_cannot_be_opened_is_named(tmp_path: Path, name: str) -> None:
    with pytest.raises(RegisterError, match=r"can't be read: (No such file|Is a directory)"):
        load_register(tmp_path / name, VOCABULARY)


def test_a_byte_order_mark_of_a_spreadsheet_does_not_hide_the_column(tmp_path: Path) -> None:
    assert load(tmp_path, b"\xef\xbb\xbfspeaker,accent\na1,north\n").groups("a1")["accent"] == "north"


@given(st.text())
def test_whatever_a_cell_holds_the_group_is_in_the_vocabulary(cell: str) -> None:
    from recognizer.groups import group_in

    assert group_in(VOCABULARY, "accent", cell) in {"north", "south", "other", "undeclared"}
