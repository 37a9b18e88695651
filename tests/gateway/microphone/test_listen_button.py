"""Push to talk: what is between two presses, and nothing else."""

from __future__ import annotations

import os
import pty
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile
from said import RATE, background, pcm

from gateway.microphone.button import Button
from gateway.microphone.keys import pressed
from gateway.streaming.endpointing import SpeechStarted, Utterance

HIDE_CURSOR, SHOW_CURSOR = b"\x1b[?25l", b"\x1b[?25h"


def blocks(samples: np.ndarray, size: int = 160) -> list[bytes]:
    return [pcm(samples[i : i + size]) for i in range(0, len(samples), size)]


def test_an_utterance_is_what_came_between_two_presses() -> None:
    heard = background(1.0, amplitude=0.1)
    button = Button(RATE, 1)
    events = []
    for number, block in enumerate(blocks(heard)):
        if number in (20, 70):
            button.press()
        events += button.feed(block)
    started, utterance = events
    assert started == SpeechStarted(20 * 160 / RATE)
    assert isinstance(utterance, Utterance)
    assert (utterance.speech_start, utterance.speech_end) == (20 * 160, 70 * 160)
    assert utterance.endpoint_ms == 0
    assert not utterance.is_cut
    expected = np.frombuffer(pcm(heard[20 * 160 : 70 * 160]), "<i2") / 32768
    assert np.array_equal(utterance.waveform, expected.astype(np.float32))


def test_two_channels_are_mixed_down() -> None:
    stereo = np.random.default_rng(0).integers(-9999, 9999, (320, 2)).astype("<i2")
    button = Button(RATE, 2)
    button.press()
    button.feed(stereo.tobytes())
    (utterance,) = button.finish()
    assert isinstance(utterance, Utterance)
    assert utterance.waveform == pytest.approx(stereo.mean(axis=1) / 32768)


def test_a_button_that_is_held_too_long_ends_the_utterance_as_cut() -> None:
    button = Button(RATE, 1, max_seconds=0.1)
    button.press()
    events = [event for block in blocks(background(0.3)) for event in button.feed(block)]
    utterance = events[-1]
    assert isinstance(utterance, Utterance)
    assert utterance.is_cut
    assert len(utterance.waveform) == 0.1 * RATE
    assert button.finish() == []


def test_nothing_is_heard_without_a_press() -> None:
    button = Button(RATE, 1)
    assert not any(button.feed(block) for block in blocks(background(0.5, amplitude=0.5)))
    assert button.finish() == []


def test_space_and_enter_on_a_terminal_press_at_once_and_other_keys_do_not() -> None:
    import termios

    ours, theirs = pty.openpty()
    before = termios.tcgetattr(theirs)
    presses: list[float] = []
    with pressed(theirs, lambda: presses.append(time.monotonic())):
        for number, key in enumerate((b" ", b"x", b"\r"), start=1):
            os.write(ours, key)
            wanted = {1: 1, 2: 1, 3: 2}[number]
            ends = time.monotonic() + 5
            while len(presses) < wanted and time.monotonic() < ends:
                time.sleep(0.01)
            assert len(presses) == wanted
    assert termios.tcgetattr(theirs) == before
    os.close(ours)
    os.close(theirs)


@pytest.mark.parametrize("name", [signal.SIGTERM, signal.SIGHUP])
def test_a_terminal_is_left_as_it_was_however_listening_ends(name: signal.Signals, tmp_path: Path) -> None:
    import termios

    soundfile.write(tmp_path / "clip.wav", background(60), RATE)
    ours, theirs = pty.openpty()
    before = termios.tcgetattr(theirs)
    command = [Path(sys.executable).with_name("evenvoice"), "listen", "--push-to-talk", "--url", "http://127.0.0.1:9"]
    command += ["--file", "clip.wav"]  # a longer path would not fit into the terminal's 80 columns
    environment = {**os.environ, "TERM": "xterm"}  # a terminal that can hide its cursor
    process = subprocess.Popen(
        command, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True, cwd=tmp_path, env=environment
    )
    shown = b""
    try:
        while b"clip.wav" not in shown:
            shown += os.read(ours, 65_536)
        assert termios.tcgetattr(theirs) != before
        process.send_signal(name)
        ends = time.monotonic() + 20
        while process.poll() is None and time.monotonic() < ends:
            if select.select([ours], [], [], 0.05)[0]:
                shown += os.read(ours, 65_536)
        assert process.poll() == 0
        while select.select([ours], [], [], 0)[0]:
            shown += os.read(ours, 65_536)
        assert termios.tcgetattr(theirs) == before
        assert shown.rfind(SHOW_CURSOR) > shown.rfind(HIDE_CURSOR)
    finally:
        process.kill()
        process.wait()
        os.close(ours)
        os.close(theirs)


def test_where_there_is_no_terminal_each_line_presses() -> None:
    end, beginning = os.pipe()
    presses: list[None] = []
    os.write(beginning, b"now\n \n")
    os.close(beginning)
    with pressed(end, lambda: presses.append(None)):
        ends = time.monotonic() + 5
        while len(presses) < 2 and time.monotonic() < ends:
            time.sleep(0.01)
    assert len(presses) == 2
    os.close(end)
