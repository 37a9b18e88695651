"""The AudioMNIST repository's layout and its real metadata's oddities."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from click.testing import CliRunner

from gateway.cli.main import cli
from recognizer.audio import AudioFormat, read_clip
from recognizer.manifest import ManifestError, load_manifest
from training.corpora.audiomnist import read_audiomnist
from training.corpora.cleaning import Cleaning

ODD: dict[str, dict[str, Any]] = {
    "01": {"accent": "german", "age": 30, "gender": "male", "native speaker": "no"},
    "02": {"accent": "German", "age": "25", "gender": "male", "native speaker": "no"},
    "07": {"accent": "German/Spanish", "age": "61", "gender": "male", "native speaker": "yes"},
    "12": {"accent": "Brasilian", "age": "1234", "gender": "female", "native speaker": "no"},
    "28": {"accent": "Egyptian_American?", "age": "23", "gender": "female", "native speaker": "no", "origin": "Egypt"},
}
"""Values of the real metadata, whose speakers are other ones."""


def build(root: Path, metadata: dict[str, dict[str, Any]], *, takes: int = 2) -> Path:
    """A small repository at `root`: 10 ms of noise at 48 kHz a clip."""
    (root / "data").mkdir(parents=True)
    (root / "data" / "audioMNIST_meta.txt").write_text(json.dumps(metadata))
    noise = np.random.default_rng(0).uniform(-0.5, 0.5, 480)
    for speaker in metadata:
        (root / "data" / speaker).mkdir()
        for digit in range(10):
            for take in range(takes):
                soundfile.write(root / "data" / speaker / f"{digit}_{speaker}_{take}.wav", noise, 48_000)
    return root


def test_layout_becomes_commands_and_speakers(tmp_path: Path) -> None:
    manifest = read_audiomnist(build(tmp_path, ODD, takes=10)).manifest
    rows = manifest.table.set_index(manifest.table["path"].map(lambda p: Path(p).name))
    assert len(manifest.table) == 5 * 10 * 10
    assert rows.loc["0_01_3.wav", ["command", "speaker"]].tolist() == ["zero", "audiomnist_01"]
    assert rows.loc["9_28_7.wav", ["command", "speaker"]].tolist() == ["nine", "audiomnist_28"]
    assert manifest.commands == tuple(
        sorted(["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"])
    )
    counts = manifest.table.groupby(["speaker", "command"])["split"].agg(Counter)
    assert all(count == {"train": 7, "validation": 1, "test": 2} for count in counts)


def test_the_command_writes_the_manifest(tmp_path: Path) -> None:
    root, out = build(tmp_path / "AudioMNIST", ODD), tmp_path / "audiomnist" / "manifest.csv"
    done = CliRunner().invoke(cli, ["corpus", "audiomnist", str(root), "--out", str(out)])
    assert done.exit_code == 0, done.output
    written = load_manifest(out).table
    assert len(written) == 5 * 10 * 2
    assert dict.fromkeys(written["speaker"]) == dict.fromkeys(f"audiomnist_{speaker}" for speaker in ODD)
    assert all(Path(path).is_file() for path in written["path"])


def test_odd_values_are_cleaned_and_reported(tmp_path: Path) -> None:
    corpus = read_audiomnist(build(tmp_path, ODD))
    people = corpus.manifest.table.drop_duplicates("speaker").set_index("speaker")
    assert people["accent"].to_dict() == {
        "audiomnist_01": "german",
        "audiomnist_02": "german",
        "audiomnist_07": "other",
        "audiomnist_12": "brazilian",
        "audiomnist_28": "other",
    }
    assert people["age"].tolist() == ["thirties", "twenties", "sixties", "undeclared", "twenties"]
    assert people["native"].tolist() == ["non-native", "non-native", "native", "non-native", "non-native"]
    assert set(corpus.cleanings) == {
        Cleaning("accent", "german/spanish", "other", 1),
        Cleaning("accent", "egyptian_american?", "other", 1),
        Cleaning("accent", "brasilian", "brazilian", 1),
        Cleaning("age", "1234", "undeclared", 1),
    }
    assert corpus.notes == ()


def test_metadata_may_stand_at_the_root_and_splits_may_be_open(tmp_path: Path) -> None:
    build(tmp_path, ODD, takes=1)
    (tmp_path / "data" / "audioMNIST_meta.txt").rename(tmp_path / "audioMNIST_meta.txt")
    table = read_audiomnist(tmp_path, split="open", seed=2).manifest.table
    assert table.groupby("speaker")["split"].nunique().tolist() == [1] * 5
    assert set(table["split"]) == {"train", "validation", "test"}


def test_the_real_metadata(speech: Path, tmp_path: Path) -> None:
    metadata = json.loads((speech / "audiomnist" / "audioMNIST_meta.txt").read_text())
    build(tmp_path, metadata, takes=1)
    corpus = read_audiomnist(tmp_path)
    people = corpus.manifest.table.drop_duplicates("speaker")
    assert len(people) == 60
    assert Counter(people["gender"]) == {"male": 48, "female": 12}
    assert Counter(people["native"]) == {"non-native": 57, "native": 3}
    assert Counter(people["accent"])["german"] == 41
    ages = {"twenties": 42, "thirties": 15, "forties": 1, "sixties": 1, "undeclared": 1}
    assert Counter(people["age"]) == ages
    assert {c.raw for c in corpus.cleanings} == {"german/spanish", "egyptian_american?", "brasilian", "1234"}
    totals = Counter(corpus.manifest.table["split"])
    assert totals == {"train": 420, "validation": 60, "test": 120}


def test_clips_are_readable(tmp_path: Path) -> None:
    path = read_audiomnist(build(tmp_path, ODD)).manifest.table["path"][0]
    clip = read_clip(Path(path), AudioFormat(min_seconds=0.001))
    assert (clip.sample_rate, len(clip.waveform)) == (48_000, 160)


def test_unequal_takes_are_noted(tmp_path: Path) -> None:
    build(tmp_path, ODD)
    (tmp_path / "data" / "01" / "3_01_1.wav").unlink()
    assert read_audiomnist(tmp_path).notes == (
        "speakers said a digit between 1 and 2 times; the original has 50 takes of each",
    )


def test_missing_audio_is_counted(tmp_path: Path) -> None:
    build(tmp_path, ODD, takes=1)
    for digit in (3, 4):
        (tmp_path / "data" / "07" / f"{digit}_07_0.wav").unlink()
    with pytest.raises(
        ManifestError, match=r"2 of 50 pairs of speaker and digit .*speaker 07, three; speaker 07, four"
    ):
        read_audiomnist(tmp_path)


def test_speakers_without_a_folder_are_counted(tmp_path: Path) -> None:
    build(tmp_path, ODD, takes=1)
    (tmp_path / "data" / "12").rename(tmp_path / "data" / "99")
    with pytest.raises(ManifestError, match=r"1 of 5 speakers have no folder .*\(12\)"):
        read_audiomnist(tmp_path)
    (tmp_path / "data" / "12").mkdir()
    with pytest.raises(ManifestError, match=r"1 folders .* have no entry in audioMNIST_meta.txt \(99\)"):
        read_audiomnist(tmp_path)


@pytest.mark.parametrize("name", ["x_01_0.wav", "3_02_0.wav", "3-01-0.wav", "33_01_0.wav"])
def test_malformed_names_are_counted(tmp_path: Path, name: str) -> None:
    build(tmp_path, ODD, takes=1)
    (tmp_path / "data" / "01" / "3_01_0.wav").rename(tmp_path / "data" / "01" / name)
    with pytest.raises(ManifestError, match=f"1 of 50 clips are not named D_NN_I.wav .*01/{name}"):
        read_audiomnist(tmp_path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "there is no audioMNIST_meta.txt"),
        ("{", "can't be read as JSON"),
        ("[]", "one JSON object a speaker"),
        ('{"01": 3}', "one JSON"),
    ],
)
def test_bad_metadata(tmp_path: Path, content: str | None, message: str) -> None:
    if content is not None:
        (tmp_path / "audioMNIST_meta.txt").write_text(content)
    with pytest.raises(ManifestError, match=message):
        read_audiomnist(tmp_path)
