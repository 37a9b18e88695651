"""Which clips a study splits, trains on and attacks, and which corpora it refuses."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile

from recognizer.audio import AudioFormat
from recognizer.manifest import Manifest, ManifestError, load_manifest
from training.study.corpus import SplitCorpus, only_in_test, split_corpus, spread_out, usable_clips
from training.study.settings import StudySettings

COMMANDS = ("go", "left", "right")


def table(speakers: int = 10, takes: int = 4, commands: tuple[str, ...] = COMMANDS) -> pd.DataFrame:
    rows = [
        {"path": f"/corpus/s{s}/{command}_{take}.wav", "command": command, "speaker": f"s{s}", "split": "test"}
        | {"gender": "female" if s % 2 else "male", "accent": "rare" if s == 0 else "common"}
        for s in range(speakers)
        for command in commands
        for take in range(takes)
    ]
    return pd.DataFrame(rows)


def corpus(rows: pd.DataFrame) -> Manifest:
    return Manifest(rows, ("gender", "accent"))


def named(rows: pd.DataFrame) -> pd.DataFrame:
    return rows.assign(clip=rows["path"])


def speaker_and_command(clip: str) -> tuple[str, str]:
    *_, speaker, name = clip.split("/")
    return speaker, name.split("_")[0]


# Spread


def test_one_clip_of_each_speaker_comes_in_turn() -> None:
    ordered = spread_out(named(table(speakers=7)), seed=0)
    speakers = [speaker_and_command(clip)[0] for clip in ordered]
    for turn in range(12):
        assert len(set(speakers[7 * turn : 7 * turn + 7])) == 7
    assert sorted(ordered) == sorted(table(speakers=7)["path"])


def test_a_speakers_commands_come_in_turn() -> None:
    ordered = [speaker_and_command(clip) for clip in spread_out(named(table(speakers=5)), seed=0)]
    for speaker in {s for s, _ in ordered}:
        said = [command for s, command in ordered if s == speaker]
        assert all(set(said[i : i + 3]) == set(COMMANDS) for i in range(0, 12, 3))


def test_a_talkative_speaker_comes_last_alone() -> None:
    rows = pd.concat([table(speakers=2, takes=1), table(speakers=1, takes=9)]).drop_duplicates("path")
    speakers = [speaker_and_command(clip)[0] for clip in spread_out(named(rows), seed=3)]
    assert Counter(speakers[:6]) == {"s0": 3, "s1": 3}
    assert set(speakers[6:]) == {"s0"}


def test_the_order_is_the_seeds_and_not_the_rows() -> None:
    rows = named(table())
    shuffled = rows.sample(frac=1, random_state=1)
    assert spread_out(rows, seed=0) == spread_out(shuffled, seed=0)
    assert spread_out(rows, seed=0) != spread_out(rows, seed=1)


# Splits


def test_limits_hold_and_are_spread_and_the_test_clips_stay() -> None:
    settings = StudySettings(clips=8, training_clips=70)
    part = split_corpus(corpus(table(speakers=20)), "open", settings)
    counts = Counter(part.table["split"])
    assert counts["train"] == 70
    assert counts["validation"] == 10
    assert counts["test"] == 4 * 12
    attacked = part.table[part.table["is_attacked"]]
    assert set(attacked["split"]) == {"test"}
    assert Counter(attacked["speaker"]).most_common(1)[0][1] == 2
    assert len(attacked) == 8
    training = part.table[part.table["split"] == "train"]
    assert Counter(training["speaker"]).most_common()[-1][1] >= 5


def test_more_clips_than_there_are_means_all_of_them() -> None:
    part = split_corpus(corpus(table()), "closed", StudySettings(clips=10_000, training_clips=10_000))
    assert len(part.table) == len(table())
    assert (part.table["is_attacked"] == (part.table["split"] == "test")).all()


def test_an_open_split_has_nobody_twice_and_a_closed_one_everybody() -> None:
    of = {
        k: split_corpus(corpus(table()), k, StudySettings()).table.groupby("split")["speaker"]
        for k in ("open", "closed")
    }
    heard = {split: set(s) for split, s in of["open"]}
    assert not heard["train"] & heard["test"]
    assert of["closed"].nunique()["train"] == 10


def test_the_columns_are_the_contracts() -> None:
    part = split_corpus(corpus(table()), "closed", StudySettings())
    assert list(part.table) == ["clip", "speaker", "command", "split", "is_attacked", "gender", "accent"]
    assert part.table["clip"].is_unique


def test_a_split_that_was_written_is_found_again() -> None:
    manifest = corpus(table())
    part = split_corpus(manifest, "open", StudySettings(training_clips=30, clips=5))
    again = SplitCorpus.of("open", part.table, manifest)
    pd.testing.assert_frame_equal(again.table, part.table)
    assert again.attacked == part.attacked


def test_a_written_split_of_other_clips_is_refused() -> None:
    part = split_corpus(corpus(table()), "open", StudySettings())
    with pytest.raises(ManifestError, match="12 clips of the study are not in the manifest"):
        SplitCorpus.of("open", part.table, corpus(table(speakers=9)))


# What can't be studied, and what is told


def test_a_command_that_only_test_speakers_say_is_refused() -> None:
    part = split_corpus(corpus(table()), "open", StudySettings()).table
    tested = sorted(set(part.loc[part["split"] == "test", "speaker"]))
    rows = table()
    rows.loc[(rows["speaker"] == tested[0]) & (rows["command"] == "go"), "command"] = "stop"
    with pytest.raises(ManifestError, match="the open split leaves stop without a training clip; more"):
        split_corpus(corpus(rows), "open", StudySettings())


def test_two_speakers_can_not_be_split_open() -> None:
    with pytest.raises(ManifestError, match="2 speakers can't be divided"):
        split_corpus(corpus(table(speakers=2)), "open", StudySettings())


def test_a_group_that_is_only_in_test_is_told_and_kept() -> None:
    for seed in range(50):
        part = split_corpus(corpus(table()), "open", StudySettings(seed=seed))
        if "s0" in set(part.table.loc[part.table["split"] == "test", "speaker"]):
            break
    assert list(only_in_test(part)) == ["open split: accent 'rare' is only in test (1 speakers, 12 clips)"]
    assert "rare" in set(part.table["accent"])
    assert list(only_in_test(split_corpus(corpus(table()), "closed", StudySettings()))) == []


@pytest.fixture
def written(tmp_path: Path) -> Path:
    """Four speakers' clips on disk; one is silent, one is no audio, and one speaker says what is no command."""
    rng = np.random.default_rng(0)
    rows = []
    for speaker in range(4):
        for command in (*COMMANDS, "unknown"):
            name = f"s{speaker}_{command}.wav"
            soundfile.write(tmp_path / name, 0.1 * rng.normal(size=8000), 16_000)
            rows.append(
                {"path": name, "command": command, "speaker": f"s{speaker}", "split": "train", "gender": "male"}
            )
    soundfile.write(tmp_path / "s0_go.wav", np.zeros(8000), 16_000)
    (tmp_path / "s1_go.wav").write_bytes(b"no audio")
    pd.DataFrame(rows).to_csv(tmp_path / "manifest.csv", index=False)
    return tmp_path / "manifest.csv"


def test_clips_of_no_command_or_that_can_not_be_heard_are_left_out_and_told(written: Path) -> None:
    usable, notes = usable_clips(load_manifest(written), AudioFormat())
    assert len(usable.table) == 10
    assert set(usable.table["command"]) == set(COMMANDS)
    assert notes[0] == "4 clips that are labelled 'unknown', and so no command, are left out"
    assert notes[1].startswith("2 clips that can't be heard are left out; the first: ")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"speaker": "me"}, "the corpus has 1 speaker; a study compares groups of them: 2 are needed"),
        ({"command": "go"}, "the corpus has 1 command; a study tells one from another: 2 are needed"),
        ({"command": "unknown"}, "the corpus has 0 commands"),
    ],
)
def test_a_corpus_of_one_speaker_or_one_command_is_refused(written: Path, change: dict[str, str], words: str) -> None:
    manifest = load_manifest(written)
    with pytest.raises(ManifestError, match=words):
        usable_clips(Manifest(manifest.table.assign(**change), manifest.attributes), AudioFormat())


def test_a_speaker_in_two_groups_is_refused(written: Path) -> None:
    manifest = load_manifest(written)
    manifest.table.loc[manifest.table["path"].str.endswith("s2_left.wav"), "gender"] = "female"
    with pytest.raises(ManifestError, match=r"1 speakers stand in two groups of gender or more \(s2\)"):
        usable_clips(manifest, AudioFormat())
