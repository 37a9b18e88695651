"""Damaged clips and messages: a few of those that `python -m benchmarks.fuzz` throws by the hundred thousand."""

from __future__ import annotations

import os
import time
from contextlib import ExitStack
from pathlib import Path

import pytest

from benchmarks.fuzz import fuzz
from benchmarks.fuzz_targets import TARGETS
from benchmarks.mutations import MUTATIONS, made, valid_files

SEED = 20_261_123
COUNTS = {"gate": 2000, "door": 300, "stream": 60}
SEEN = {
    "gate": {"decoded", "BrokenAudio", "UnsupportedAudio", "UnsupportedRate", "NotFinite", "TooShort", "Clipped"},
    "door": {"200 not_a_command", "400 The request can't be understood", "422 The audio is damaged"},
    "stream": {"left", "closed 1000, 1 decisions", "closed 1007, 0 decisions"},
}


@pytest.mark.parametrize("name", COUNTS)
def test_no_input_does_harm(name: str, bundle: Path, tmp_path: Path) -> None:
    tally = fuzz(TARGETS[name], bundle, seed=SEED, inputs=COUNTS[name], keep=tmp_path)
    assert tally.faults == {}
    assert list(tmp_path.iterdir()) == []
    assert tally.inputs == sum(tally.outcomes.values()) == COUNTS[name]
    assert set(tally.outcomes) >= SEEN[name]
    assert tally.traced_mib[0] < 32
    assert tally.growth_mib < 64


class Dying:
    """Fails in each way on one number."""

    def outcome(self, _: int, number: int) -> str:
        if number == 3:
            os.abort()
        if number == 5:
            raise KeyError("of no declared type")
        if number == 7:
            time.sleep(60)
        return "fine"

    def input(self, _: int, number: int) -> bytes:
        return b"%d" % number


def dying(_: Path, __: Path, ___: ExitStack) -> Dying:
    return Dying()


def test_a_crash_an_exception_and_a_hang_are_found_and_the_rest_is_still_tried(tmp_path: Path) -> None:
    tally = fuzz(dying, tmp_path, seed=1, inputs=20, keep=tmp_path, hanging_seconds=3)
    assert sorted(tally.faults) == [3, 5, 7]
    assert "-6" in tally.faults[3]  # SIGABRT
    assert "KeyError" in tally.faults[5]
    assert "hung" in tally.faults[7]
    assert tally.outcomes == {"fine": 17, "FAULT KeyError": 1}
    assert (tmp_path / "1-5.bin").read_bytes() == b"5"
    assert "KeyError" in (tmp_path / "1-5.txt").read_text()
    assert (tmp_path / "1-3.txt").is_file()


def test_an_input_is_made_again_from_its_number() -> None:
    first = [made(SEED, number) for number in range(300)]
    assert first == [made(SEED, number) for number in range(300)]
    assert first != [made(SEED + 1, number) for number in range(300)]
    assert {sent.kind for sent in first} >= {*MUTATIONS, "several", "random", "samples by themselves"}


def test_the_clips_that_are_bent_cover_what_the_gate_takes_and_what_it_does_not() -> None:
    names = {name for name, _ in valid_files()}
    assert {"WAV PCM_16", "WAV FLOAT", "WAVEX PCM_16", "FLAC PCM_16", "OGG VORBIS", "WAV MS_ADPCM"} <= names
