"""What damaged clips are thrown at: the decode gate, the HTTP door and the stream, each with what it must never do."""

from __future__ import annotations

import asyncio
import json
import logging
import sys
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Protocol

import httpx
import numpy as np
from numpy.random import Generator

from benchmarks.in_process import gateway_in_process
from benchmarks.mutations import HEADER, Sent, flip_bits, lie_in_header, made
from gateway.api.reading import FILE_TYPES
from gateway.streaming.limits import StreamLimits
from gateway.streaming.streams import Streams
from gateway.streaming.vad import EnergyDetector, SileroDetector
from recognizer.audio import AudioError, AudioFormat, Clip, decode, decode_pcm16

sys.path.insert(0, str(Path(__file__).parent.parent / "tests" / "gateway" / "streaming"))
from caller import Caller

PATIENCE = 30.0  # seconds for one answer
BOUNDARY = b"x7f3a"
ACCEPTED_STATUSES = {200, 400, 413, 415, 422}
STREAM_KINDS = {"ready", "speech_started", "decision", "problem", "stopped"}
STREAM_CODES = {1000, 1002, 1003, 1007, 1008, 1009}
START = {"type": "start", "rate": 16_000, "width": 2, "channels": 1}
CONTROLS = (START, {"type": "end_utterance"}, {"type": "stop"}, {"type": "ready"}, {"type": None}, {}, [], 1, None)


class Fault(AssertionError):
    """What must never be; the message says what was seen."""


class _Complaints(logging.Handler):
    """What the gateway logs as an error: a fault that a client that has gone would not see."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self._said: list[str] = []
        logging.getLogger("gateway").addHandler(self)

    def emit(self, record: logging.LogRecord) -> None:
        self._said.append(logging.Formatter().format(record))

    def check(self) -> None:
        """
        Raises:
            Fault: something was said since the last time.
        """
        said, self._said = self._said, []
        if said:
            raise Fault("the gateway logged: " + "; ".join(said))


class Target(Protocol):
    """One of the things that inputs are thrown at. An input is known by a seed and a number."""

    def outcome(self, seed: int, number: int) -> str:
        """What became of an input.

        Raises:
            Exception: whatever is raised is a fault.
        """
        ...

    def input(self, seed: int, number: int) -> bytes:
        """The input as it can be kept."""
        ...


class Gate:
    """`recognizer.audio`, which everything that claims to be audio passes."""

    def __init__(self, audio: AudioFormat) -> None:
        self._audio = audio

    def outcome(self, seed: int, number: int) -> str:
        sent = made(seed, number)
        try:
            clip = _decoded(sent, self._audio)
        except AudioError as error:
            return type(error).__name__
        self._check(clip)
        return "decoded"

    def input(self, seed: int, number: int) -> bytes:
        return made(seed, number).data

    def _check(self, clip: Clip) -> None:
        wave, audio = clip.waveform, self._audio
        if wave.dtype != np.float32 or wave.ndim != 1 or not np.isfinite(wave).all() or np.abs(wave).max() > 1:
            raise Fault(f"a clip of {wave.dtype}, shape {wave.shape}, is no waveform in [-1, 1]")
        if not audio.min_seconds <= clip.seconds <= audio.max_seconds:
            raise Fault(f"a clip of {clip.seconds} s was let through")
        if abs(len(wave) - clip.seconds * audio.sample_rate) > 1:
            raise Fault(f"{len(wave)} samples are not the {clip.seconds} s that they are said to be")


class Door:
    """`POST /v1/commands`, as files, as forms, and as forms whose frame is damaged, too."""

    def __init__(self, app: Any) -> None:
        self._app = app
        self._loop = asyncio.new_event_loop()
        self._complaints = _Complaints()

    def outcome(self, seed: int, number: int) -> str:
        data, kind = _body(seed, number)
        answer = self._loop.run_until_complete(asyncio.wait_for(self._ask(data, kind), PATIENCE))
        self._complaints.check()
        if answer.status_code not in ACCEPTED_STATUSES:
            raise Fault(f"status {answer.status_code}: {answer.text[:500]}")
        body = answer.json()
        if answer.status_code == 200:
            if (body["decision"] == "accept") != (body["command"] is not None):
                raise Fault(f"a decision that contradicts itself: {answer.text[:500]}")
            return f"200 {body['reason']}"
        if answer.headers["content-type"] != "application/problem+json" or body["safe_action"] != "hold":
            raise Fault(f"an error that is no problem: {answer.text[:500]}")
        return f"{answer.status_code} {body['title']}"

    def input(self, seed: int, number: int) -> bytes:
        data, kind = _body(seed, number)
        return kind + b"\n" + data

    async def _ask(self, data: bytes, kind: bytes) -> httpx.Response:
        transport = httpx.ASGITransport(app=self._app)
        async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as client:
            headers = {b"content-type": kind}
            return await client.post("/v1/commands", params={"defense": "none"}, content=data, headers=headers)


class Stream:
    """`/v1/stream`: messages in any order, some damaged, with any samples."""

    def __init__(self, gateway: Any) -> None:
        self._gateway = gateway
        self._loop = asyncio.new_event_loop()
        self._complaints = _Complaints()
        self._streams = [Streams(StreamLimits(), detector) for detector in (EnergyDetector, SileroDetector)]

    def outcome(self, seed: int, number: int) -> str:
        return self._loop.run_until_complete(self._speak(seed, number))

    def input(self, seed: int, number: int) -> bytes:
        return b"\n".join(m if isinstance(m, bytes) else m.encode() for m in _script(seed, number))

    def close(self) -> None:
        for streams in self._streams:
            streams.close()

    async def _speak(self, seed: int, number: int) -> str:
        streams, leaves = self._streams[number % 2], number % 5 == 0
        caller = Caller(lambda websocket: streams.serve(websocket, self._gateway))
        await asyncio.sleep(0)  # a client that leaves does so after it was let in
        for message in _script(seed, number):
            caller.send(message)
            if number % 3 == 0:
                await asyncio.sleep(0)
        if leaves:
            caller.leave()
        else:
            caller.send(json.dumps({"type": "stop"}))
        await caller.end()
        self._complaints.check()
        if left := asyncio.all_tasks() - {asyncio.current_task()}:
            raise Fault(f"tasks outlive the stream: {left}")
        if streams.open:
            raise Fault("the stream still counts as open")
        if not set(caller.kinds) <= STREAM_KINDS:
            raise Fault(f"messages of unknown kinds: {caller.kinds}")
        if caller.is_gone:
            return "left"
        if caller.code not in STREAM_CODES or caller.kinds[-1] != ("stopped" if caller.code == 1000 else "problem"):
            raise Fault(f"closed with {caller.code} after {caller.received[-1:]}")
        return f"closed {caller.code}, {len(caller.of('decision'))} decisions"


def gate(_: Path, __: Path, ___: ExitStack) -> Gate:
    """Needs neither bundle nor folder."""
    return Gate(AudioFormat())


def door(bundle: Path, state: Path, opened: ExitStack) -> Door:
    app, _ = opened.enter_context(gateway_in_process(bundle, state))
    return Door(app)


def stream(bundle: Path, state: Path, opened: ExitStack) -> Stream:
    _, gateway = opened.enter_context(gateway_in_process(bundle, state))
    target = Stream(gateway)
    opened.callback(target.close)
    return target


TARGETS: dict[str, Callable[[Path, Path, ExitStack], Target]] = {"gate": gate, "door": door, "stream": stream}
"""Each opened with a bundle and a folder of its own."""


def _decoded(sent: Sent, audio: AudioFormat) -> Clip:
    if not sent.media_type.startswith("audio/L16"):
        return decode(sent.data, audio)
    rate, channels = (int(part.partition("=")[2]) for part in sent.media_type.split(";")[1:])
    return decode_pcm16(sent.data, audio, sample_rate=rate, channels=channels)


def _body(seed: int, number: int) -> tuple[bytes, bytes]:
    """A request's body and content type."""
    sent, rng = made(seed, number), np.random.default_rng((seed, number, 1))
    drawn = rng.random()
    if sent.media_type.startswith("audio/L16") or drawn < 0.5:
        kind = sent.media_type.encode()
        return sent.data, flip_bits(kind, rng).translate(None, b"\r\n\x00") if drawn < 0.05 else kind
    if drawn < 0.6:
        return sent.data, FILE_TYPES[rng.integers(len(FILE_TYPES))].encode()
    name = (b"audio", b"speaker", b"", b"\xff")[rng.integers(4)] if drawn < 0.65 else b"audio"
    head = b"--%b\r\nContent-Disposition: form-data; name=%b; filename=a\r\n\r\n" % (BOUNDARY, name)
    if drawn > 0.85:
        head = (flip_bits, lie_in_header)[rng.integers(2)](head, rng)
    tail = b"\r\n--%b--\r\n" % BOUNDARY
    return head + sent.data + tail, b"multipart/form-data; boundary=" + BOUNDARY


def _script(seed: int, number: int) -> list[str | bytes]:
    """The messages of one stream, under 5 s of audio: what is beyond would wait for its time."""
    rng = np.random.default_rng((seed, number, 2))
    messages: list[str | bytes] = [json.dumps(START)] if rng.random() < 0.9 else []
    for _ in range(rng.integers(0, 10)):
        drawn = rng.random()
        if drawn < 0.75:
            messages.append(_samples(rng))
        elif drawn < 0.83:
            messages.append(made(seed, number).data[: 16 * HEADER])
        elif drawn < 0.93:
            messages.append(json.dumps(CONTROLS[1] if rng.random() < 0.7 else CONTROLS[rng.integers(len(CONTROLS))]))
        elif drawn < 0.985:
            text = flip_bits(json.dumps(CONTROLS[rng.integers(3)]).encode(), rng)
            messages.append(text.decode(errors="replace"))
        else:
            messages.append((bytes(65_537), "x" * 4097, "[" * 3000)[rng.integers(3)])
    return messages


def _samples(rng: Generator) -> bytes:
    count, loudness = int(rng.integers(0, 6_000)), float(rng.choice([0, 3, 300, 12_000, 32_767]))
    tone = np.sin(2 * np.pi * rng.uniform(80, 4000) * np.arange(count) / 16_000)
    data = (loudness * tone).astype("<i2").tobytes()
    return data[:-1] if rng.random() < 0.2 else data
