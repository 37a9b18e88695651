"""What a terminal shows while it is listened, and after decisions."""

from __future__ import annotations

import io

import numpy as np
from rich.console import Console
from said import pcm

from gateway.microphone.heard import Heard
from gateway.microphone.level import level_of
from gateway.microphone.pcm import StdinSource
from gateway.microphone.views import Picture, line_of
from recognizer.decision import Reason


def heard(number: int, command: str | None, reason: Reason, detail: str = "") -> Heard:
    return Heard(
        decision="accept" if command else "abstain",
        command=command,
        reason=reason,
        detail=detail,
        confidence=0.93,
        utterance=number,
        start=1.0,
        end=1.5,
        silence_ms=320,
        deciding_ms=21,
        dropped_blocks=0,
    )


def shown(picture: Picture) -> str:
    console = Console(file=io.StringIO(), width=160)
    console.print(picture.render())
    return console.file.getvalue()  # type: ignore[attr-defined, no-any-return]


def test_a_picture_says_commands_and_holds_in_words_and_who_is_gone() -> None:
    picture = Picture(Console(file=io.StringIO()))
    picture.level(level_of(pcm(np.full(100, 1.0))), dropped=3)
    picture.speaking()
    assert "CLIPPED" in shown(picture)
    assert "speaking" in shown(picture)
    assert "3 blocks dropped" in shown(picture)
    for number in range(1, 12):
        picture.heard(heard(number, "seven", Reason.OK))
    picture.heard(heard(12, None, Reason.SMOOTHING_TIE, "p = 0.31"))
    text = shown(picture)
    assert "hold (abstain)" in text
    assert "smoothing_tie: p = 0.31" in text
    assert "320 + 21 = 341" in text
    assert text.count("seven") == 7  # the last eight, the newest first
    assert text.index("hold") < text.index("seven")
    picture.lost("USB Audio is gone; plug it in again")
    assert "USB Audio is gone; plug it in again; waiting for it" in shown(picture)
    picture.back(StdinSource(0, sample_rate=16_000))
    assert "gone" not in shown(picture)
    assert "standard input, 16000 Hz" in shown(picture)


def test_a_line_names_the_reason_of_a_hold() -> None:
    line = line_of(heard(2, None, Reason.NO_SPEECH, "nothing is said here"))
    assert line == (
        "2: hold (no_speech: nothing is said here, confidence 0.93), 341 ms after the speech (320 silence, 21 deciding)"
    )
