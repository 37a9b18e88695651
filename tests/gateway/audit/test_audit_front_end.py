"""`evenvoice audit run --front-end`: synthetic speech in recordings, through the endpointing at work."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile
import soxr
from robot import Evenvoice

from gateway.cli.audit.front_end import FrontEnd, listen
from monitoring.audit import decide_all
from recognizer.audio import AudioFormat, TooLong, admit
from recognizer.bundle import load_bundle
from recognizer.manifest import load_manifest, write_table
from training.corpora.synthetic import synthesize

RATE = 16_000
AUDIO = AudioFormat()


@pytest.fixture(scope="module")
def words(tmp_path_factory: pytest.TempPathFactory) -> list[np.ndarray]:
    """Spoken digits, [samples] each, 16 kHz, of twelve speakers in turn."""
    pytest.importorskip("espeakng_loader")
    table = load_manifest(synthesize(tmp_path_factory.mktemp("words"), count=12, seed=3, takes=1)).table
    spoken = table[table["command"].isin(("one", "three", "seven", "nine"))].sort_values(["command", "speaker"])
    assert len(spoken) == 48
    return [soundfile.read(path, dtype="float32")[0] for path in spoken["path"]]


def background(seconds: float, level: float = 0.001, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, level, round(seconds * RATE))


def recorded(path: Path, *parts: np.ndarray, rate: int = RATE) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, np.concatenate(parts).clip(-1, 1), rate, subtype="PCM_16")
    return path


def test_the_first_utterance_is_cut_out_of_a_recording(words: list[np.ndarray], tmp_path: Path) -> None:
    word, before = words[0], background(1.5)
    path = recorded(tmp_path / "r.wav", before, word, background(1.5))
    clip = FrontEnd()(path, AUDIO).clip
    assert clip is not None
    assert 0.2 < clip.seconds < len(word) / RATE + 0.5
    samples, _ = soundfile.read(path, dtype="float32")
    starts = [i for i in range(0, len(samples) - len(clip.waveform)) if samples[i] == clip.waveform[0]]
    first = next(i for i in starts if np.array_equal(samples[i : i + len(clip.waveform)], clip.waveform))
    assert 1.2 <= first / RATE <= 1.5 + len(word) / RATE / 2  # what came, not a copy of it: pre-roll and speech


def test_a_recording_without_speech_is_missed(tmp_path: Path) -> None:
    assert FrontEnd()(recorded(tmp_path / "r.wav", background(2, 0.01)), AUDIO).clip is None


def test_of_two_utterances_the_first_counts(words: list[np.ndarray], tmp_path: Path) -> None:
    pause = background(1.5)
    both = recorded(tmp_path / "two.wav", pause, words[0], pause, words[13], pause)
    alone = recorded(tmp_path / "one.wav", pause, words[0], pause)
    assert len(listen(both, AUDIO).utterances) == 2
    two, one = FrontEnd()(both, AUDIO).clip, FrontEnd()(alone, AUDIO).clip
    assert two is not None
    assert one is not None
    np.testing.assert_array_equal(two.waveform, one.waveform)


def test_a_recording_is_heard_at_its_own_rate_and_handed_over_at_the_recognisers(
    words: list[np.ndarray], tmp_path: Path
) -> None:
    whole = np.concatenate([background(1), words[0], background(1)])
    path = recorded(tmp_path / "r.wav", soxr.resample(whole, RATE, 44_100), rate=44_100)
    clip = FrontEnd()(path, AUDIO).clip
    assert clip is not None
    assert clip.sample_rate == 44_100
    assert len(clip.waveform) == pytest.approx(clip.seconds * RATE, abs=2)
    (utterance,) = listen(path, AUDIO).utterances
    np.testing.assert_array_equal(clip.waveform, admit(utterance.waveform, AUDIO, sample_rate=44_100).waveform)


def test_a_recording_of_more_than_a_minute_is_none_that_is_heard(tmp_path: Path) -> None:
    path = tmp_path / "r.flac"
    soundfile.write(path, background(61, 0.002), 8_000)
    with pytest.raises(TooLong, match=r"r\.flac: the clip lasts more than 60\.0 s"):
        FrontEnd()(path, AUDIO)


@pytest.fixture(scope="module")
def recordings(words: list[np.ndarray], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two rooms of 12 speakers: in the loud one a machine runs over half of the recordings, 6 dB above the voice."""
    folder, rows = tmp_path_factory.mktemp("rooms"), []
    for i, word in enumerate(words):
        room, speaker = ("loud", "quiet")[i % 2], f"s{i % 12}"
        level = 2 * float(np.sqrt(np.mean(word**2))) if room == "loud" and i % 4 == 0 else 0.001
        noise = [background(s, level, seed=3 * i + j) for j, s in enumerate((1.0, len(word) / RATE, 1.0))]
        path = recorded(folder / speaker / f"{i}.wav", noise[0], word + noise[1][: len(word)], noise[2])
        rows.append({"path": str(path), "command": "go", "speaker": speaker, "split": "test", "room": room})
    write_table(pd.DataFrame(rows), folder / "rooms.csv")
    return folder / "rooms.csv"


def test_a_missed_command_is_a_rejection_by_every_defense_and_counted_by_group(
    bundle: Path, recordings: Path, evenvoice: Evenvoice, tmp_path: Path
) -> None:
    arguments = ("audit", "run", "--bundle", bundle, "--manifest", recordings, "--attributes", "room", "--front-end",
                 "--attacked-clips", "0", "--min-speakers", "10", "--shard-clips", "16")  # fmt: skip
    done = evenvoice(*arguments, "--out", tmp_path / "one")
    assert done.err.count("Traceback") == 0, done.err
    outcomes = pd.read_parquet(tmp_path / "one" / "outcomes.parquet")
    missed = outcomes[outcomes["utterances"] == 0].drop_duplicates("clip")
    share = missed.groupby("room").size().reindex(["loud", "quiet"], fill_value=0) / 24
    assert 0.2 < share["loud"] <= 0.5  # what the machine drowned; the clear ones are heard
    assert share["quiet"] == 0
    by_defense = outcomes[outcomes["reason"] == "missed"].groupby("defense")["clip"].agg(set)
    assert len(by_defense) == 3
    assert all(clips == set(missed["clip"]) for clips in by_defense)
    report = json.loads((tmp_path / "one" / "audit.json").read_text())
    assert {c["group"]: c["missed"] for c in report["coverage"]} == {"loud": len(missed), "quiet": 0}
    for result in report["defenses"]:
        (room,) = result["attributes"]
        rejected = {group["group"]: group["rejection"]["mean"] for group in room["groups"]}
        assert rejected["loud"] >= share["loud"]
        own = outcomes[outcomes["defense"] == result["defense"]]
        assert rejected == pytest.approx((own["outcome"] == "rejected").groupby(own["room"]).mean().to_dict())
        assert set(own.loc[own["reason"] == "missed", "score"].fillna(1.0)) == {1.0}
    assert done.err.count("deciding on clips") == 1
    assert "listening" not in done.err  # each recording is played once, while it is decided on
    (row,) = (line.split() for line in done.out.splitlines() if line.split()[:2] == ["room:", "loud"])
    assert row[2:5] == ["6", "24", str(len(missed))]
    assert f"in {len(missed)} of 48 with a command it heard no utterance" in done.words

    evenvoice(*arguments, "--out", tmp_path / "two", "--workers", "2")
    assert (tmp_path / "two" / "outcomes.parquet").read_bytes() == (tmp_path / "one" / "outcomes.parquet").read_bytes()


def test_without_the_front_end_nothing_is_missed(
    bundle: Path, recordings: Path, evenvoice: Evenvoice, tmp_path: Path
) -> None:
    evenvoice("audit", "run", "--bundle", bundle, "--manifest", recordings, "--attributes", "room", "--defense", "none",
              "--attacked-clips", "0", "--out", tmp_path)  # fmt: skip
    report = json.loads((tmp_path / "audit.json").read_text())
    assert {c["missed"] for c in report["coverage"]} == {None}
    outcomes = pd.read_parquet(tmp_path / "outcomes.parquet")
    assert not outcomes["reason"].eq("missed").any()
    assert "utterances" not in outcomes


def test_the_outcomes_say_how_many_utterances_and_where(bundle: Path, words: list[np.ndarray], tmp_path: Path) -> None:
    pause = background(1.5)
    paths = {
        "a/none.wav": (pause, pause),
        "a/two.wav": (pause, words[0], pause, words[13], pause),
    }
    rows = []
    for name, parts in paths.items():
        recorded(tmp_path / name, *parts)
        rows.append({"path": name, "command": "go", "speaker": "a", "split": "test", "gender": "female"})
    (tmp_path / "a" / "broken.wav").write_bytes(b"RIFF")
    rows.append({"path": "a/broken.wav", "command": "go", "speaker": "a", "split": "test", "gender": "female"})
    write_table(pd.DataFrame(rows), tmp_path / "m.csv")
    manifest = load_manifest(tmp_path / "m.csv")
    outcomes, unheard = decide_all(load_bundle(bundle), manifest, defenses=["none"], seed=0, cut=FrontEnd())
    assert [u.clip.rpartition("/")[2] for u in unheard] == ["broken.wav"]
    none, two = (outcomes.iloc[i] for i in (0, 1))
    assert (none["utterances"], two["utterances"]) == (0, 2)
    assert np.isnan(none["utterance_start"])
    assert 1.3 < two["utterance_start"] < two["utterance_end"] < 1.7 + len(words[0]) / RATE
    assert two["seconds"] == pytest.approx(4.5 + (len(words[0]) + len(words[13])) / RATE, abs=0.001)
