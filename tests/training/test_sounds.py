"""Sounds that are no command: what they are made of, from a seed, and of whose voices."""

from __future__ import annotations

import itertools
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile
from numpy.typing import NDArray

from recognizer.audio import AudioFormat, read_clip
from recognizer.decision import UNKNOWN
from recognizer.manifest import SOUND, Manifest, ManifestError, load_manifest
from training.corpora.corpus import Corpus, write
from training.corpora.sounds import Kind, Shares, add_sounds, at_level, babble, music, noise, pseudo_word

RATE = 16_000
HERTZ = {"train": 500.0, "validation": 1000.0, "test": 2000.0}
"""Every speaker of a split speaks at its pitch, so that a sound shows whose voices it was made of."""


def tone(hertz: float, seconds: float = 0.4) -> NDArray[np.float64]:
    return 0.5 * np.sin(2 * np.pi * hertz * np.arange(round(seconds * RATE)) / RATE)


def power_near(sound: NDArray[np.float64], hertz: float, width: float = 60) -> float:
    """The share of the power within so many Hertz."""
    power = np.abs(np.fft.rfft(sound)) ** 2
    frequency = np.fft.rfftfreq(len(sound), 1 / RATE)
    return float(power[np.abs(frequency - hertz) <= width].sum() / power.sum())


def flatness(sound: NDArray[np.float64]) -> float:
    """Geometric over arithmetic mean of the power spectrum in bands of 100 Hz: 1 is white, a tone is near 0."""
    bands = (np.abs(np.fft.rfft(sound, RATE)[:8000]) ** 2).reshape(-1, 100).mean(axis=1) + 1e-20
    return float(np.exp(np.log(bands).mean()) / bands.mean())


def corpus(folder: Path, speakers: int = 4) -> Corpus:
    """Each speaker says `go` at the split's pitch and `stop` an octave above, twice; and one other word."""
    rows = []
    for split, n in itertools.product(HERTZ, range(speakers)):
        for take, (command, octave) in enumerate([("go", 1), ("stop", 2), ("go", 1), ("stop", 2), (UNKNOWN, 3)]):
            path = folder / "said" / split / f"{n}_{take}.wav"
            path.parent.mkdir(parents=True, exist_ok=True)
            soundfile.write(path, tone(octave * HERTZ[split]), RATE)
            rows.append({"path": str(path), "command": command, "speaker": f"{split} {n}", "split": split})
    table = pd.DataFrame(rows).assign(gender=lambda t: ["female" if s[-1] in "02" else "male" for s in t["speaker"]])
    return Corpus(Manifest(table, ("gender",)), (), ("a note",))


def heard(path: str) -> NDArray[np.float64]:
    return read_clip(Path(path), AudioFormat()).waveform.astype(np.float64)


# The sounds themselves


def test_babble_is_every_voice_all_the_time_at_levels_within_6_db() -> None:
    hertz = (400.0, 700.0, 1100.0, 1900.0)
    sound = babble([tone(h, seconds=0.3) for h in hertz], RATE, np.random.default_rng(0))
    assert len(sound) == RATE
    for half in (sound[: RATE // 2], sound[RATE // 2 :]):
        shares = [power_near(half, h, width=100) for h in hertz]
        assert sum(shares) > 0.9
        assert min(shares) > 0.02
    levels = 10 * np.log10([power_near(sound, h, width=100) for h in hertz])
    assert np.ptp(levels) < 6 + 2  # 2 dB for pauses, which differ in length


def test_a_voice_in_babble_is_as_loud_as_another_however_loud_its_clip_was() -> None:
    sound = babble([tone(400), 0.01 * tone(1100)], RATE, np.random.default_rng(1))
    assert 0.1 < power_near(sound, 400, width=100) / power_near(sound, 1100, width=100) < 10


@pytest.mark.parametrize("seed", range(5))
def test_music_is_tonal_and_white_noise_is_not(seed: int) -> None:
    rng = np.random.default_rng(seed)
    assert flatness(np.random.default_rng(seed).standard_normal(RATE)) > 0.9
    assert flatness(music(RATE, RATE, rng)) < 0.5


def test_a_chord_begins_again_with_the_beat() -> None:
    """Its loudness rises again after it has decayed; a single chord's only falls."""
    rises = 0
    for seed in range(20):
        sound = music(RATE, RATE, np.random.default_rng(seed))
        loudness = np.sqrt(np.square(sound).reshape(50, -1).mean(axis=1))
        rises += bool((loudness[1:] > 1.3 * loudness[:-1] + 1e-6)[5:].any())
    assert rises >= 15


def test_noise_is_coloured_hum_or_clicks() -> None:
    kinds: Counter[str] = Counter()
    for seed in range(60):
        sound = noise(RATE, RATE, np.random.default_rng(seed))
        hum = max(sum(power_near(sound, k * mains, width=1) for k in range(1, 20)) for mains in (50, 60))
        crest = np.abs(sound).max() / np.sqrt(np.mean(np.square(sound)))
        kinds["hum" if hum > 0.6 else "clicks" if crest > 8 else "coloured"] += 1
    assert set(kinds) == {"hum", "clicks", "coloured"}
    assert min(kinds.values()) >= 8


def test_a_pseudo_word_is_a_word_backwards_its_halves_swapped_or_halves_of_two() -> None:
    one = np.concatenate([tone(hertz, 0.1) for hertz in (400, 700, 1100, 1300)])
    other = np.concatenate([tone(1500, 0.2), tone(2600, 0.2)])
    ways: Counter[str] = Counter()
    for seed in range(60):
        sound = pseudo_word(np.pad(one, 2000), np.pad(other, 500), RATE, np.random.default_rng(seed))
        start, end = sound[:800], sound[-800:]
        if power_near(end, 2600, width=100) > 0.9:
            ways["of two"] += power_near(start, 400, width=100) > 0.9
        elif len(sound) >= len(one) - 20 and np.allclose(sound[::-1], one[-len(sound) :][: len(sound)], atol=1e-9):
            ways["backwards"] += 1
        else:
            is_inner = [power_near(part, 700, width=100) + power_near(part, 1100, width=100) for part in (start, end)]
            is_all = [power_near(sound, hertz, width=100) for hertz in (400, 700, 1100, 1300)]
            ways["swapped"] += min(is_inner) > 0.7 and sum(is_all) > 0.9 and min(is_all) > 0.2
    assert ways.total() == 60
    assert set(ways) == {"backwards", "swapped", "of two"}


def test_a_cut_does_not_click() -> None:
    one, other = tone(300), tone(300)
    for seed in range(30):
        sound = pseudo_word(one, other, RATE, np.random.default_rng(seed))
        steepest = np.abs(np.diff(one)).max()
        assert np.abs(np.diff(sound)).max() < 2.5 * steepest


@pytest.mark.parametrize("seed", range(3))
def test_the_peak_is_between_a_fifth_and_nine_tenths(seed: int) -> None:
    clip = at_level(1e5 * np.random.default_rng(0).standard_normal(100), np.random.default_rng(seed))
    assert clip.dtype == np.float32
    assert 0.2 <= np.abs(clip).max() <= 0.9


# A corpus with sounds


@pytest.fixture
def made(tmp_path: Path) -> Corpus:
    return add_sounds(corpus(tmp_path), tmp_path / "sounds", Shares(sounds=0.25, pseudo_words=0.5), seed=3)


def sounds_of(made: Corpus) -> pd.DataFrame:
    return made.manifest.table[made.manifest.table[SOUND].isin([*Kind])]


def test_each_split_gets_its_share_of_every_kind_for_its_clips_of_commands(made: Corpus) -> None:
    counted = Counter(zip(sounds_of(made)["split"], sounds_of(made)[SOUND], strict=True))
    expected = {"babble": 4, "music": 4, "noise": 4, "pseudo-word": 8}  # of 16 clips of commands a split
    assert counted == {(split, kind): count for split in HERTZ for kind, count in expected.items()}
    assert set(sounds_of(made)["command"]) == {UNKNOWN}
    assert made.notes == (
        "a note",
        "made of no command: 12 clips of babble, 12 clips of music, 12 clips of noise, 24 clips of pseudo-word",
    )


def test_the_clips_that_were_there_stay_as_they_were(made: Corpus, tmp_path: Path) -> None:
    before = corpus(tmp_path).manifest.table
    pd.testing.assert_frame_equal(made.manifest.table.iloc[: len(before)][before.columns], before)
    assert (made.manifest.table[SOUND].iloc[: len(before)] == "").all()


def test_sounds_are_flac_that_the_gate_takes(made: Corpus) -> None:
    for path in sounds_of(made)["path"]:
        info = soundfile.info(path)
        assert (info.format, info.subtype, info.samplerate, info.channels) == ("FLAC", "PCM_16", RATE, 1)
        assert 0.19 <= np.abs(heard(path)).max() <= 0.91


def test_babble_and_pseudo_words_are_made_of_their_own_splits_voices(made: Corpus) -> None:
    rows = sounds_of(made)
    voiced = rows[rows[SOUND].isin(["babble", "pseudo-word"])]
    for path, split in zip(voiced["path"], voiced["split"], strict=True):
        own = sum(power_near(heard(path), octave * HERTZ[split], width=120) for octave in (1, 2))
        assert own > 0.9


def test_a_pseudo_words_speaker_and_groups_are_those_of_its_voice(made: Corpus, tmp_path: Path) -> None:
    rows = sounds_of(made)
    gender = corpus(tmp_path).manifest.table.drop_duplicates("speaker").set_index("speaker")["gender"]
    words = rows[rows[SOUND] == "pseudo-word"]
    assert [s.split()[0] for s in words["speaker"]] == words["split"].tolist()
    assert words["gender"].tolist() == gender.loc[words["speaker"]].tolist()
    others = rows[rows[SOUND] != "pseudo-word"]
    assert set(others["gender"]) == {"undeclared"}
    assert set(others["speaker"]) == {f"{kind} {split}" for kind in ("babble", "music", "noise") for split in HERTZ}


def test_a_corpus_with_sounds_is_written_and_loaded_like_any(made: Corpus, tmp_path: Path) -> None:
    write(made, tmp_path / "manifest.csv")
    loaded = load_manifest(tmp_path / "manifest.csv")
    assert loaded.attributes == ("gender",)
    assert loaded.table[SOUND].tolist() == made.manifest.table[SOUND].tolist()
    assert len(set(loaded.clip_ids)) == len(loaded.table)
    assert loaded.table.groupby("speaker")["split"].nunique().max() == 1


def test_a_sound_depends_on_its_seed_split_kind_and_number_alone(tmp_path: Path) -> None:
    few = add_sounds(corpus(tmp_path), tmp_path / "few", Shares(sounds=0.125), seed=3)
    many = add_sounds(corpus(tmp_path), tmp_path / "many", Shares(sounds=0.25, pseudo_words=0.1), seed=3)
    other = add_sounds(corpus(tmp_path), tmp_path / "other", Shares(sounds=0.125), seed=4)

    def contents(made: Corpus) -> dict[tuple[str, ...], bytes]:
        return {Path(p).parts[-2:]: Path(p).read_bytes() for p in sounds_of(made)["path"]}

    all_few = contents(few)
    assert all_few.items() <= contents(many).items()
    assert len(set(all_few.values())) == len(all_few) == 18
    assert not set(all_few.values()) & set(contents(other).values())


def test_two_speakers_are_too_few_for_babble(tmp_path: Path) -> None:
    made = add_sounds(corpus(tmp_path, speakers=2), tmp_path / "sounds", Shares(sounds=0.25), seed=0)
    assert set(sounds_of(made)[SOUND]) == {"music", "noise"}
    assert "no babble was made for train: it has 2 speakers, and babble takes 3" in made.notes


def test_without_a_share_nothing_is_made(tmp_path: Path) -> None:
    before = corpus(tmp_path)
    assert add_sounds(before, tmp_path / "sounds", Shares(), seed=0) == before
    assert not (tmp_path / "sounds").exists()


def test_a_command_that_can_not_be_heard_gives_way_to_another(tmp_path: Path) -> None:
    before = corpus(tmp_path)
    table = before.manifest.table
    for path in table[(table["speaker"] == "train 0") & (table["command"] == "go")]["path"]:
        Path(path).write_bytes(b"no audio")
    made = add_sounds(before, tmp_path / "sounds", Shares(pseudo_words=1), seed=0)
    assert len(sounds_of(made)) == 48
    for path in table[table["split"] == "test"]["path"]:
        Path(path).write_bytes(b"no audio")
    with pytest.raises(ManifestError, match="none of the 16 commands of test can be heard"):
        add_sounds(before, tmp_path / "sounds", Shares(pseudo_words=1), seed=0)


def test_of_the_shortest_words_clips_are_made_that_the_gate_takes(tmp_path: Path) -> None:
    before = corpus(tmp_path)
    for path in before.manifest.table["path"]:
        soundfile.write(path, tone(2000, seconds=0.1), RATE)
    made = sounds_of(add_sounds(before, tmp_path / "sounds", Shares(pseudo_words=1), seed=0))
    lengths = [len(heard(path)) for path in made["path"]]
    assert min(lengths) == 0.1 * RATE


def test_a_negative_share_is_refused() -> None:
    with pytest.raises(ManifestError, match=r"the shares of sounds are -0\.1 and 0"):
        Shares(sounds=-0.1)
