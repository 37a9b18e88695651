"""Files and pipes as sources: the same samples, in the same time, or a word on why not."""

from __future__ import annotations

import os
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile
from said import RATE, background, pcm

from gateway.microphone.files import FileSource
from gateway.microphone.pcm import StdinSource
from gateway.microphone.sources import Block, SourceError


def all_of(blocks: list[Block]) -> bytes:
    return b"".join(block.data for block in blocks)


@pytest.mark.parametrize(
    ("kind", "subtype"), [("WAV", "PCM_16"), ("FLAC", "PCM_16"), ("WAV", "FLOAT"), ("WAV", "PCM_24")]
)
@pytest.mark.parametrize("channels", [1, 2])
def test_a_file_gives_its_samples_as_16_bits(tmp_path: Path, kind: str, subtype: str, channels: int) -> None:
    given = np.random.default_rng(1).integers(-32768, 32768, (12_345, channels)).astype(np.int16)
    path = tmp_path / "clip"
    soundfile.write(path, given if subtype == "PCM_16" else given / 32768, 44_100, format=kind, subtype=subtype)
    source = FileSource(path, is_fast=True)
    assert (source.sample_rate, source.channels) == (44_100, channels)
    assert all_of(list(source.captured())) == given.astype("<i2").tobytes()


def test_a_file_is_heard_as_fast_as_it_was_spoken_or_as_fast_as_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "clip.wav"
    soundfile.write(path, background(0.6), RATE)
    begun = time.monotonic()
    blocks = list(FileSource(path).captured())
    assert time.monotonic() - begun >= 0.6
    heard = np.cumsum([len(block.data) / 2 / RATE for block in blocks])
    assert all(block.heard_at - begun >= at for block, at in zip(blocks, heard, strict=True))
    begun = time.monotonic()
    list(FileSource(path, is_fast=True).captured())
    assert time.monotonic() - begun < 0.3


def test_a_file_opened_again_goes_on_where_it_was_left(tmp_path: Path) -> None:
    path = tmp_path / "clip.wav"
    soundfile.write(path, background(0.1), RATE, subtype="PCM_16")
    source = FileSource(path, is_fast=True)
    with source:
        first = next(source.captured())
    with source:
        rest = list(source.captured())
    assert all_of([first, *rest]) == soundfile.read(path, dtype="int16")[0].tobytes()


def test_what_is_no_recording_is_refused_in_words(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="nowhere"):
        FileSource(tmp_path / "nowhere.wav")
    (tmp_path / "text.wav").write_text("seven")
    with pytest.raises(SourceError, match=r"can't be read: .*WAV and FLAC files are accepted"):
        FileSource(tmp_path / "text.wav")
    soundfile.write(tmp_path / "a.ogg", background(0.5), RATE)
    with pytest.raises(SourceError, match="is OGG; WAV and FLAC"):
        FileSource(tmp_path / "a.ogg")
    soundfile.write(tmp_path / "fast.wav", background(0.5), 96_000)
    with pytest.raises(SourceError, match="96,000 samples a second; 8,000 to 48,000 are accepted"):
        FileSource(tmp_path / "fast.wav")
    soundfile.write(tmp_path / "many.wav", np.zeros((100, 3)), RATE)
    with pytest.raises(SourceError, match="3 channels; 1 or 2"):
        FileSource(tmp_path / "many.wav")


def test_a_file_that_is_damaged_further_on_says_so(tmp_path: Path) -> None:
    path = tmp_path / "clip.flac"
    soundfile.write(path, background(2.0, amplitude=0.1), RATE)
    data = bytearray(path.read_bytes())
    data[len(data) // 2 :] = b"\x55" * (len(data) - len(data) // 2)
    path.write_bytes(data)
    with pytest.raises(SourceError, match=r"clip\.flac is damaged: "):
        list(FileSource(path, is_fast=True).captured())
    path = tmp_path / "nan.wav"
    soundfile.write(path, np.array([0.1, np.nan] * RATE), RATE, subtype="FLOAT")
    with pytest.raises(SourceError, match=r"nan\.wav holds NaN"):
        list(FileSource(path, is_fast=True).captured())


def test_a_pipe_gives_what_came_down_it() -> None:
    data = pcm(background(0.5)) + b"\x01"
    end, beginning = os.pipe()
    os.write(beginning, data)
    os.close(beginning)
    assert all_of([block for block in StdinSource(end, sample_rate=RATE).captured() if block is not None]) == data
    os.close(end)
    with pytest.raises(SourceError, match="standard input has 96,000"):
        StdinSource(0, sample_rate=96_000)


def test_samples_that_come_in_pieces_are_never_taken_apart() -> None:
    end, beginning = os.pipe()
    came = StdinSource(end, sample_rate=RATE, channels=2).captured()
    os.write(beginning, b"abcde")
    assert (block := next(came)) is not None
    assert block.data == b"abcd"
    os.write(beginning, b"fg")
    assert next(came) is None
    os.write(beginning, b"hi")
    assert (block := next(came)) is not None
    assert block.data == b"efgh"
    os.close(beginning)
    assert [block.data for block in came if block is not None] == [b"i"]
    os.close(end)


def test_a_pipe_without_samples_gives_its_reader_time_to_look_around() -> None:
    end, beginning = os.pipe()
    begun = time.monotonic()
    assert next(StdinSource(end, sample_rate=RATE).captured()) is None
    assert time.monotonic() - begun < 1
    os.close(beginning)
    os.close(end)
