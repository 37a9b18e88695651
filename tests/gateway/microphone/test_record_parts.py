"""Prompts, takes, what is measured of them, and the folder that they are kept in."""

from __future__ import annotations

import stat
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
import soundfile
from said import RATE, Session, background

from gateway.microphone.files import FileSource
from gateway.microphone.recording.checking import check, clipped_samples
from gateway.microphone.recording.folder import Consent, RecordingError, RecordingFolder, opened
from gateway.microphone.recording.prompts import Prompt, PromptsError, Task, read_prompts, shuffled
from gateway.microphone.recording.taking import SourceEnded, Take, record_take
from gateway.streaming.vad import EnergyDetector, SileroDetector
from recognizer.manifest import load_manifest

CONSENT = Consent(text="agreed", agreed_at=datetime(2026, 1, 2, tzinfo=UTC))


def taken(speech: np.ndarray, *, noise: float = 1e-3, lead: float = 0.5) -> Take:
    """Speech between two stretches of background."""
    before, after = background(lead, amplitude=noise), background(0.4, seed=1, amplitude=noise)
    waveform = np.concatenate([before, speech, after]).astype(np.float32)
    return Take(waveform, RATE, (lead, lead + len(speech) / RATE))


def voice(seconds: float = 0.6, peak: float = 0.5) -> np.ndarray:
    return peak * np.sin(2 * np.pi * 200 * np.arange(round(seconds * RATE)) / RATE)


def test_prompts_are_commands_or_words_with_their_label(tmp_path: Path) -> None:
    path = tmp_path / "prompts.txt"
    path.write_text("# digits\nfour\n\n turn   left \nunknown: coffee\nstop: halt now\n")
    prompts = read_prompts(path)
    assert [(p.command, p.words, p.sound) for p in prompts] == [
        ("four", "four", ""),
        ("turn left", "turn left", ""),
        ("unknown", "coffee", "coffee"),
        ("stop", "halt now", ""),
    ]
    for text, words in (("", "no prompts"), ("go\ngo\n", "line 2: 'go' stands there twice"), ("left:\n", "line 1")):
        path.write_text(text)
        with pytest.raises(PromptsError, match=words):
            read_prompts(path)
    with pytest.raises(PromptsError, match="can't be read"):
        read_prompts(tmp_path / "nowhere")


def test_a_mark_at_the_beginning_and_other_ends_of_lines_are_no_part_of_a_command(tmp_path: Path) -> None:
    path = tmp_path / "prompts.txt"
    path.write_bytes("\ufeff# from an editor\r\nstart\r\n".encode())
    assert read_prompts(path) == (Prompt("start", "start"),)
    path.write_bytes("\ufeffstart\r\nstop\r\n".encode())
    assert [prompt.command for prompt in read_prompts(path)] == ["start", "stop"]


def test_every_round_has_every_prompt_once_in_an_order_of_its_own() -> None:
    prompts = tuple(Prompt(word, word) for word in "abcdefghij")
    tasks = shuffled(prompts, takes=3, seed=1, speaker="s1")
    assert Counter(task.prompt for task in tasks) == dict.fromkeys(prompts, 3)
    rounds = [[task.prompt.words for task in tasks[10 * take : 10 * take + 10]] for take in range(3)]
    assert all(sorted(words) == list("abcdefghij") for words in rounds)
    assert len({tuple(words) for words in rounds}) == 3
    assert shuffled(prompts, takes=3, seed=1, speaker="s1") == tasks
    assert shuffled(prompts, takes=3, seed=1, speaker="s2") != tasks
    assert shuffled(prompts, takes=3, seed=2, speaker="s1") != tasks


def test_no_two_words_share_a_file() -> None:
    names = [Task(Prompt(w, w), take).file_name for w in ("go left", "go-left", "Go left", "left", "left?", "é", "è")
             for take in (0, 1)]  # fmt: skip
    assert len(set(names)) == len(names)
    assert all("/" not in name for name in names)
    assert "left_0.wav" in names
    long = [Task(Prompt(w, w), 0).file_name for w in ("word " * 99, "word " * 98)]
    assert len(set(long)) == 2
    assert max(map(len, long)) < 100


def test_a_take_is_the_whole_recording_and_ends_with_the_word(session: Session) -> None:
    begun: list[None] = []
    with FileSource(session.path, is_fast=True) as source:
        take = record_take(source, SileroDetector(), seconds=5, on_begun=lambda: begun.append(None))
    assert len(begun) == 1
    assert take.speech is not None
    first, last = take.speech
    assert 0.85 <= first < last <= 0.95 + len(session.clips[0]) / RATE
    assert take.seconds == pytest.approx(last + 0.7, abs=0.05)
    expected, _ = soundfile.read(session.path, dtype="float32", frames=len(take.waveform))
    assert np.array_equal(take.waveform, expected)


def test_whoever_hesitates_between_two_words_is_recorded_to_the_end(session: Session, tmp_path: Path) -> None:
    one, other = session.clips[0], session.clips[1]
    samples = np.concatenate([background(0.5), one, background(0.45, seed=1), other, background(1.0, seed=2)])
    soundfile.write(tmp_path / "two.wav", samples, RATE)
    with FileSource(tmp_path / "two.wav", is_fast=True) as source:
        take = record_take(source, SileroDetector(), seconds=5, on_begun=lambda: None)
    assert take.speech is not None
    begun = 0.5 + len(one) / RATE + 0.45
    assert take.speech[1] > begun
    assert take.seconds > begun + len(other) / RATE


def test_a_take_is_no_longer_than_it_may_be_at_any_rate(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "quiet.wav", background(9.0)[: 6 * 22_050], 22_050)
    with FileSource(tmp_path / "quiet.wav", is_fast=True) as source:
        take = record_take(source, EnergyDetector(), seconds=5, on_begun=lambda: None)
    assert take.seconds == 5


def test_where_no_speech_is_heard_the_take_lasts_as_long_as_it_may(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "quiet.wav", background(3.0), RATE)
    with FileSource(tmp_path / "quiet.wav", is_fast=True) as source:
        take = record_take(source, SileroDetector(), seconds=2, on_begun=lambda: None)
        assert take.speech is None
        assert take.seconds == pytest.approx(2, abs=0.011)
        record_take(source, SileroDetector(), seconds=2, on_begun=lambda: None)
        with pytest.raises(SourceEnded, match="no sound is left"):
            record_take(source, SileroDetector(), seconds=2, on_begun=lambda: None)


def test_what_is_measured_agrees_with_closed_forms() -> None:
    quality = check(taken(voice(peak=0.5), noise=1e-3))
    assert quality.problems == ()
    assert quality.peak_dbfs == pytest.approx(20 * np.log10(0.5), abs=0.1)
    assert quality.speech_dbfs == pytest.approx(20 * np.log10(0.5 / np.sqrt(2)), abs=0.1)
    assert quality.background_dbfs == pytest.approx(-60, abs=0.5)
    assert quality.speech_seconds == pytest.approx(0.6)
    assert quality.seconds == pytest.approx(1.5)


@pytest.mark.parametrize(
    ("take", "words"),
    [
        (taken(voice(peak=0.02)), ["too quiet: speak up"]),
        (taken(voice(seconds=0.1)), ["only 0.10 s of speech"]),
        (taken(voice(seconds=1.4)), ["1.40 s is longer than the 1 s"]),
        (taken(voice(), noise=0.03), ["the background is loud"]),
        (taken(voice(peak=0.05), noise=0.009), ["hardly stands out"]),
        (taken(voice(), lead=0.0), []),  # there is background after it
        (taken(np.clip(voice(peak=2.0), -1, 1)), ["too loud and is distorted"]),
        (Take(np.concatenate([background(2.5), voice(0.5)]).astype(np.float32), RATE, (2.5, 3.0)), ["ended before"]),
        (Take(background(2.0).astype(np.float32), RATE, None), ["no speech was heard"]),
        (Take(voice().astype(np.float32), RATE, (0.0, 0.6)), ["the speech fills the recording"]),
    ],
)  # fmt: skip
def test_a_take_that_is_not_good_says_what_to_change(take: Take, words: list[str]) -> None:
    problems = check(take).problems
    assert len(problems) == len(words)
    assert all(word in problem for word, problem in zip(words, problems, strict=True))


def test_clipped_samples_are_counted_as_a_slow_loop_counts_them() -> None:
    rng = np.random.default_rng(4)
    for _ in range(50):
        waveform = rng.choice([0.2, 1.0, -1.0], 60, p=[0.4, 0.4, 0.2]).astype(np.float32)
        expected = run = 0
        for sample in [*waveform, 0.0]:
            if abs(sample) >= 0.999:
                run += 1
            else:
                expected += run if run >= 3 else 0
                run = 0
        assert clipped_samples(waveform) == expected


def test_what_is_kept_is_a_manifest_and_says_who_agreed_to_it(tmp_path: Path) -> None:
    take, out = taken(voice()), tmp_path / "set"
    with opened(out) as folder:
        folder.enrol("s1", CONSENT, {"accent": " Scottish ", "age": "34", "gender": ""})
        folder.keep("s1", Task(Prompt("go", "go"), 0), take, check(take), split="test", source="USB")
        folder.enrol("s2", CONSENT, {"native": "yes"})
        folder.keep("s2", Task(Prompt("unknown", "coffee"), 1), take, check(take), split="test", source="USB")
    assert stat.S_IMODE(out.stat().st_mode) == 0o700
    manifest = load_manifest(out / "manifest.csv")
    rows = manifest.table.set_index("speaker").to_dict("index")
    assert manifest.attributes == ("accent", "age", "native")
    assert {k: rows["s1"][k] for k in ("command", "split", "accent", "age", "native", "sound")} == {
        "command": "go", "split": "test", "accent": "scottish", "age": "thirties", "native": "undeclared", "sound": ""
    }  # fmt: skip
    assert (rows["s2"]["command"], rows["s2"]["sound"], rows["s2"]["native"]) == ("unknown", "coffee", "yes")
    assert rows["s2"]["accent"] == "undeclared"
    samples, rate = soundfile.read(rows["s1"]["path"], dtype="float32")
    assert rate == RATE
    assert samples == pytest.approx(take.waveform, abs=1 / 32768)
    person = RecordingFolder(out).person("s1")
    assert person is not None
    assert person.consent == CONSENT
    assert [record.source for record in person.takes.values()] == ["USB"]


def test_a_take_again_replaces_the_one_before(tmp_path: Path) -> None:
    task = Task(Prompt("go", "go"), 0)
    with opened(tmp_path / "set") as folder:
        folder.enrol("s1", CONSENT, {})
        for peak in (0.3, 0.6):
            take = taken(voice(peak=peak))
            path = folder.keep("s1", task, take, check(take), split="test", source="USB")
        assert folder.has("s1", task)
    assert len(load_manifest(tmp_path / "set" / "manifest.csv").table) == 1
    assert np.abs(soundfile.read(path)[0]).max() == pytest.approx(0.6, abs=0.01)


def test_the_same_speaker_with_other_attributes_is_refused(tmp_path: Path) -> None:
    with opened(tmp_path / "set") as folder:
        folder.enrol("s1", CONSENT, {"age": "34", "accent": "n/a"})
        folder.enrol("s1", CONSENT, {"age": "thirties"})  # the same
        with pytest.raises(RecordingError, match="declared age thirties, now age forties"):
            folder.enrol("s1", CONSENT, {"age": "44"})
        for speaker in ("..", ".", "a/b", "", "Jane Doe"):
            with pytest.raises(RecordingError, match="is no id"):
                folder.enrol(speaker, CONSENT, {})
            with pytest.raises(RecordingError, match="is no id"):
                folder.erase(speaker)


def test_erasing_a_speaker_leaves_nothing_of_them(tmp_path: Path) -> None:
    take, out = taken(voice()), tmp_path / "set"
    with opened(out) as folder:
        for speaker in ("s1", "s2"):
            folder.enrol(speaker, CONSENT, {"accent": f"of {speaker}"})
            folder.keep(speaker, Task(Prompt("go", "go"), 0), take, check(take), split="test", source="USB")
        assert folder.erase("s1") == 1
    for file in out.rglob("*"):
        assert "s1" not in file.name
        if file.suffix in (".csv", ".json"):
            assert "s1" not in file.read_text()
    assert list(load_manifest(out / "manifest.csv").table["speaker"]) == ["s2"]


def test_what_cannot_be_erased_is_said_and_stays_listed(tmp_path: Path) -> None:
    take, out, elsewhere = taken(voice()), tmp_path / "set", tmp_path / "elsewhere"
    with opened(out) as folder:
        folder.enrol("s1", CONSENT, {})
        folder.keep("s1", Task(Prompt("go", "go"), 0), take, check(take), split="test", source="USB")
        (out / "audio" / "s1").rename(elsewhere)
        (out / "audio" / "s1").symlink_to(elsewhere)
        with pytest.raises(OSError, match="symbolic link"):
            folder.erase("s1")
    assert RecordingFolder(out).person("s1") is not None
    assert len(load_manifest(out / "manifest.csv").table) == 1


def test_nothing_is_for_others_to_read_in_a_folder_that_was_there_before(tmp_path: Path) -> None:
    take, out = taken(voice()), tmp_path / "set"
    out.mkdir(mode=0o755)
    with opened(out) as folder:
        folder.enrol("s1", CONSENT, {"accent": "scottish"})
        folder.keep("s1", Task(Prompt("go", "go"), 0), take, check(take), split="test", source="USB")
    for path in out.rglob("*"):
        assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0, path


def test_what_was_agreed_to_before_is_kept_beside_what_is_agreed_to_now(tmp_path: Path) -> None:
    other = Consent(text="agreed to more", agreed_at=datetime(2026, 3, 4, tzinfo=UTC))
    with opened(tmp_path / "set") as folder:
        for consent in (CONSENT, CONSENT, other, other):
            folder.enrol("s1", consent, {})
    person = RecordingFolder(tmp_path / "set").person("s1")
    assert person is not None
    assert (person.consent, person.agreed_before) == (other, (CONSENT,))


def test_two_recordings_at_once_and_foreign_folders_are_refused(tmp_path: Path) -> None:
    with opened(tmp_path / "set"), pytest.raises(RecordingError, match="another run"), opened(tmp_path / "set"):
        pass
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "manifest.csv").write_text("path,command,speaker,split\n")
    with pytest.raises(RecordingError, match="was not recorded by this command"), opened(tmp_path / "other"):
        pass
    (tmp_path / "edited").mkdir()
    (tmp_path / "edited" / "recordings.json").write_text("{}")
    (tmp_path / "edited" / "manifest.csv").write_text("file,command\n")
    with pytest.raises(RecordingError, match="no column path, speaker, split, sound"), opened(tmp_path / "edited"):
        pass
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "recordings.json").write_text('{"speakers": 3}')
    with pytest.raises(RecordingError, match="damaged"), opened(tmp_path / "broken"):
        pass
