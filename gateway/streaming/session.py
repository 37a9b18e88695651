"""One WebSocket from its first message to its last: receive, listen, decide, each in a task of its own."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from starlette.websockets import WebSocket, WebSocketDisconnect

from gateway import problems
from gateway.gateway import Command, Gateway
from gateway.records import RecordsError
from gateway.schemas import CommandResponse
from gateway.speakers import UnknownSpeaker
from gateway.streaming.endpointing import Event, SpeechStarted, Utterance, clip_of
from gateway.streaming.limits import CONTROL_SECONDS, Pace, StreamLimits
from gateway.streaming.listening import WIDTH, Listener
from gateway.streaming.messages import (
    DecisionMessage,
    ProblemMessage,
    ServerMessage,
    Started,
    Stopped,
    UtteranceBody,
)
from gateway.streaming.protocol import (
    ClientMessage,
    CloseCode,
    EndUtterance,
    Start,
    Stop,
    StreamEnded,
    check_frame,
    out_of_order,
    parse,
    ready,
)
from gateway.streaming.vad import SpeechDetector
from recognizer.audio import AudioFormat, Clip, NoSpeech
from recognizer.recognizer import UnknownDefense

SEND_SECONDS = 5.0  # for one message; a client that does not read for so long is gone
WAITING_FRAMES = 8  # between the connection and the detector; beyond it nothing more is read
WAITING_UTTERANCES = 2  # behind the one that is being decided

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Frame:
    data: bytes
    arrived: float
    """`time.perf_counter()`"""


@dataclass(frozen=True)
class _Control:
    message: EndUtterance | Stop
    arrived: float


@dataclass(frozen=True)
class _Question:
    """One utterance to decide on."""

    where: UtteranceBody
    decode: Callable[[AudioFormat], Clip]
    arrived: float
    """When what ended it came: the decision's clock starts there."""
    utterance: Utterance | None = None
    """None where there is none to keep."""


async def serve_stream(
    websocket: WebSocket,
    gateway: Gateway,
    limits: StreamLimits,
    detector: Callable[[], SpeechDetector],
    *,
    threads: Executor,
) -> None:
    """Accept a WebSocket and answer each utterance in it.

    Whatever the client does ends in an orderly close. When this returns, nothing of the stream is left; a decision that
    was under way when the client left is finished first, for it may be stored already and must be counted.

    Args:
        detector: makes the stream's own.
        threads: where the detector runs.
    """
    line = _Line(websocket)
    try:
        await websocket.accept()
        start = await _opening(line, limits)
        await _check_names(start, gateway)
        await line.send(ready(limits))
        stream = _Stream(line, gateway, limits, detector(), threads, start)
        await line.send(await stream.run())
        await line.close(CloseCode.NORMAL)
    except WebSocketDisconnect:
        return
    except StreamEnded as ended:
        await _end(line, ended)
    except Exception:
        _log.exception("a stream failed")
        failed = problems.RecognizerFailed("an unexpected error; nothing more is decided in this stream")
        await _end(line, StreamEnded(failed, CloseCode.INTERNAL_ERROR))


async def refuse(websocket: WebSocket, problem: problems.Problem) -> None:
    """Turn a client away: by HTTP where the server can, else by a message and a close."""
    if "websocket.http.response" in websocket.scope.get("extensions", {}):
        answer = problems.response(problem.status, problem.title, problem.detail, retry_after=problem.retry_after)
        await websocket.send_denial_response(answer)
        return
    line = _Line(websocket)
    try:
        await websocket.accept()
    except WebSocketDisconnect:
        return
    await _end(line, StreamEnded(problem, CloseCode.TRY_AGAIN_LATER))


async def _end(line: _Line, ended: StreamEnded) -> None:
    try:
        await line.send(ProblemMessage.of(ended.problem))
        await line.close(ended.code)
    except WebSocketDisconnect:
        return


async def _opening(line: _Line, limits: StreamLimits) -> Start:
    message = await line.receive(limits.idle_seconds)
    if isinstance(message, Start):
        return message
    raise out_of_order('the first message must be {"type": "start", "rate": ..., "width": 2, "channels": ...}')


async def _check_names(start: Start, gateway: Gateway) -> None:
    def check() -> None:
        gateway.register.groups(start.speaker, gateway.recognizer.vocabulary)
        gateway.recognizer.defense(start.defense)

    try:
        await gateway.in_thread(check)
    except (UnknownSpeaker, UnknownDefense) as error:
        raise StreamEnded(problems.UnknownName(str(error)), CloseCode.POLICY) from None
    except RecordsError:
        unread = problems.RecordsUnavailable("the register of speakers can't be read; try again")
        raise StreamEnded(unread, CloseCode.TRY_AGAIN_LATER) from None


class _Line:
    """The connection: parsed messages in, whole messages out. A client that is gone is `WebSocketDisconnect`."""

    def __init__(self, websocket: WebSocket) -> None:
        self._websocket = websocket
        self._sending = asyncio.Lock()

    async def receive(self, idle_seconds: float) -> ClientMessage | bytes:
        """The next message, or the samples of a binary frame.

        Raises:
            StreamEnded: none came in time, or it is none that is accepted.
        """
        try:
            async with asyncio.timeout(idle_seconds):
                message = await self._websocket.receive()
        except TimeoutError:
            idle = problems.TooSlow(f"nothing came for {idle_seconds:g} s")
            raise StreamEnded(idle, CloseCode.POLICY) from None
        if message["type"] == "websocket.disconnect":
            raise WebSocketDisconnect(message.get("code", 1005), message.get("reason"))
        data = message.get("bytes")
        if data is None:
            return parse(message["text"])
        check_frame(data)
        return bytes(data)

    async def send(self, message: ServerMessage) -> None:
        await self._within(self._websocket.send_text, message.model_dump_json())

    async def close(self, code: CloseCode) -> None:
        await self._within(self._websocket.close, code)

    async def _within(self, action: Callable[..., Any], *arguments: Any) -> None:
        async with self._sending:
            try:
                async with asyncio.timeout(SEND_SECONDS):
                    await action(*arguments)
            except (TimeoutError, RuntimeError):  # servers say by RuntimeError that the connection has closed meanwhile
                raise WebSocketDisconnect(1006) from None


class _Stream:
    """A stream whose client said how its audio is."""

    def __init__(
        self,
        line: _Line,
        gateway: Gateway,
        limits: StreamLimits,
        detector: SpeechDetector,
        threads: Executor,
        start: Start,
    ) -> None:
        self._line = line
        self._gateway = gateway
        self._limits = limits
        self._threads = threads
        self._start = start
        self._listener = Listener(
            detector, sample_rate=start.rate, channels=start.channels, endpointing=limits.endpointing
        )
        self._frames: asyncio.Queue[_Frame | _Control] = asyncio.Queue(WAITING_FRAMES)
        self._questions: asyncio.Queue[_Question | None] = asyncio.Queue(WAITING_UTTERANCES)
        self._utterances = self._decisions = self._problems = 0

    async def run(self) -> Stopped:
        """Until the client stops the stream.

        Raises:
            StreamEnded, WebSocketDisconnect: it ended otherwise.
        """
        tasks = [asyncio.create_task(work) for work in (self._receive(), self._listen(), self._decide())]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
            ended = [task for task in tasks if task.done() and not task.cancelled()]
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        for task in ended:
            task.result()  # raises what ended the stream
        return Stopped(
            seconds=round(self._listener.seconds, 4),
            utterances=self._utterances,
            decisions=self._decisions,
            problems=self._problems,
        )

    async def _receive(self) -> None:
        opened = time.perf_counter()
        pace = Pace(opened)
        seconds = 0.0
        while True:
            message = await self._line.receive(self._limits.idle_seconds)
            now = time.perf_counter()
            self._check_length(now - opened)
            match message:
                case bytes():
                    cost = len(message) / (WIDTH * self._start.channels * self._start.rate)
                    seconds += cost
                    self._check_length(seconds)
                    await self._frames.put(_Frame(message, now))
                case EndUtterance() | Stop():
                    cost = CONTROL_SECONDS
                    await self._frames.put(_Control(message, now))
                    if isinstance(message, Stop):
                        return
                case Start():
                    raise out_of_order("the stream has begun; start it once")
            await asyncio.sleep(pace.wait(cost, now))

    def _check_length(self, seconds: float) -> None:
        most = self._limits.stream_seconds
        if seconds > most:
            raise StreamEnded(
                problems.BodyTooLarge(f"the stream lasts more than {most:g} s; begin another"), CloseCode.POLICY
            )

    async def _listen(self) -> None:
        while True:
            item = await self._frames.get()
            work = partial(self._listener.feed, item.data) if isinstance(item, _Frame) else self._listener.finish
            events = await self._in_thread(work)
            for event in events:
                await self._on(event, item.arrived)
            if isinstance(item, _Control) and isinstance(item.message, Stop):
                await self._questions.put(None)
                return
            if isinstance(item, _Control) and not any(isinstance(event, Utterance) for event in events):
                await self._ask_about_nothing(item.arrived)

    async def _on(self, event: Event, arrived: float) -> None:
        if isinstance(event, SpeechStarted):
            await self._line.send(Started(at=round(event.at, 4)))
        else:
            await self._ask(_Question(UtteranceBody.of(event), partial(clip_of, event), arrived, event))

    async def _ask_about_nothing(self, arrived: float) -> None:
        """Whoever asks for a decision gets one, heard or not."""
        now = round(self._listener.seconds, 4)
        await self._ask(_Question(UtteranceBody(start=now, end=now, endpoint_ms=0), _no_speech, arrived))

    async def _ask(self, question: _Question) -> None:
        self._utterances += 1
        try:
            self._questions.put_nowait(question)
        except asyncio.QueueFull:
            busy = problems.Overloaded(f"{WAITING_UTTERANCES} utterances of this stream are waiting; speak more slowly")
            await self._send_problem(busy, question.where)

    async def _decide(self) -> None:
        while (question := await self._questions.get()) is not None:
            try:
                response = await self._answer(question)
            except problems.UnknownName as problem:  # since the start, and every utterance would meet it
                raise StreamEnded(problem, CloseCode.POLICY) from None
            except problems.Problem as problem:
                await self._send_problem(problem, question.where)
            else:
                await self._line.send(DecisionMessage.to(question.where, response))
                self._decisions += 1

    async def _answer(self, question: _Question) -> CommandResponse:
        """The gateway's answer, waited for even when the stream ends meanwhile."""
        data, media_type = _as_it_came(question.utterance)
        asked = Command(
            question.decode,
            speaker=self._start.speaker,
            defense=self._start.defense,
            arrived=question.arrived,
            data=data,
            media_type=media_type,
        )
        command = asyncio.create_task(self._gateway.command(asked))
        try:
            return await asyncio.shield(command)
        except asyncio.CancelledError:
            await asyncio.gather(command, return_exceptions=True)
            raise

    async def _send_problem(self, problem: problems.Problem, where: UtteranceBody) -> None:
        await self._line.send(ProblemMessage.of(problem, where))
        self._problems += 1

    async def _in_thread(self, work: Callable[[], list[Event]]) -> list[Event]:
        return await asyncio.get_running_loop().run_in_executor(self._threads, work)


def _as_it_came(utterance: Utterance | None) -> tuple[bytes | None, str | None]:
    """Its samples as `audio/L16`, for where audio is kept."""
    if utterance is None:
        return None, None
    samples = np.rint(32768 * utterance.waveform).clip(-32768, 32767).astype(">i2")
    return samples.tobytes(), f"audio/L16;rate={utterance.sample_rate};channels=1"


def _no_speech(_: AudioFormat) -> Clip:
    raise NoSpeech("no speech was heard since the last utterance")
