"""`evenvoice record` with a recording for a microphone and a script for a person."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
from robot import Evenvoice, Run
from said import RATE, Session, background

from gateway.microphone.recording.prompts import read_prompts, shuffled
from recognizer.manifest import load_manifest

Record = Callable[..., Run]


@pytest.fixture
def record(evenvoice: Evenvoice, session: Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Record:
    """Runs the command with answers typed in, and words said in the order that they are asked for."""
    words = session.words
    prompts = tmp_path / "prompts.txt"
    prompts.write_text("\n".join(dict.fromkeys(session.commands)))

    def run(
        answers: str, *options: str, speaker: str = "s1", skip: int = 0, said: list[np.ndarray] | None = None
    ) -> Run:
        tasks = shuffled(read_prompts(prompts), takes=2, seed=0, speaker=speaker)[skip:]
        clips = [words[task.prompt.words] for task in tasks] if said is None else said
        heard = Session(tmp_path / f"{speaker}.wav", (), clips)
        soundfile.write(heard.path, heard.samples(pause=1.3, seed=sum(speaker.encode())), RATE, subtype="PCM_16")
        monkeypatch.setattr("sys.stdin", io.StringIO(answers))
        arguments = ("--prompts", prompts, "--speaker", speaker, "--out", tmp_path / "set", "--file", heard.path)
        return evenvoice("record", *arguments, *options)

    return run


def test_a_person_is_led_through_every_word_and_an_audit_takes_what_was_said(
    record: Record, evenvoice: Evenvoice, words_bundle: Path, session: Session, tmp_path: Path
) -> None:
    done = record("yes\nscottish\n34\n\n\n" + 4 * "\n")
    assert done.code == 0, done
    assert "everything is recorded" in done.out
    manifest = load_manifest(tmp_path / "set" / "manifest.csv")
    assert len(manifest.table) == 4
    assert set(manifest.table["split"]) == {"test"}
    assert set(manifest.table["accent"]) == {"scottish"}
    assert manifest.attributes == ("accent", "age")  # what nobody declares has no column
    for row in manifest.table.to_dict("records"):
        samples, _ = soundfile.read(row["path"], dtype="float32")
        said = session.words[row["command"]]
        assert np.abs(np.correlate(samples, said)).max() > 0.99 * np.dot(said, said)
    second = record("yes\nus\n71\nfemale\nyes\n" + 4 * "\n", speaker="s2")
    assert "others: scottish" in second.out
    audit = evenvoice("audit", "run", "--bundle", words_bundle, "--manifest", tmp_path / "set" / "manifest.csv",
                      "--front-end", "--attacked-clips", "0", "--defense", "none")  # fmt: skip
    assert audit.code == 2, audit  # heard, and too few speakers to say
    assert "8" in audit.out


def test_without_consent_nothing_is_recorded(record: Record, tmp_path: Path) -> None:
    done = record("no\n")
    assert done.code == 1
    assert "did not agree" in done.err
    assert [file.name for file in (tmp_path / "set").iterdir()] == []


def test_consent_is_kept_word_for_word_and_asked_again_where_the_words_changed(record: Record, tmp_path: Path) -> None:
    assert record("yes\n\n\n\n\nq\n").code == 0
    sidecar = json.loads((tmp_path / "set" / "recordings.json").read_text())
    consent = sidecar["speakers"]["s1"]["consent"]
    assert consent["text"].startswith("Your voice will be recorded")
    assert consent["agreed_at"].startswith("20")
    again = record("q\n")
    assert "s1 agreed on" in again.out
    (tmp_path / "own.txt").write_text("We record you for the robot in the hall.")
    asked = record("no\n", "--consent", str(tmp_path / "own.txt"))
    assert "the robot in the hall" in asked.out
    assert asked.code == 1


@pytest.mark.parametrize(("data", "words"), [(b" \n", "is empty"), (b"\xff\xfea", "can't be read"), (None, "can't be")])
def test_a_consent_that_says_nothing_is_refused_in_one_line(
    record: Record, tmp_path: Path, data: bytes | None, words: str
) -> None:
    if data is not None:
        (tmp_path / "own.txt").write_bytes(data)
    done = record("yes\n", "--consent", str(tmp_path / "own.txt"))
    assert done.code == 1
    assert words in done.err
    assert done.err.startswith("evenvoice: ")
    assert not (tmp_path / "set").exists()


def test_it_goes_on_where_it_was_left(record: Record, tmp_path: Path) -> None:
    first = record("yes\n\n\n\n\n" + "\ns\n\nq\n")
    assert "4 to go" in first.out
    assert "2 are left" in first.out
    assert len(load_manifest(tmp_path / "set" / "manifest.csv").table) == 2
    second = record("\n\n", skip=1)
    assert "2 of 4 recordings are kept, 2 to go" in second.out
    assert len(load_manifest(tmp_path / "set" / "manifest.csv").table) == 4


def test_a_bad_take_says_what_to_change_and_is_recorded_again(record: Record, session: Session, tmp_path: Path) -> None:
    quiet = session.clips[0] * 0.02
    said = [quiet, *session.clips[:4]]
    done = record("yes\n\n\n\n\n" + "\n\n" + 3 * "\n", "--detector", "energy", said=said)
    assert "too quiet: speak up" in done.out
    assert "everything is recorded" in done.out
    takes = json.loads((tmp_path / "set" / "recordings.json").read_text())["speakers"]["s1"]["takes"]
    assert all(take["quality"]["problems"] == [] for take in takes.values())


def test_a_take_that_the_person_keeps_all_the_same_is_marked(record: Record, tmp_path: Path) -> None:
    done = record("yes\n\n\n\n\n" + "\nk\nq\n", "--seconds", "1", said=[background(3.0)])
    assert "no speech was heard" in done.out
    takes = json.loads((tmp_path / "set" / "recordings.json").read_text())["speakers"]["s1"]["takes"]
    (take,) = takes.values()
    assert take["quality"]["speech_seconds"] is None
    assert len(take["quality"]["problems"]) == 1


def test_the_same_speaker_with_other_attributes_is_refused_in_one_line(record: Record) -> None:
    assert record("yes\nq\n", "--declare", "age=34,accent=us", "--attributes", "age,accent").code == 0
    done = record("q\n", "--declare", "age=50")
    assert done.code == 1
    assert done.err.startswith("evenvoice: s1 is here already and declared accent us, age thirties, now")


def test_what_is_no_age_is_said_to_be_undeclared(record: Record) -> None:
    done = record("yes\nq\n", "--declare", "age=1234", "--attributes", "age")
    assert "age: '1234' counts as undeclared" in done.out


def test_a_recording_that_ends_leaves_the_rest_for_later(record: Record, session: Session) -> None:
    done = record("yes\n\n\n\n\n" + 9 * "\n", said=session.clips[:1])
    assert done.code == 0
    assert "no sound is left" in done.out
    assert "are left; the same command goes on with them" in done.out


def test_a_speaker_is_erased(
    record: Record, evenvoice: Evenvoice, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    record("yes\n\n\n\n\n\nq\n")
    monkeypatch.setattr("sys.stdin", io.StringIO("y\n"))
    done = evenvoice("record", "--erase", "--speaker", "s1", "--out", tmp_path / "set")
    assert done.code == 0
    assert "erased 1 recordings" in done.out
    assert not list((tmp_path / "set").rglob("*.wav"))
