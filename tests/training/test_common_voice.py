"""Common Voice's single-word layout, old and new."""

from __future__ import annotations

import hashlib
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import soundfile
from click.testing import CliRunner

from gateway.cli.main import cli
from recognizer.audio import AudioFormat, read_clip
from recognizer.manifest import ManifestError, load_manifest
from training.corpora.cleaning import Cleaning
from training.corpora.common_voice import accent_group, normalize_sentence, read_common_voice

HEADER = ["client_id", "path", "sentence", "up_votes", "age", "gender", "accents", "locale"]

Row = tuple[str, str, str, str, str]
"""Client, sentence, age, gender, accent."""

TRAIN: list[Row] = [
    ("ann", "yes", "twenties", "female_feminine", "United States English"),
    ("ann", "No.", "twenties", "female_feminine", "United States English"),
    ("ann", "Firefox", "twenties", "female_feminine", "United States English"),
    ("bob", "Seven", "fourties", "male_masculine", "India and South Asia (India, Pakistan, Sri Lanka)"),
    ("bob", "a whole sentence", "fourties", "male_masculine", ""),
    ("eve", "hey!", "", "", ""),
]
DEV: list[Row] = [("kim", " ZERO ", "teens", "do_not_wish_to_say", "German English,Non native speaker")]
TEST: list[Row] = [
    ("lee", "nine", "sixties", "non-binary", "Scottish English|quite posh"),
    ("ann", "one", "twenties", "female_feminine", "United States English"),
    ("lee", "firefox", "sixties", "non-binary", "Scottish English"),
]


def build(root: Path, *, accent_column: str = "accents", parts: dict[str, list[Row]] | None = None) -> Path:
    """A release's language folder whose clips are 0.2 s of a tone, MP3 at 48 kHz."""
    (root / "clips").mkdir(parents=True)
    tone = 0.3 * np.sin(2 * np.pi * 440 * np.arange(9600) / 48_000)
    soundfile.write(root / "tone.mp3", tone, 48_000, format="MP3")
    mp3 = (root / "tone.mp3").read_bytes()
    header = [accent_column if c == "accents" else c for c in HEADER]
    for name, rows in (parts or {"train": TRAIN, "dev": DEV, "test": TEST}).items():
        lines = ["\t".join(header)]
        for i, (client, sentence, age, gender, accent) in enumerate(rows):
            clip = f"common_voice_en_{name}{i}.mp3"
            (root / "clips" / clip).write_bytes(mp3)
            lines.append("\t".join([client, clip, sentence, "2", age, gender, accent, "en"]))
        (root / f"{name}.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return root


def speaker(client: str) -> str:
    return "cv_" + hashlib.sha256(client.encode()).hexdigest()[:12]


def test_official_splits_commands_and_groups(tmp_path: Path) -> None:
    corpus = read_common_voice(build(tmp_path))
    rows = corpus.manifest.table.drop(columns="path").values.tolist()
    assert rows == [
        ["yes", speaker("ann"), "train", "united states", "twenties", "female"],
        ["no", speaker("ann"), "train", "united states", "twenties", "female"],
        ["seven", speaker("bob"), "train", "india and south asia", "forties", "male"],
        ["hey", speaker("eve"), "train", "undeclared", "undeclared", "undeclared"],
        ["zero", speaker("kim"), "validation", "other", "teens", "undeclared"],
        ["nine", speaker("lee"), "test", "scotland", "sixties", "non-binary"],
        ["one", speaker("ann"), "test", "united states", "twenties", "female"],
    ]
    assert corpus.manifest.attributes == ("accent", "age", "gender")


def test_the_command_writes_the_manifest(tmp_path: Path) -> None:
    root, out = build(tmp_path / "en"), tmp_path / "cv" / "manifest.csv"
    done = CliRunner().invoke(cli, ["corpus", "common-voice", str(root), "--out", str(out)])
    assert done.exit_code == 0, done.output
    written = load_manifest(out).table
    assert sorted(written["command"]) == ["hey", "nine", "no", "one", "seven", "yes", "zero"]
    assert all(Path(path).is_file() for path in written["path"])


def test_what_was_cleaned_or_left_out_is_reported(tmp_path: Path) -> None:
    corpus = read_common_voice(build(tmp_path))
    assert set(corpus.cleanings) == {
        Cleaning("accent", "german english,non native speaker", "other", 1),
        Cleaning("age", "fourties", "forties", 1),
        Cleaning("gender", "do_not_wish_to_say", "undeclared", 1),
    }
    assert corpus.notes == (
        "2 clips say Firefox and were left out",
        "1 clips say none of the 13 commands and were left out: 'a whole sentence' 1",
        "1 of 5 speakers (3 clips) are in more than one official split",
    )


def test_older_releases_have_other_words(tmp_path: Path) -> None:
    rows = [("ann", "yes", "twenties", "other", "us"), ("bob", "no", "", "male", "newzealand")]
    corpus = read_common_voice(
        build(tmp_path, accent_column="accent", parts={"train": rows, "dev": [], "test": TEST[:1]})
    )
    table = corpus.manifest.table
    assert table["accent"].tolist() == ["united states", "new zealand", "scotland"]
    assert table["gender"].tolist() == ["non-binary", "male", "non-binary"]
    assert Cleaning("gender", "other", "non-binary", 1) in corpus.cleanings


def test_closed_split_divides_every_speakers_clips_anew(tmp_path: Path) -> None:
    rows = [(f"client {i}", "yes", "", "", "") for i in range(2) for _ in range(10)]
    corpus = read_common_voice(build(tmp_path, parts={"train": rows, "dev": [], "test": []}), split="closed")
    for _, own in corpus.manifest.table.groupby("speaker"):
        assert Counter(own["split"]) == {"train": 7, "validation": 1, "test": 2}


def test_clips_are_mp3_and_readable(tmp_path: Path) -> None:
    path = Path(read_common_voice(build(tmp_path)).manifest.table["path"][0])
    assert path.suffix == ".mp3"
    assert read_clip(path, AudioFormat()).sample_rate == 48_000


@pytest.mark.parametrize(
    ("sentence", "command"),
    [("Hey!", "hey"), ('"Four"', "four"), ("  TWO. ", "two"), ("no…", "no"), ("_six_", "six"), ("", "")],
)
def test_sentences_are_normalised(sentence: str, command: str) -> None:
    assert normalize_sentence(sentence) == command


@pytest.mark.parametrize(
    ("cell", "group"),
    [
        ("england english", "england"),
        ("southern african (south africa, zimbabwe, namibia)", "southern africa"),
        ("southatlandtic", "south atlantic"),
        ("united states english,midwestern", "united states"),
        ("united states english|canadian english", "other"),
        ("english", "other"),
        ("a bit of everything", "other"),
    ],
)
def test_the_one_predefined_accent_is_the_group(cell: str, group: str) -> None:
    assert accent_group(cell) == group


def damage(path: Path, old: str, new: str) -> None:
    path.write_text(path.read_text(encoding="utf-8").replace(old, new, 1), encoding="utf-8")


def test_rows_of_another_width_are_damage(tmp_path: Path) -> None:
    build(tmp_path)
    damage(tmp_path / "train.tsv", "No.\t2\t", "No.\t")
    damage(tmp_path / "train.tsv", "hey!\t", "hey!\t\t")
    with pytest.raises(ManifestError, match=r"train.tsv is damaged: 2 of 6 rows don't have 8 columns \(lines 3, 7\)"):
        read_common_voice(tmp_path)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("client_id", "client", "no column client_id"),
        ("accents", "dialect", r"no column accents \(or accent\)"),
        ("ann\t", "\t", "has no client_id"),
        ("train0.mp3", "train99.mp3", r"no such file in 1 of 7 rows"),
    ],
)
def test_missing_columns_clients_and_clips(tmp_path: Path, old: str, new: str, message: str) -> None:
    build(tmp_path)
    damage(tmp_path / "train.tsv", old, new)
    with pytest.raises(ManifestError, match=message):
        read_common_voice(tmp_path)


@pytest.mark.parametrize("content", [b"\xff\xfe\x00", b""])
def test_files_that_are_no_table(tmp_path: Path, content: bytes) -> None:
    build(tmp_path)
    (tmp_path / "dev.tsv").write_bytes(content)
    with pytest.raises(ManifestError, match=r"dev\.tsv"):
        read_common_voice(tmp_path)


def test_a_missing_split_and_a_release_without_commands(tmp_path: Path) -> None:
    build(tmp_path, parts={"train": [("ann", "Good morning", "", "", "")], "dev": []})
    with pytest.raises(ManifestError, match=r"there is no test\.tsv"):
        read_common_voice(tmp_path)
    (tmp_path / "test.tsv").write_text("\t".join(HEADER))
    with pytest.raises(ManifestError, match=r"no sentence .* is one of hey"):
        read_common_voice(tmp_path)
