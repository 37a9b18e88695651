"""The instruments that the gateway is measured by, against what is known of them beforehand."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest
from robot import Spoken, ask

from benchmarks.bare_server import COHEN, create_app
from benchmarks.clips import encoded, wav
from benchmarks.gateway import Measured, decisions
from benchmarks.load import Answer, Answers, Order
from benchmarks.load import ask as load
from benchmarks.soak import growth
from recognizer.audio import decode
from recognizer.recognizer import Recognizer

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"
DELAY = 0.02


class Known:
    """A server that answers after a known time, and hangs up in the place of one answer."""

    def __init__(self, hangs_up_at: int = -1) -> None:
        self.heard: list[bytes] = []
        self.hangs_up_at = hangs_up_at

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while head := await self._head(reader):
            length = int(next(line for line in head.split(b"\r\n") if line.startswith(b"Content-Length")).split()[1])
            self.heard.append(await reader.readexactly(length))
            if len(self.heard) == self.hangs_up_at:
                break
            await asyncio.sleep(DELAY)
            writer.write(ANSWER[:20])  # an answer in two pieces is one answer
            await asyncio.sleep(0)
            writer.write(ANSWER[20:])
        writer.close()

    async def _head(self, reader: asyncio.StreamReader) -> bytes:
        try:
            return await reader.readuntil(b"\r\n\r\n")
        except (asyncio.IncompleteReadError, ConnectionResetError):
            return b""

    def ask(self, clients: int) -> Answers:
        async def run() -> Answers:
            server = await asyncio.start_server(self.serve, "127.0.0.1", 0)
            port = server.sockets[0].getsockname()[1]
            async with server:
                return await load(Order(port, [b"a", b"bb", b"ccc"], "none", clients, 0.5))

        return asyncio.run(run())


def test_every_request_is_answered_and_timed() -> None:
    server = Known()
    found = server.ask(3)
    assert len(found.answers) == len(server.heard) >= 3
    assert {answer.status for answer in found.answers} == {200}
    assert {answer.body for answer in found.answers} == {b"{}"}
    assert all(answer.seconds >= DELAY for answer in found.answers)
    assert found.seconds >= 0.5
    assert server.heard[:3] == [b"a", b"bb", b"ccc"]
    assert {answer.clip for answer in found.answers} == {0, 1, 2}


def test_an_answer_that_does_not_come_is_lost_not_forgotten() -> None:
    server = Known(hangs_up_at=5)
    found = server.ask(2)
    assert len(found.answers) == len(server.heard)
    assert [answer.status for answer in found.answers].count(0) == 1


def test_a_wrong_answer_and_a_lost_one_are_counted() -> None:
    measured = Measured("bare", "none", 1)
    for status, body in ((200, b'{"decision": "accept", "command": "go"}'), (503, b""), (0, b"")):
        measured.add(Answer(0, 0.01, status, body), [("accept", "left")])
    measured.add(Answer(0, 0.03, 200, b'{"decision": "accept", "command": "left"}'), [("accept", "left")])
    assert (measured.lost, measured.wrong, len(measured.latencies)) == (2, 1, 2)
    assert measured.equal_share == 0.5
    assert measured.ms(50) == pytest.approx(20)


def test_the_bare_server_says_what_the_recogniser_says(recognizer: Recognizer, spoken: Spoken) -> None:
    app = create_app(recognizer)
    for defense in ("none", "smoothing", COHEN):
        options = {"params": {"defense": defense}, "content": spoken.data}
        body = ask(app, "POST", "/v1/commands", **options).json()
        assert [(body["decision"], body["command"])] == decisions(recognizer, [spoken.data], defense)
    assert ask(app, "POST", "/v1/commands", params={"defense": "none"}, content=b"no audio").status_code == 415
    assert ask(app, "GET", "/readyz").status_code == 200


def test_a_clip_that_is_sent_is_the_clip_that_was_read(recognizer: Recognizer, spoken: Spoken) -> None:
    clip = decode(spoken.data, recognizer.audio)
    again = decode(wav(clip), recognizer.audio)
    assert again.sample_rate == recognizer.audio.sample_rate
    np.testing.assert_allclose(again.waveform, clip.waveform, atol=1 / 32768)
    assert encoded(np.zeros(4), 8000)[:4] == b"RIFF"


def test_growth_is_the_slope_of_the_second_half_whatever_single_samples_say() -> None:
    rng = np.random.default_rng(0)
    samples = [{"second": float(t), "mib": 100 + (5 * t / 300 if t < 300 else 5)} for t in range(600)]
    assert growth(samples, "mib")[0] == pytest.approx(0, abs=1e-9)  # it grew while it warmed up, then no more
    rising = [{"second": float(t), "mib": 100 + 2 * t / 3600 + rng.normal(0, 0.001)} for t in range(600)]
    rising[500]["mib"] += 50
    slope, low, high = growth(rising, "mib")
    wanted = 100 * 2 / (100 + 2 * 449.5 / 3600)  # 2 MiB an hour, of the second half's median
    assert slope == pytest.approx(wanted, rel=0.01)
    assert low < wanted < high
