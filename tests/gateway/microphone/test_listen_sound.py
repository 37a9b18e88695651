"""Sound without a sound card: what is played into a null sink comes out of `evenvoice listen` as the right command."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import soundfile
from said import Session

from benchmarks.sound_server import SoundServer

EVENVOICE = Path(sys.executable).with_name("evenvoice")
PATIENCE = 60.0


class Listening:
    """`evenvoice listen`, as a process of its own."""

    def __init__(self, process: subprocess.Popen[bytes], out: Path, notes: Path) -> None:
        self.process, self._out, self._notes = process, out, notes

    @property
    def decisions(self) -> list[dict[str, Any]]:
        whole, _, _ = self._out.read_text().rpartition("\n")
        return [json.loads(line) for line in whole.splitlines()]

    @property
    def notes(self) -> str:
        return self._notes.read_text()

    def until_notes(self, words: str) -> None:
        self._until(lambda: words in self.notes)

    def until_decisions(self, count: int) -> None:
        self._until(lambda: len(self.decisions) >= count)

    def _until(self, is_so: Any) -> None:
        ends = time.monotonic() + PATIENCE
        while not is_so():
            assert self.process.poll() is None, self.notes
            assert time.monotonic() < ends, self.notes
            time.sleep(0.05)

    def end(self) -> None:
        """As Ctrl-C does."""
        self.process.send_signal(signal.SIGINT)
        assert self.process.wait(PATIENCE) == 0, self.notes


@contextmanager
def listening(sound: SoundServer, folder: Path, *options: str | Path) -> Iterator[Listening]:
    out, notes = folder / "out", folder / "notes"
    environment = {**os.environ, **sound.environment, "OMP_NUM_THREADS": "1"}
    with out.open("wb") as stdout, notes.open("wb") as stderr:
        process = subprocess.Popen(
            [EVENVOICE, "listen", "--json", "--device", "pulse", *options],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=stderr,
        )
    found = Listening(process, out, notes)
    try:
        found.until_notes("listening to pulse")
        yield found
    finally:
        process.kill()
        process.wait()


@pytest.mark.parametrize("options", [(), ("--rate", "16000"), ("--channels", "2", "--detector", "energy")])
def test_spoken_words_come_out_as_commands(
    sound: SoundServer, words_bundle: Path, session: Session, tmp_path: Path, options: tuple[str, ...]
) -> None:
    with listening(sound, tmp_path, "--bundle", words_bundle, *options) as heard:
        sound.play(session.path)
        heard.until_decisions(len(session.commands))
        heard.end()
        assert [line["command"] for line in heard.decisions] == list(session.commands)
        assert all(line["dropped_blocks"] == 0 for line in heard.decisions)
        assert "; 0 blocks dropped" in heard.notes
        assert "Expression" not in heard.notes  # what PortAudio prints


def test_unplugged_it_waits_and_goes_on(
    sound: SoundServer, words_bundle: Path, session: Session, tmp_path: Path
) -> None:
    with listening(sound, tmp_path, "--bundle", words_bundle) as heard:
        sound.play(session.path)
        heard.until_decisions(len(session.commands))
        sound.stop()
        heard.until_notes("is gone; plug it in again; waiting for it")
        time.sleep(2.5)  # a few attempts that fail
        sound.start()
        heard.until_notes("the microphone is back")
        time.sleep(1.0)
        sound.play(session.path)
        heard.until_decisions(2 * len(session.commands))
        heard.end()
        assert [line["command"] for line in heard.decisions] == 2 * list(session.commands)
        assert "the microphone was gone 1 times" in heard.notes


def test_ctrl_c_ends_it_while_the_sound_server_stands_still(sound: SoundServer, tmp_path: Path) -> None:
    with listening(sound, tmp_path, "--url", "http://127.0.0.1:9", "--detector", "energy") as heard:
        sound.stand_still()
        heard.end()
        assert "; 0 blocks dropped" in heard.notes


def test_a_sound_server_that_stands_still_is_waited_for_no_longer_than_said(sound: SoundServer, tmp_path: Path) -> None:
    with listening(sound, tmp_path, "--url", "http://127.0.0.1:9", "--detector", "energy") as heard:
        sound.stand_still()
        assert heard.process.wait(PATIENCE) == 1
        assert "pulse is gone; plug it in again; waiting for it" in heard.notes
        assert heard.notes.splitlines()[-1].startswith("evenvoice: the sound system does not answer within 3 s")


def test_the_devices_are_listed(sound: SoundServer) -> None:
    done = subprocess.run(
        [EVENVOICE, "listen", "--list-devices"],
        env={**os.environ, **sound.environment},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    assert done.returncode == 0
    assert "pulse" in done.stdout
    assert done.stderr == ""


def test_a_person_is_recorded_through_the_microphone(sound: SoundServer, session: Session, tmp_path: Path) -> None:
    """The microphone is open for each take only."""
    (tmp_path / "prompts").write_text("\n".join(dict.fromkeys(session.commands)))
    process = subprocess.Popen(
        [
            *(EVENVOICE, "record", "--prompts", tmp_path / "prompts", "--speaker", "s1", "--out", tmp_path / "set"),
            *("--takes", "1", "--attributes", "accent", "--device", "pulse", "--seconds", "5"),
        ],
        env={**os.environ, **sound.environment, "OMP_NUM_THREADS": "1"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    words = session.words
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write("yes\n\n\n")  # consent, no accent, ready for the first
    process.stdin.flush()
    told = []
    for line in process.stdout:
        told.append(line)
        if "say: " in line:
            word = line.rpartition("say: ")[2].strip()
            one = Session(tmp_path / "one.wav", (word,), [words[word]])
            soundfile.write(one.path, one.samples(pause=0.8), 16_000, subtype="PCM_16")
            sound.play(one.path)
            process.stdin.write("\n")
            process.stdin.flush()
    assert process.wait(PATIENCE) == 0, told
    assert "".join(told).count("kept: ") == len(words), told
