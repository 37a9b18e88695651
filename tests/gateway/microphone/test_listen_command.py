"""`evenvoice listen` on recordings: every word gets its command, by a bundle here and by a gateway."""

from __future__ import annotations

import json
import signal
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import httpx
import numpy as np
import pytest
import soundfile
from robot import Door, Evenvoice
from said import RATE, Session, background, pcm

from gateway.client import Client
from gateway.microphone.button import Button
from gateway.microphone.deciders import BundleDecider, GatewayDecider, wav_of
from gateway.microphone.deciding import WAITING
from gateway.microphone.files import FileSource
from gateway.microphone.heard import Heard, Verdict
from gateway.microphone.listen import Segmenter, listen
from gateway.microphone.sources import Block, Lost, Source
from gateway.microphone.views import Lines
from gateway.streaming.endpointing import Utterance
from gateway.streaming.listening import Listener
from gateway.streaming.vad import EnergyDetector, SileroDetector
from recognizer.recognizer import Recognizer


class Kept(Lines):
    """A view that keeps what it was shown."""

    def __init__(self) -> None:
        self.decisions: list[Heard] = []
        self.news: list[str] = []

    def heard(self, heard: Heard) -> None:
        self.decisions.append(heard)

    def lost(self, why: str) -> None:
        self.news.append(why)

    def back(self, source: Source) -> None:  # noqa: ARG002  the protocol's
        self.news.append("back")


def silero() -> Segmenter:
    return Listener(SileroDetector(), sample_rate=RATE)


def lines(out: str) -> list[dict[str, object]]:
    return [json.loads(line) for line in out.splitlines()]


@pytest.mark.parametrize("detector", ["silero", "energy"])
def test_every_word_of_a_recording_gets_its_command(
    evenvoice: Evenvoice, words_bundle: Path, session: Session, detector: str
) -> None:
    done = evenvoice(
        "listen", "--bundle", words_bundle, "--file", session.path, "--fast", "--json", "--detector", detector
    )
    assert done.code == 0, done.err
    found = lines(done.out)
    assert [line["command"] for line in found] == list(session.commands)
    assert [line["utterance"] for line in found] == list(range(1, len(found) + 1))
    assert all(300 <= line["silence_ms"] <= 340 for line in found)  # type: ignore[operator]
    assert f"{len(found)} utterances, {len(found)} accepted" in done.err
    assert "0 blocks dropped" in done.err


def test_a_seed_gives_the_same_decisions(evenvoice: Evenvoice, words_bundle: Path, session: Session) -> None:
    arguments = ("listen", "--bundle", words_bundle, "--file", session.path, "--fast", "--json", "--seed", "5")
    runs = [lines(evenvoice(*arguments).out) for _ in range(2)]
    for run in runs:
        for line in run:
            line.pop("deciding_ms")
    assert runs[0] == runs[1]
    assert runs[0][0]["seed"] == 5


def test_a_line_says_the_command_why_and_how_long(evenvoice: Evenvoice, words_bundle: Path, session: Session) -> None:
    done = evenvoice("listen", "--bundle", words_bundle, "--file", session.path, "--fast", "--once")
    (line,) = done.out.splitlines()
    assert line.startswith(f"1: {session.commands[0]} (ok, confidence ")
    assert " draws), " in line
    assert "ms after the speech (320 silence, " in line


def test_utterances_are_saved_as_they_were_decided_on(
    evenvoice: Evenvoice, words_bundle: Path, session: Session, tmp_path: Path
) -> None:
    folder = tmp_path / "saved"
    arguments = ("--fast", "--json", "--seed", "3", "--save", folder)
    done = evenvoice("listen", "--bundle", words_bundle, "--file", session.path, *arguments)
    told = lines(done.out)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert len(list(folder.iterdir())) == 2 * len(told)
    whole, _ = soundfile.read(session.path, dtype="int16")
    for line in told:
        path = Path(str(line["file"]))
        assert json.loads(path.with_suffix(".json").read_text()) == line
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        samples, rate = soundfile.read(path, dtype="int16")
        assert rate == RATE
        begin = round((float(str(line["start"])) - 0.2) * RATE)  # the pre-roll
        assert np.array_equal(samples, whole[begin : begin + len(samples)])
        again = evenvoice("classify", path, "--bundle", words_bundle, "--json")
        assert json.loads(again.out)["command"] == line["command"]


def test_a_gateway_is_asked_for_each_word(
    open_door: Callable[..., Door], words_recognizer: Recognizer, session: Session
) -> None:
    door = open_door(words_recognizer, is_file_register=False)
    view = Kept()
    with (
        Client("http://gateway", transport=httpx.ASGITransport(door.app), timeout=60) as client,
        FileSource(session.path, is_fast=True) as source,
    ):
        summary = listen(source, silero, GatewayDecider(client), view)
    assert [heard.command for heard in view.decisions] == list(session.commands)
    assert {row["request_id"] for row in door.rows} == {heard.request_id for heard in view.decisions}
    assert summary.utterances == summary.accepted == len(session.commands)


def test_no_answer_and_a_late_answer_are_holds() -> None:
    word = Utterance(np.zeros(RATE, np.float32), RATE, 0, 0, RATE, RATE, is_cut=False)
    with Client("http://127.0.0.1:9", timeout=1.0) as client:
        verdict = GatewayDecider(client).decide(word, number=1)
    assert (verdict.decision, verdict.command, verdict.reason) == ("error", None, None)
    assert verdict.detail


def test_half_a_sentence_is_never_sent() -> None:
    cut = Utterance(np.zeros(4 * RATE, np.float32), RATE, 0, 0, 4 * RATE, 4 * RATE, is_cut=True)
    with Client("http://127.0.0.1:9", timeout=1.0) as client:
        verdict = GatewayDecider(client).decide(cut, number=1)
    assert (verdict.decision, verdict.reason) == ("abstain", "too_long")


def test_silence_between_two_presses_is_an_abstention(words_recognizer: Recognizer) -> None:
    nothing = Utterance(np.zeros(RATE, np.float32), RATE, 0, 0, RATE, RATE, is_cut=False)
    verdict = BundleDecider(words_recognizer, seed=0).decide(nothing, number=1)
    assert (verdict.decision, verdict.reason) == ("abstain", "no_speech")


class Slow:
    """Decides at its own pace."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds

    def decide(self, utterance: Utterance, *, number: int) -> Verdict:
        time.sleep(self.seconds)
        return Verdict(decision="abstain", detail=f"{number}: {len(wav_of(utterance))} bytes")


class Live:
    """A source whose blocks are gone unless they are taken at once."""

    name, sample_rate, channels, waits = "live", RATE, 1, False

    def __init__(self, came: list[Block | Lost]) -> None:
        self.dropped = 0
        self._came = came
        self.slowest = 0.0

    def captured(self) -> object:
        for came in self._came:
            begun = time.monotonic()
            yield came
            self.slowest = max(self.slowest, time.monotonic() - begun)

    def __enter__(self) -> Live:
        return self

    def __exit__(self, *_: object) -> None: ...


def blocks(samples: np.ndarray) -> list[Block | Lost]:
    return [Block(pcm(samples[i : i + 160]), time.monotonic()) for i in range(0, len(samples), 160)]


def test_a_slow_decision_does_not_keep_the_microphone_waiting(session: Session) -> None:
    source, view = Live(blocks(session.samples())), Kept()
    segmenter = lambda: Listener(EnergyDetector(), sample_rate=RATE)  # noqa: E731
    summary = listen(source, segmenter, Slow(0.5), view)  # type: ignore[arg-type]
    assert source.slowest < 0.4
    assert summary.utterances == len(view.decisions) == len(session.commands)


def test_more_than_wait_for_a_decision_are_turned_away_with_the_reason(session: Session) -> None:
    samples = np.concatenate([session.samples() for _ in range(3)])
    source, view = Live(blocks(samples)), Kept()
    segmenter = lambda: Listener(EnergyDetector(), sample_rate=RATE)  # noqa: E731
    summary = listen(source, segmenter, Slow(1.0), view)  # type: ignore[arg-type]
    overloaded = [heard for heard in view.decisions if heard.reason == "overloaded"]
    assert len(view.decisions) == summary.utterances == 3 * len(session.commands)
    assert overloaded
    assert summary.utterances - len(overloaded) >= WAITING


def test_told_to_end_it_waits_for_no_more_than_one_decision(session: Session) -> None:
    samples = np.concatenate([session.samples(), session.samples()])
    ending = threading.Event()

    class Ended(Live):
        def captured(self) -> object:
            yield from super().captured()  # type: ignore[misc]
            ending.set()
            yield None

    source, view = Ended(blocks(samples)), Kept()
    segmenter = lambda: Listener(EnergyDetector(), sample_rate=RATE)  # noqa: E731
    begun = time.monotonic()
    listen(source, segmenter, Slow(2.0), view, ending=ending)  # type: ignore[arg-type]
    assert time.monotonic() - begun < 6  # of more than eight that wait
    assert len([heard for heard in view.decisions if heard.reason != "overloaded"]) <= 2


def test_ctrl_c_ends_it_while_nothing_comes_down_the_pipe() -> None:
    command = [Path(sys.executable).with_name("evenvoice"), "listen", "--stdin", "--rate", "16000"]
    process = subprocess.Popen(
        [*command, "--detector", "energy", "--url", "http://127.0.0.1:9"],
        stdin=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    try:
        assert process.stdin is not None
        assert process.stderr is not None
        process.stdin.write(bytes(3200))
        process.stdin.flush()
        while b"listening to" not in process.stderr.readline():
            assert process.poll() is None
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 0
    finally:
        process.kill()
        process.wait()


def test_a_word_that_breaks_off_with_the_microphone_is_no_utterance(session: Session) -> None:
    word = np.concatenate([background(0.9), session.clips[0]])
    broken = blocks(word[: -len(session.clips[0]) // 2])
    whole = blocks(np.concatenate([word, background(0.9)]))
    source, view = Live([*broken, Lost("the microphone is gone"), *whole]), Kept()
    summary = listen(source, silero, Slow(0.0), view)  # type: ignore[arg-type]
    assert view.news == ["the microphone is gone", "back"]
    assert (summary.utterances, summary.times_lost) == (1, 1)
    assert 0.9 <= view.decisions[0].start < 0.9 + len(session.clips[0]) / RATE  # counted anew


def test_what_keeps_a_decision_from_being_made_is_raised(session: Session) -> None:
    class Broken:
        def decide(self, *_: object, **__: object) -> Verdict:
            raise OSError("the disk is full")

    with FileSource(session.path, is_fast=True) as source, pytest.raises(OSError, match="the disk is full"):
        listen(source, silero, Broken(), Kept())


def test_bare_samples_come_down_a_pipe(
    evenvoice: Evenvoice, words_bundle: Path, session: Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with (tmp_path / "samples").open("wb+") as pipe:
        pipe.write(pcm(session.samples()))
        pipe.seek(0)
        monkeypatch.setattr("sys.stdin", pipe)
        done = evenvoice("listen", "--bundle", words_bundle, "--stdin", "--rate", "16000", "--json")
    assert [line["command"] for line in lines(done.out)] == list(session.commands)


def test_push_to_talk_decides_on_what_is_between_two_presses(words_recognizer: Recognizer, session: Session) -> None:
    before, clip = background(0.5), session.clips[1]
    came = blocks(np.concatenate([before, clip, background(0.5)]))
    button = Button(RATE, 1)

    class Pressing(Live):
        def captured(self) -> object:
            for number, block in enumerate(super().captured()):  # type: ignore[arg-type, var-annotated]
                if number in (len(before) // 160, (len(before) + len(clip)) // 160):
                    button.press()
                yield block

    view = Kept()
    listen(Pressing(came), lambda: button, BundleDecider(words_recognizer, seed=0), view)  # type: ignore[arg-type]
    (heard,) = view.decisions
    assert heard.command == session.commands[1]
    assert heard.silence_ms == 0


def test_options_that_do_not_go_together_are_usage_errors(evenvoice: Evenvoice, bundle: Path, session: Session) -> None:
    for arguments, words in (
        (("--bundle", bundle, "--url", "http://127.0.0.1:1", "--file", session.path), "--bundle decides here"),
        (("--bundle", bundle, "--file", session.path, "--stdin"), "--device, --file and --stdin"),
        (("--bundle", bundle, "--stdin"), "--stdin needs --rate"),
        (("--bundle", bundle, "--stdin", "--rate", "16000", "--push-to-talk"), "--push-to-talk reads keys"),
        (("--bundle", bundle, "--fast"), "--fast goes with --file"),
        (("--seed", "1", "--file", session.path), "--seed goes with --bundle"),
    ):
        done = evenvoice("listen", *arguments)
        assert done.code == 2, arguments
        assert words in " ".join(done.err.split()), arguments
