"""A stream from start to stop, and every way in which it ends otherwise."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from caller import END_UTTERANCE, RATE, START, STOP, Caller, Serve, assert_holds, call, frames, pcm, quiet
from fastapi import FastAPI, WebSocket
from robot import Door, Spoken
from starlette.testclient import TestClient, WebSocketDenialResponse
from starlette.websockets import WebSocketDisconnect

from gateway import problems
from gateway.gateway import Command
from gateway.schemas import CommandResponse
from gateway.streaming import session
from gateway.streaming.endpointing import Endpointing
from gateway.streaming.limits import StreamLimits
from gateway.streaming.session import WAITING_FRAMES, WAITING_UTTERANCES
from gateway.streaming.streams import Streams
from gateway.streaming.vad import EnergyDetector, SileroDetector
from recognizer.audio import Waveform

Open = Callable[..., Streams]
PLAIN = {**START, "defense": "none"}


def said(spoken: Spoken, times: int = 1) -> bytes:
    """A clip that the plain network hears rightly, between pauses."""
    samples, rate = spoken.pcm
    assert rate == RATE
    return quiet(0.5) + times * (samples.astype("<i2").tobytes() + quiet(0.5))


class Held:
    """A gateway's `command` that waits for a word before it answers as it did."""

    def __init__(self, door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
        self._command = door.gateway.command
        self.go_on, self.begun, self.ended = threading.Event(), 0, 0
        monkeypatch.setattr(door.gateway, "command", self.command)

    async def command(self, asked: Command) -> CommandResponse:
        self.begun += 1
        await asyncio.to_thread(self.go_on.wait, 20)
        try:
            return await self._command(asked)
        finally:
            self.ended += 1


def test_an_utterance_gets_its_decision_and_the_stream_its_totals(serve: Serve, door: Door, spoken: Spoken) -> None:
    data = said(spoken)
    heard = call(serve, [{**PLAIN, "speaker": spoken.speaker}, *frames(data), STOP])
    assert heard.kinds == ["ready", "speech_started", "decision", "stopped"]
    assert heard.code == 1000
    ready, started, decision, stopped = heard.received
    assert ready["max_frame_bytes"] == 65_536
    assert (decision["decision"], decision["command"], decision["reason"]) == ("accept", spoken.command, "ok")
    where = decision["utterance"]
    assert started["at"] == where["start"]
    assert 0.45 < where["start"] < where["end"] < len(data) / 2 / RATE - 0.3
    assert 300 <= where["endpoint_ms"] < 340
    assert stopped["seconds"] == pytest.approx(len(data) / 2 / RATE, abs=1e-3)
    assert {k: stopped[k] for k in ("utterances", "decisions", "problems")} == {
        "utterances": 1,
        "decisions": 1,
        "problems": 0,
    }
    (row,) = door.rows
    assert (row["request_id"], row["command"]) == (decision["request_id"], spoken.command)
    assert (row["speaker"], row["defense"]) == (spoken.speaker, "none")


def test_each_spoken_digit_is_decided_on_once(open_streams: Open, door: Door, words: list[np.ndarray]) -> None:
    streams = open_streams(detector=SileroDetector)
    pause = np.zeros(RATE // 2)
    data = pcm(np.concatenate([pause, *(part for word in words[:9] for part in (word, pause))]))
    heard = call(lambda w: streams.serve(w, door.gateway), [PLAIN, *frames(data, 6400), STOP])
    assert len(heard.of("speech_started")) == len(heard.of("decision")) + len(heard.of("problem")) == 9
    assert {p["status"] for p in heard.of("problem")} <= {503}  # it came faster than it could be decided on
    assert len(door.rows) == len(heard.of("decision")) > 0


def test_silence_says_nothing_and_stops(serve: Serve, door: Door) -> None:
    heard = call(serve, [START, *frames(pcm(np.zeros(3 * RATE))), STOP])
    assert heard.kinds == ["ready", "stopped"]
    assert door.rows == []


def test_speech_that_the_stream_ends_in_is_decided_on(serve: Serve, spoken: Spoken) -> None:
    data = said(spoken)[: -len(quiet(0.5))]
    (decision,) = call(serve, [PLAIN, *frames(data), STOP]).of("decision")
    assert decision["command"] == spoken.command


def test_a_decision_can_be_asked_for_before_the_pause_is_over(serve: Serve, spoken: Spoken) -> None:
    data = said(spoken)[: -len(quiet(0.5))]
    heard = call(serve, [PLAIN, *frames(data), END_UTTERANCE, *frames(quiet(1)), STOP])
    (decision,) = heard.of("decision")
    assert decision["command"] == spoken.command
    assert decision["utterance"]["endpoint_ms"] < 150  # what the word's fading end lasts


def test_whoever_asks_for_a_decision_on_silence_gets_an_abstention(serve: Serve, door: Door) -> None:
    heard = call(serve, [START, *frames(quiet(1)), END_UTTERANCE, STOP])
    (decision,) = heard.of("decision")
    assert (decision["decision"], decision["reason"], decision["command"]) == ("abstain", "no_speech", None)
    assert [row["reason"] for row in door.rows] == ["no_speech"]


def test_speech_without_a_pause_is_one_abstention_too_long(serve: Serve, door: Door) -> None:
    talk = pcm(0.3 * np.sin(2 * np.pi * 440 * np.arange(6 * RATE) / RATE))
    heard = call(serve, [PLAIN, *frames(quiet(0.5) + talk + quiet(0.5)), STOP])
    (decision,) = heard.of("decision")
    assert (decision["decision"], decision["reason"]) == ("abstain", "too_long")
    assert "more than 4 s" in decision["detail"]
    assert [row["reason"] for row in door.rows] == ["too_long"]


def test_overdriven_speech_is_clipped_in_a_stream_as_in_an_upload(serve: Serve) -> None:
    loud = pcm(np.clip(5 * np.sin(2 * np.pi * 440 * np.arange(RATE // 2) / RATE), -1, 1))
    (decision,) = call(serve, [PLAIN, *frames(quiet(0.5) + loud + quiet(0.5)), STOP]).of("decision")
    assert decision["reason"] == "clipped"


def test_the_decisions_clock_starts_when_what_ended_the_utterance_came(
    open_streams: Open, door: Door, spoken: Spoken, monkeypatch: pytest.MonkeyPatch
) -> None:
    waited = []
    command = door.gateway.command

    async def watched(asked: Command) -> CommandResponse:
        waited.append(time.perf_counter() - asked.arrived)
        return await command(asked)

    class SlowAtFirst(EnergyDetector):
        is_slow = True

        def probability(self, block: Waveform) -> float:
            time.sleep(0.4 * self.is_slow)
            self.is_slow = False
            return super().probability(block)

    monkeypatch.setattr(door.gateway, "command", watched)
    streams = open_streams(detector=SlowAtFirst)
    call(lambda w: streams.serve(w, door.gateway), [PLAIN, said(spoken), STOP])
    assert waited[0] >= 0.4  # the frame came before the detector was at it


BAD_BEGINNINGS: list[tuple[list[Any], int, int]] = [
    ([b"\0\0"], 1002, 400),
    ([STOP], 1002, 400),
    ([END_UTTERANCE], 1002, 400),
    ([START, START], 1002, 400),
    ([{**START, "rate": 96_000}], 1003, 415),
    ([{**START, "width": 3}], 1003, 415),
    (["hello"], 1007, 400),
    ([START, b"\0\0", '{"type": "pause"}'], 1007, 400),
    ([START, bytes(65_537)], 1009, 413),
    (["x" * 5000], 1009, 413),
    ([{**START, "speaker": "nobody"}], 1008, 422),
    ([{**START, "defense": "prayer"}], 1008, 422),
]


@pytest.mark.parametrize(("messages", "code", "status"), BAD_BEGINNINGS)
def test_a_breach_is_told_and_closed_with_the_code_of_its_kind(
    serve: Serve, messages: list[Any], code: int, status: int
) -> None:
    heard = call(serve, messages)
    problem = heard.received[-1]
    assert (problem["type"], problem["status"], heard.code) == ("problem", status, code)
    assert_holds(problem)


def test_a_stream_that_says_nothing_is_closed(open_streams: Open, door: Door) -> None:
    streams = open_streams(StreamLimits(idle_seconds=0.2))
    for messages in ([], [START], [START, quiet(0.1)]):
        heard = call(lambda w: streams.serve(w, door.gateway), messages)
        assert (heard.received[-1]["status"], heard.code) == (408, 1008)


def test_a_stream_is_no_longer_than_it_may_be_by_its_audio_and_by_the_clock(open_streams: Open, door: Door) -> None:
    streams = open_streams(StreamLimits(stream_seconds=1.0))
    heard = call(lambda w: streams.serve(w, door.gateway), [START, *frames(quiet(1.2)), STOP])
    assert (heard.received[-1]["status"], heard.code) == (413, 1008)
    fine = call(lambda w: streams.serve(w, door.gateway), [START, *frames(quiet(0.9)), STOP])
    assert fine.code == 1000

    async def dribble() -> Caller:
        caller = Caller(lambda w: streams.serve(w, door.gateway))
        caller.send(START)
        while not caller.session.done():
            caller.send(b"\0\0")
            await asyncio.sleep(0.05)
        return caller

    slow = asyncio.run(dribble())
    assert (slow.received[-1]["status"], slow.code) == (413, 1008)


def test_one_stream_too_many_is_refused_until_another_ends(open_streams: Open, door: Door) -> None:
    streams = open_streams(StreamLimits(streams=1))

    async def run() -> None:
        first = Caller(lambda w: streams.serve(w, door.gateway))
        first.send(START)
        await first.until("ready")
        second = Caller(lambda w: streams.serve(w, door.gateway))
        await second.end()
        assert second.code == 1013
        assert second.received[0]["status"] == 503
        assert_holds(second.received[0])
        first.send(STOP)
        await first.end()
        third = Caller(lambda w: streams.serve(w, door.gateway))
        third.send(START, STOP)
        await third.end()
        assert third.code == 1000

    asyncio.run(run())


def test_a_refusal_is_http_where_the_server_can(open_streams: Open, door: Door) -> None:
    app = FastAPI()
    streams = open_streams(StreamLimits(streams=1))

    @app.websocket("/v1/stream")
    async def stream(websocket: WebSocket) -> None:
        await streams.serve(websocket, door.gateway)

    with TestClient(app) as client, client.websocket_connect("/v1/stream") as first:
        first.send_json(START)
        assert first.receive_json()["type"] == "ready"
        with pytest.raises(WebSocketDenialResponse) as refused, client.websocket_connect("/v1/stream"):
            pass
        assert refused.value.status_code == 503
        assert int(refused.value.headers["retry-after"]) > 0
        assert refused.value.json()["safe_action"] == "hold"
        first.send_json(STOP)
        assert first.receive_json()["type"] == "stopped"
        with pytest.raises(WebSocketDisconnect) as closed:
            first.receive_json()
        assert closed.value.code == 1000


def test_before_the_bundle_is_loaded_a_stream_is_refused(open_streams: Open) -> None:
    streams = open_streams()
    heard = call(lambda w: streams.serve(w, None), [])
    assert (heard.received[0]["status"], heard.code) == (503, 1013)


def test_utterances_beyond_what_may_wait_are_answered_as_overload(
    serve: Serve, door: Door, spoken: Spoken, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = Held(door, monkeypatch)

    async def run() -> Caller:
        caller = Caller(serve)
        caller.send(PLAIN, *frames(said(spoken, times=5)))
        overloaded = await caller.until("problem", 5 - 1 - WAITING_UTTERANCES)
        assert {p["status"] for p in overloaded} == {503}
        assert held.begun == 1
        held.go_on.set()
        caller.send(STOP)
        await caller.end()
        return caller

    caller = asyncio.run(run())
    assert len(caller.of("decision")) == 1 + WAITING_UTTERANCES
    for problem in caller.of("problem"):
        assert_holds(problem)
        assert problem["utterance"]["end"] > 0
    starts = [m["utterance"]["start"] for m in caller.of("decision") + caller.of("problem")]
    assert sorted(starts) == [s["at"] for s in caller.of("speech_started")]
    assert caller.of("stopped")[0]["problems"] == 2


def test_a_gateway_that_is_busy_is_a_problem_of_one_utterance_and_not_of_the_stream(
    serve: Serve, door: Door, spoken: Spoken, monkeypatch: pytest.MonkeyPatch
) -> None:
    command, first = door.gateway.command, [problems.Overloaded("32 commands are under way; try again")]

    async def busy_once(asked: Command) -> CommandResponse:
        if first:
            raise first.pop()
        return await command(asked)

    monkeypatch.setattr(door.gateway, "command", busy_once)
    heard = call(serve, [PLAIN, *frames(said(spoken, times=2)), STOP])
    assert [k for k in heard.kinds if k in ("problem", "decision")] == ["problem", "decision"]
    assert heard.of("decision")[0]["command"] == spoken.command
    assert heard.code == 1000


def test_a_speaker_who_is_erased_meanwhile_ends_the_stream(
    serve: Serve, door: Door, spoken: Spoken, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def unknown(_: Command) -> CommandResponse:
        raise problems.UnknownName("there is no such speaker")

    monkeypatch.setattr(door.gateway, "command", unknown)
    heard = call(serve, [PLAIN, *frames(said(spoken)), STOP])
    assert (heard.received[-1]["status"], heard.code) == (422, 1008)


@pytest.mark.parametrize("where", ["detector", "gateway"])
def test_a_fault_closes_the_stream_and_tells_nothing_of_itself(
    where: str, open_streams: Open, door: Door, spoken: Spoken, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Broken(SileroDetector):
        def probability(self, block: Waveform) -> float:  # noqa: ARG002
            raise ZeroDivisionError("secret")

    async def broken(_: Command) -> CommandResponse:
        raise ZeroDivisionError("secret")

    streams = open_streams(detector=Broken) if where == "detector" else open_streams()
    if where == "gateway":
        monkeypatch.setattr(door.gateway, "command", broken)
    heard = call(lambda w: streams.serve(w, door.gateway), [PLAIN, *frames(said(spoken))])
    assert (heard.received[-1]["status"], heard.code) == (500, 1011)
    assert "secret" not in str(heard.received)
    assert_holds(heard.received[-1])


def leaving_points(data: bytes) -> list[list[Any]]:
    pieces = [START, *frames(data, 4000)]
    return [pieces[:n] for n in range(0, len(pieces) + 1, 4)]


def test_a_client_that_leaves_at_any_moment_leaves_nothing_running(serve: Serve, spoken: Spoken) -> None:
    for messages in leaving_points(said(spoken)):

        async def run(sent: list[Any] = messages) -> set[asyncio.Task[Any]]:
            caller = Caller(serve)
            caller.send(*sent)
            await asyncio.sleep(0.01)
            caller.leave()
            await caller.end()
            return asyncio.all_tasks() - {asyncio.current_task()}  # type: ignore[arg-type]

        assert asyncio.run(run()) == set()


def test_a_decision_under_way_when_the_client_leaves_is_finished_and_stored_and_those_behind_it_are_not_begun(
    serve: Serve, door: Door, spoken: Spoken, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = Held(door, monkeypatch)

    async def run() -> None:
        caller = Caller(serve)
        caller.send(PLAIN, *frames(said(spoken, times=3)))
        await caller.until("speech_started", 3)
        caller.leave()
        await asyncio.sleep(0.2)
        assert not caller.session.done()
        held.go_on.set()
        await caller.end()

    asyncio.run(run())
    assert (held.begun, held.ended) == (1, 1)
    assert len(door.rows) == 1


def test_a_server_that_shuts_down_is_not_kept(serve: Serve) -> None:
    async def run() -> None:
        caller = Caller(serve)
        caller.send(START, *frames(quiet(1)))
        await caller.until("ready")
        caller.session.cancel()
        with pytest.raises(asyncio.CancelledError):
            await caller.end()
        assert asyncio.all_tasks() == {asyncio.current_task()}

    asyncio.run(run())


def test_no_more_is_read_than_can_be_listened_to(open_streams: Open, door: Door) -> None:
    go_on = threading.Event()

    class Slow(SileroDetector):
        def probability(self, block: Waveform) -> float:  # noqa: ARG002
            go_on.wait(20)
            return 0.0

    streams = open_streams(detector=Slow)

    async def run() -> None:
        caller = Caller(lambda w: streams.serve(w, door.gateway))
        caller.send(START, *frames(quiet(5), 1024))
        sent = caller.unread
        await caller.until("ready")
        await asyncio.sleep(0.3)
        taken = sent - caller.unread
        assert taken <= WAITING_FRAMES + 4  # those that wait, one in each hand, connect and start
        go_on.set()
        caller.send(STOP)
        await caller.end()
        assert caller.code == 1000
        assert caller.of("stopped")[0]["seconds"] == 5

    asyncio.run(run())


def test_audio_that_comes_faster_than_real_time_is_slowed_down_and_all_of_it_heard(serve: Serve) -> None:
    begun = time.perf_counter()
    heard = call(serve, [START, *frames(quiet(13), 32_000), STOP])
    assert 1.9 < time.perf_counter() - begun < 6  # 5 s at once, and the other 8 s at four times real time
    assert heard.of("stopped")[0]["seconds"] == 13


def test_a_client_that_does_not_read_is_dropped(
    open_streams: Open, door: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session, "SEND_SECONDS", 0.2)
    streams = open_streams()

    async def run() -> None:
        stuck = asyncio.Event()

        class Deaf(Caller):
            async def _from_server(self, message: Any) -> None:
                if message["type"] == "websocket.send":
                    await stuck.wait()

        caller = Deaf(lambda w: streams.serve(w, door.gateway))
        caller.send(START, *frames(quiet(1)))
        await caller.end()
        assert asyncio.all_tasks() == {asyncio.current_task()}

    asyncio.run(run())


def test_other_endpointing_is_told_and_used(open_streams: Open, door: Door, spoken: Spoken) -> None:
    streams = open_streams(StreamLimits(endpointing=Endpointing(min_silence_ms=450)))
    heard = call(lambda w: streams.serve(w, door.gateway), [PLAIN, *frames(said(spoken)), STOP])
    assert heard.of("ready")[0]["min_silence_ms"] == 450
    assert heard.of("decision")[0]["utterance"]["endpoint_ms"] >= 450
