"""A crowd of clients, polite ones and others, that speak to one gateway until time is up."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import time
import uuid
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import aiohttp
import numpy as np
import soundfile
from websockets.asyncio.client import connect
from websockets.exceptions import WebSocketException

from benchmarks.mutations import made

WAV = {"Content-Type": "audio/wav"}
PATIENCE = aiohttp.ClientTimeout(total=30)
FRAME = 640  # bytes: 20 ms at 16 kHz
ROBOTS = 4
PAUSE = 0.02  # seconds between what one client does; the load is to be lasting, not the most there can be
BUSY = 503
Decision = tuple[str, str | None]
"""`accept` or `abstain`, and the command."""


@dataclass(frozen=True)
class Told:
    """One thing that a client was told."""

    kind: str
    outcome: str
    at: float
    """Seconds since the crowd began."""
    seconds: float


@dataclass
class Crowd:
    """Who speaks, and all that they were told."""

    port: int
    clips: Sequence[bytes]
    """WAV files."""
    expected: Mapping[str, Sequence[Decision]]
    """Defense -> the recogniser's own decisions on the clips, in exact mode."""
    label: str
    """A command to say that every labelled clip was."""
    told: list[Told] = field(default_factory=list)
    answered: list[str] = field(default_factory=list)
    """Request ids."""
    wrong: list[str] = field(default_factory=list)
    smoothed: dict[str, list[bool]] = field(default_factory=dict)
    """Defense with RS, whose draws are others each time -> whether each answer was that of exact mode."""
    unexpected: list[str] = field(default_factory=list)

    async def speak(self, seconds: float) -> None:
        """Everybody at once, until the time is up."""
        self._begun = time.monotonic()
        self._ends = self._begun + seconds
        self._url = f"http://127.0.0.1:{self.port}"
        async with aiohttp.ClientSession(timeout=PATIENCE) as session:
            clients = [
                *(partial(self._robot, session, number) for number in range(ROBOTS)),
                *(partial(c, session) for c in (self._retrier, self._labeller, self._mumbler, self._stranger)),
                self._streamer, self._slow, self._vanishing,
            ]  # fmt: skip
            await asyncio.gather(*(self._persisting(client) for client in clients))

    async def _persisting(self, client: Callable[[], Awaitable[None]]) -> None:
        """One client to the end: an answer that does not come is noted, and it begins again."""
        while time.monotonic() < self._ends:
            try:
                await client()
            except (aiohttp.ClientError, WebSocketException, OSError, TimeoutError) as error:
                self.unexpected.append(f"no answer: {type(error).__name__}: {error}")

    async def _going_on(self, pause: float = PAUSE) -> bool:
        await asyncio.sleep(pause)
        return time.monotonic() < self._ends

    def _tell(self, kind: str, outcome: str, since: float) -> None:
        now = time.monotonic()
        self.told.append(Told(kind, outcome, since - self._begun, now - since))

    def _judge(self, clip: int, defense: str, body: Mapping[str, Any]) -> None:
        """Compare an answer with the recogniser's own decision."""
        self.answered.append(body["request_id"])
        is_same = (body["decision"], body["command"]) == self.expected[defense][clip]
        if "smoothing" in defense:
            self.smoothed.setdefault(defense, []).append(is_same)
        elif not is_same:
            self.wrong.append(f"clip {clip}, {defense}: {body['decision']} {body['command']} ({body['reason']})")

    async def _decide(
        self, session: aiohttp.ClientSession, clip: int, defense: str, headers: Mapping[str, str]
    ) -> dict[str, Any] | None:
        """One command, judged; None where the gateway was busy."""
        since = time.monotonic()
        url = f"{self._url}/v1/commands?defense={defense}"
        async with session.post(url, data=self.clips[clip], headers={**WAV, **headers}) as answer:
            body: dict[str, Any] = await answer.json(content_type=None)
        if answer.status == BUSY and "retry-after" in answer.headers:
            self._tell("command", "busy", since)
            await asyncio.sleep(1)
            return None
        if answer.status != 200:
            self.unexpected.append(f"a command got {answer.status}: {body}")
            return None
        self._tell("command", body["reason"], since)
        self._judge(clip, defense, body)
        return body

    async def _robot(self, session: aiohttp.ClientSession, number: int) -> None:
        """Says one command after the other, by each defense in turn."""
        turn, defenses = number, list(self.expected)
        while await self._going_on():
            await self._decide(session, turn % len(self.clips), defenses[turn % len(defenses)], {})
            turn += 1

    async def _retrier(self, session: aiohttp.ClientSession) -> None:
        """Sends everything twice with the same key, at once, and expects one answer."""
        defense = next(iter(self.expected))
        while await self._going_on(0.1):
            key = {"Idempotency-Key": str(uuid.uuid4())}
            twice = await asyncio.gather(*(self._decide(session, 0, defense, key) for _ in range(2)))
            ids = {body["request_id"] for body in twice if body is not None}
            if len(ids) > 1:
                self.unexpected.append(f"one key got two decisions: {ids}")

    async def _labeller(self, session: aiohttp.ClientSession) -> None:
        """Tells what was said, once, then again, which is refused."""
        defense = next(iter(self.expected))
        while await self._going_on(0.2):
            body = await self._decide(session, 1 % len(self.clips), defense, {})
            if body is None:
                continue
            for wanted in (200, 409):
                since = time.monotonic()
                url = f"{self._url}/v1/commands/{body['request_id']}/label"
                async with session.post(url, json={"command": self.label}) as answer:
                    self._expect("label", answer, {wanted}, since)

    async def _mumbler(self, session: aiohttp.ClientSession) -> None:
        """Sends damaged audio."""
        number = 0
        while await self._going_on(0.05):
            number += 1
            sent, since = made(7, number), time.monotonic()
            headers = {"Content-Type": sent.media_type}
            async with session.post(f"{self._url}/v1/commands", data=sent.data, headers=headers) as answer:
                self._expect("damaged audio", answer, {200, 400, 413, 415, 422, BUSY}, since)

    async def _stranger(self, session: aiohttp.ClientSession) -> None:
        """Names a speaker that nobody knows, and asks for what is not there."""
        while await self._going_on(0.1):
            for kind, path, wanted in (
                ("unknown speaker", "/v1/commands?speaker=nobody", 422),
                ("unknown path", f"/{uuid.uuid4()}", 404),
            ):
                since = time.monotonic()
                async with session.post(self._url + path, data=self.clips[0], headers=WAV) as answer:
                    self._expect(kind, answer, {wanted, BUSY}, since)

    def _expect(self, kind: str, answer: aiohttp.ClientResponse, wanted: set[int], since: float) -> None:
        self._tell(kind, str(answer.status), since)
        if answer.status not in wanted:
            self.unexpected.append(f"{kind} got {answer.status}")

    async def _streamer(self) -> None:
        """Speaks clips into a stream, four times as fast as one can, and asks for a decision after each."""
        while await self._going_on(0.5):
            since = time.monotonic()
            outcome = await asyncio.wait_for(self._stream(), 60)
            self._tell("stream", outcome, since)

    async def _stream(self) -> str:
        said = 3
        async with connect(f"ws://127.0.0.1:{self.port}/v1/stream", compression=None) as line:
            await line.send(json.dumps({"type": "start", "rate": 16_000, "width": 2, "channels": 1, "defense": "none"}))
            for clip in self.clips[:said]:
                pcm = samples_of(clip)
                for at in range(0, len(pcm), FRAME):
                    await line.send(pcm[at : at + FRAME])
                await line.send(json.dumps({"type": "end_utterance"}))
                await asyncio.sleep(len(pcm) / 2 / 16_000 / 2)
            await line.send(json.dumps({"type": "stop"}))
            messages = [json.loads(message) async for message in line]
        answers = [m for m in messages if m["type"] in ("decision", "problem")]
        self.answered += [m["request_id"] for m in messages if m["type"] == "decision"]
        if len(answers) < said or messages[-1]["type"] != "stopped":
            self.unexpected.append(f"a stream got {[m['type'] for m in messages]}")
        return f"{messages[-1]['type']}, {line.close_code}"

    async def _slow(self) -> None:
        """Writes a request byte by byte for a while, then the rest; it is answered as anybody is."""
        while await self._going_on(0.5):
            since, clip = time.monotonic(), self.clips[0]
            reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
            writer.write(self._head(len(clip), "close"))
            for at in range(20):
                writer.write(clip[at : at + 1])
                await asyncio.sleep(0.05)
            writer.write(clip[20:])
            answer = await asyncio.wait_for(reader.read(), 30)
            status = answer.split(b" ", 2)[1].decode() if answer else "nothing"
            self._tell("slow client", status, since)
            if status not in ("200", str(BUSY)):
                self.unexpected.append(f"a slow client got {status}")
            await self._close(writer)

    async def _vanishing(self) -> None:
        """Goes in the middle of its request, before its answer, or out of a stream."""
        turn = 0
        while await self._going_on(0.1):
            turn += 1
            since, clip = time.monotonic(), self.clips[turn % len(self.clips)]
            if turn % 5 == 0:
                line = await connect(f"ws://127.0.0.1:{self.port}/v1/stream", compression=None)
                await line.send(json.dumps({"type": "start", "rate": 16_000, "width": 2, "channels": 1}))
                await line.send(samples_of(clip)[:FRAME])
                line.transport.abort()
            else:
                _, writer = await asyncio.open_connection("127.0.0.1", self.port)
                writer.write(self._head(len(clip), "keep-alive") + clip[: len(clip) // (1 + turn % 2)])
                await asyncio.sleep(0.002 * (turn % 4))
                writer.transport.abort()
            self._tell("vanished", "gone", since)

    def _head(self, length: int, connection: str) -> bytes:
        return (
            f"POST /v1/commands?defense=none HTTP/1.1\r\nHost: 127.0.0.1:{self.port}\r\nConnection: {connection}\r\n"
            f"Content-Type: audio/wav\r\nContent-Length: {length}\r\n\r\n"
        ).encode()

    async def _close(self, writer: asyncio.StreamWriter) -> None:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


def samples_of(clip: bytes) -> bytes:
    """A WAV file's samples as s16le."""
    samples, _ = soundfile.read(io.BytesIO(clip), dtype="int16")
    return np.asarray(samples, "<i2").tobytes()
