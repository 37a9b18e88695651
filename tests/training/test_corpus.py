"""Writing a corpus, and saying who is in it."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
from rich.console import Console

from recognizer.manifest import Manifest, ManifestError, load_manifest
from training.corpora.cleaning import Cleaning
from training.corpora.corpus import Corpus, Count, describe, write
from training.corpora.rendering import render, render_report

ROWS = [
    ("yes", "ann", "train", "irish", "female"),
    ("no", "ann", "train", "irish", "female"),
    ("yes", "bob", "train", "welsh", "male"),
    ("yes", "cat", "validation", "irish", "undeclared"),
    ("yes", "dan", "test", "irish", "male"),
    ("no", "eve", "test", "welsh", "female"),
    ("unknown", "eve", "test", "welsh", "female"),
    ("no", "flo", "test", "undeclared", "female"),
    ("no", "gus", "test", "welsh", "male"),
]


@pytest.fixture
def corpus(tmp_path: Path) -> Corpus:
    """Nine clips in `corpus/audio`, one of them outside the folder."""
    table = pd.DataFrame(ROWS, columns=["command", "speaker", "split", "accent", "gender"])
    (tmp_path / "corpus" / "audio").mkdir(parents=True)
    clips = [tmp_path / "corpus" / "audio" / f"{i}.wav" for i in range(8)] + [tmp_path / "elsewhere.wav"]
    for clip in clips:
        clip.write_bytes(b"RIFF")
    table.insert(0, "path", [str(c) for c in clips])
    return Corpus(
        Manifest(table, ("accent", "gender")), (Cleaning("age", "1234", "undeclared", 1),), ("[3] clips were left out",)
    )


@pytest.mark.parametrize("name", ["manifest.csv", "manifest.parquet"])
def test_a_written_manifest_loads_again(corpus: Corpus, tmp_path: Path, name: str) -> None:
    write(corpus, tmp_path / "corpus" / name)
    loaded = load_manifest(tmp_path / "corpus" / name)
    pd.testing.assert_frame_equal(loaded.table, corpus.manifest.table, check_dtype=False)
    assert loaded.attributes == ("accent", "gender")


def test_clips_in_the_manifests_folder_move_with_it(corpus: Corpus, tmp_path: Path) -> None:
    write(corpus, tmp_path / "corpus" / "manifest.csv")
    written = pd.read_csv(tmp_path / "corpus" / "manifest.csv")["path"].tolist()
    assert written == [*(f"audio/{i}.wav" for i in range(8)), str(tmp_path / "elsewhere.wav")]
    (tmp_path / "corpus").rename(tmp_path / "moved")
    loaded = load_manifest(tmp_path / "moved" / "manifest.csv")
    assert loaded.table["path"][0] == str(tmp_path / "moved" / "audio" / "0.wav")


def test_clips_speakers_commands_and_groups_are_counted(corpus: Corpus) -> None:
    description = describe(corpus.manifest)
    assert description.splits == {"train": Count(3, 2), "validation": Count(1, 1), "test": Count(5, 4)}
    assert description.commands == {
        "no": {"train": 1, "validation": 0, "test": 3},
        "unknown": {"train": 0, "validation": 0, "test": 1},
        "yes": {"train": 2, "validation": 1, "test": 1},
    }
    assert description.groups["accent"] == {
        "irish": {"train": Count(2, 1), "validation": Count(1, 1), "test": Count(1, 1)},
        "undeclared": {"test": Count(1, 1)},
        "welsh": {"train": Count(1, 1), "test": Count(3, 2)},
    }
    assert list(description.groups) == ["accent", "gender"]


def test_intersections_leave_out_the_undeclared(corpus: Corpus) -> None:
    crossing = describe(corpus.manifest).intersections
    assert crossing.train == (("irish", "female"), ("welsh", "male"))
    assert crossing.test == (("irish", "male"), ("welsh", "female"), ("welsh", "male"))
    assert crossing.only_in_test == (("irish", "male"), ("welsh", "female"))
    assert crossing.partly_undeclared_clips == 2


def test_the_crossed_attributes_can_be_chosen(corpus: Corpus) -> None:
    crossing = describe(corpus.manifest, crossed=["gender"]).intersections
    assert (crossing.train, crossing.only_in_test) == ((("female",), ("male",)), ())
    with pytest.raises(ManifestError, match="no attribute age to cross; it has accent, gender"):
        describe(corpus.manifest, crossed=["age"])


def test_a_manifest_without_attributes_has_no_intersections(corpus: Corpus) -> None:
    bare = Manifest(corpus.manifest.table.drop(columns=["accent", "gender"]), ())
    crossing = describe(bare).intersections
    assert (crossing.train, crossing.test, crossing.partly_undeclared_clips) == ((), (), 0)


def test_tables_show_counts_cleanings_and_notes(corpus: Corpus) -> None:
    console = Console(width=140)
    with console.capture() as captured:
        console.print(render(describe(corpus.manifest)), render_report(corpus))
    text = captured.get()
    assert "3 / 2" in text
    assert "accent * gender: 2 intersections in train, 3 in test, 2 only in test" in text
    assert "only in test: irish, male" in text
    assert "1234" in text
    assert "- [3] clips were left out" in text
