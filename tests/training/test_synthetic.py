from __future__ import annotations

import filecmp
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile
from click.testing import CliRunner

from gateway.cli.main import cli
from recognizer.manifest import load_manifest
from training.corpora import synthetic
from training.corpora.synthetic import (
    ACCENTS,
    COMMANDS,
    HEARD_WORDS,
    OTHER_WORDS,
    UNDER_REPRESENTED,
    UNHEARD_WORDS,
    VARIANTS,
    SpeechEngineError,
    Voice,
    synthesize,
    voices,
)

SEEDS = (0, 1, 2)


def speakers_in(group: dict[str, str], part: list[Voice]) -> int:
    return sum(all(getattr(v, attribute) == value for attribute, value in group.items()) for v in part)


def part_of(all_voices: list[Voice], split: str) -> list[Voice]:
    return [v for v in all_voices if v.split == split]


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("espeakng_loader")
    return synthesize(tmp_path_factory.mktemp("tiny"), count=6, seed=3)


@pytest.mark.parametrize("seed", SEEDS)
def test_voices_are_distinct_and_at_least_120(seed: int) -> None:
    everyone = voices(seed=seed)
    assert len(everyone) >= 120
    assert len({v.speaker for v in everyone}) == len(everyone)
    assert len({(v.language, v.variant, v.pitch, v.rate) for v in everyone}) == len(everyone)
    assert {v.accent for v in everyone} == set(ACCENTS)


def test_the_same_seed_gives_the_same_voices_and_another_seed_others() -> None:
    assert voices(seed=1) == voices(seed=1)
    assert voices(seed=1) != voices(seed=2)


def test_splits_have_the_promised_sizes_at_the_default_count() -> None:
    assert Counter(v.split for v in voices(seed=0)) == {"train": 70, "validation": 15, "test": 47}


@pytest.mark.parametrize("seed", SEEDS)
def test_the_test_part_can_carry_a_gap_interval_for_gender(seed: int) -> None:
    part = part_of(voices(seed=seed), "test")
    assert len(part) >= 40
    genders = Counter(v.gender for v in part)
    assert min(genders["female"], genders["male"]) >= 20


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("group", UNDER_REPRESENTED, ids=str)
def test_rare_groups_are_heard_in_training_but_seldom(group: dict[str, str], seed: int) -> None:
    everyone = voices(seed=seed)
    train, test = part_of(everyone, "train"), part_of(everyone, "test")
    assert speakers_in(group, train) >= 1
    assert speakers_in(group, train) / len(train) < 0.5 * speakers_in(group, test) / len(test)
    assert speakers_in(group, test) >= 5


@pytest.mark.parametrize("count", [2, 401])
def test_a_count_out_of_range_is_refused(count: int) -> None:
    with pytest.raises(ValueError, match="3 to 400"):
        voices(count=count, seed=0)


def test_takes_must_be_positive(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="at least 1"):
        synthesize(tmp_path, count=3, takes=0)


def test_the_engine_ships_every_variant() -> None:
    # eSpeak NG silently speaks with the plain voice where it does not know a variant.
    loader = pytest.importorskip("espeakng_loader")
    shipped = {p.name for p in (Path(loader.get_data_path()) / "voices" / "!v").iterdir()}
    assert {name for names in VARIANTS.values() for name in names} <= shipped


def test_the_engine_knows_every_accent_and_refuses_an_unknown_one() -> None:
    pytest.importorskip("espeakng_loader")
    with synthetic._Engine() as engine:
        for language in ACCENTS.values():
            engine.say("seven", voice=f"{language}+f3", pitch=50, rate=160, noise_seed=1)
        with pytest.raises(SpeechEngineError, match="xx-nowhere"):
            engine.say("seven", voice="xx-nowhere+f3", pitch=50, rate=160, noise_seed=1)


def test_the_manifest_lists_every_clip(tiny: Path) -> None:
    table = pd.read_csv(tiny)
    assert list(table.columns) == ["path", "command", "speaker", "split", "accent", "gender", "age"]
    written = {p.relative_to(tiny.parent).as_posix() for p in tiny.parent.rglob("*.wav")}
    assert set(table["path"]) == written
    assert set(table["command"]) == {*COMMANDS, "unknown"}
    assert load_manifest(tiny).attributes == ("accent", "age", "gender")


def test_the_command_speaks_and_writes_the_manifest(tmp_path: Path) -> None:
    pytest.importorskip("espeakng_loader")
    done = CliRunner().invoke(cli, ["corpus", "synthetic", str(tmp_path / "voices"), "--voices", "10"])
    assert done.exit_code == 0, done.output
    written = load_manifest(tmp_path / "voices" / "manifest.csv").table
    assert written["speaker"].nunique() == 10
    assert all(Path(path).is_file() for path in written["path"])


def test_no_speaker_is_in_two_splits(tiny: Path) -> None:
    assert (pd.read_csv(tiny).groupby("speaker")["split"].nunique() == 1).all()


def test_only_test_speakers_say_the_unheard_words(tiny: Path) -> None:
    table = pd.read_csv(tiny)
    words = table["path"].map(lambda path: Path(path).stem.rsplit("_", 1)[0])
    assert set(words[table["command"] == "unknown"]) <= set(OTHER_WORDS)
    assert not set(HEARD_WORDS) & set(UNHEARD_WORDS)
    assert set(table["split"][words.isin(UNHEARD_WORDS)]) == {"test"}


def test_training_speakers_repeat_commands_and_no_take_is_a_copy(tiny: Path) -> None:
    table = pd.read_csv(tiny)
    takes = table[(table["split"] == "train") & (table["command"] == "seven")].groupby("speaker")["path"]
    for _, (first, second) in takes:
        assert not filecmp.cmp(tiny.parent / first, tiny.parent / second, shallow=False)


def test_clips_are_16_khz_mono_16_bit_audible_and_fit_the_window(tiny: Path) -> None:
    for path in pd.read_csv(tiny)["path"]:
        info = soundfile.info(tiny.parent / path)
        assert (info.samplerate, info.channels, info.subtype) == (16_000, 1, "PCM_16")
        assert 0.1 <= info.duration <= 1.0
        samples, _ = soundfile.read(tiny.parent / path)
        assert 0.5 <= np.abs(samples).max() <= 1.0
        assert np.sqrt(np.mean(np.square(samples))) > 0.01


def test_the_same_seed_gives_identical_bytes(tiny: Path, tmp_path: Path) -> None:
    again = synthesize(tmp_path, count=6, seed=3)
    files = sorted(p.relative_to(tiny.parent) for p in tiny.parent.rglob("*.*"))
    assert files == sorted(p.relative_to(again.parent) for p in again.parent.rglob("*.*"))
    for file in files:
        assert (tiny.parent / file).read_bytes() == (again.parent / file).read_bytes(), file


def test_progress_ends_at_the_total(tmp_path: Path) -> None:
    pytest.importorskip("espeakng_loader")
    calls: list[tuple[int, int]] = []
    manifest = synthesize(tmp_path, count=3, takes=1, progress=lambda done, total: calls.append((done, total)))
    assert len(calls) == 3
    assert calls[-1] == (len(pd.read_csv(manifest)),) * 2


def test_a_missing_engine_names_the_extra(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "espeakng_loader", None)
    with pytest.raises(SpeechEngineError, match=r"pip install 'evenvoice\[demo\]'"):
        synthesize(tmp_path, count=3)
    assert not any(tmp_path.iterdir())
