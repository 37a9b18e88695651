"""Whatever is not a fresh acceptance is a hold, for either client and whatever a server does."""

from __future__ import annotations

import contextlib
import gc
import os
import socket
import subprocess
import sys
import threading
import time
from array import array
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hostile import (
    ABSTENTION,
    ACCEPTANCE,
    PROBLEM,
    Robot,
    Step,
    drips,
    floods,
    half,
    hostile,
    read,
    resets,
    response,
    says,
)
from hypothesis import given
from hypothesis import strategies as st

from gateway.client import Answer, AsyncClient, Client, GatewayError, Kind, Timeouts, first
from gateway.client import clock as its_clock


def without(name: str) -> dict[str, Any]:
    return {k: v for k, v in ACCEPTANCE.items() if k != name}


def test_a_fresh_acceptance_is_a_command(robot: Robot) -> None:
    with hostile(says(200, ACCEPTANCE)) as server:
        answer = robot.decide(server.url)
    assert (answer.command, answer.kind) == ("left", Kind.ANSWERED)
    assert 0 < answer.seconds_left <= 1.5


def test_a_field_of_a_later_release_is_passed_over(robot: Robot) -> None:
    later = ACCEPTANCE | {"mood": "calm", "audio": ACCEPTANCE["audio"] | {"channels": 2}}
    with hostile(says(200, later)) as server:
        answer = robot.decide(server.url)
    assert (answer.command, answer.kind) == ("left", Kind.ANSWERED)


def test_an_abstention_is_a_hold_and_an_answer(robot: Robot) -> None:
    with hostile(says(200, ABSTENTION)) as server:
        answer = robot.decide(server.url)
    assert (answer.command, answer.kind, answer.seconds_left) == (None, Kind.ANSWERED, 0.0)
    assert answer.response is not None


def test_an_acceptance_is_void_once_it_is_older_than_valid_for_ms(robot: Robot) -> None:
    with hostile(says(200, ACCEPTANCE | {"valid_for_ms": 600})) as server:
        answer = robot.decide(server.url)
    assert answer.command == "left"
    time.sleep(0.65)
    assert answer.command is None


def test_the_time_under_way_counts_against_an_acceptance(robot: Robot) -> None:
    with hostile(says(200, ACCEPTANCE | {"valid_for_ms": 100}, after=0.2)) as server:
        answer = robot.decide(server.url)
    assert answer.response is not None
    assert answer.command is None


def test_an_acceptance_is_void_where_the_clock_has_gone_back(monkeypatch: pytest.MonkeyPatch) -> None:
    with hostile(says(200, ACCEPTANCE)) as server:
        answer = Robot("sync").decide(server.url)
    assert answer.command == "left"
    monkeypatch.setattr(its_clock, "now", lambda: answer.sent - 0.001)
    assert answer.command is None


def test_the_wall_clock_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    with hostile(says(200, ACCEPTANCE | {"received_at": "1970-01-01T00:00:00Z"})) as server:
        answer = Robot("sync").decide(server.url)
    monkeypatch.setattr(time, "time", lambda: 4e9)
    assert answer.command == "left"


@pytest.mark.parametrize("valid_for_ms", [10**9, 10**400, 60_001])
def test_no_acceptance_is_fresh_for_more_than_a_minute(robot: Robot, valid_for_ms: int) -> None:
    with hostile(says(200, ACCEPTANCE | {"valid_for_ms": valid_for_ms})) as server:
        assert robot.decide(server.url).seconds_left <= 60


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (503, PROBLEM),
        (500, b"oh no"),
        (202, ACCEPTANCE),
        (206, ACCEPTANCE),
        (302, b""),
        (401, ACCEPTANCE),
        (200, b""),
        (200, b"<html>welcome to the hotel's wireless network</html>"),
        (200, b"\xff\xfe\x00"),
        (200, b"[" * 100_000),
        (200, [ACCEPTANCE]),
        (200, PROBLEM),
        (200, without("valid_for_ms")),
        (200, without("reason")),
        (200, ACCEPTANCE | {"confidence": "very"}),
        (200, ACCEPTANCE | {"confidence": float("nan")}),
        (200, ACCEPTANCE | {"timings_ms": {"total": float("inf")}}),
        (200, ACCEPTANCE | {"valid_for_ms": "1500"}),
        (200, ACCEPTANCE | {"valid_for_ms": 1500.0}),
        (200, ACCEPTANCE | {"valid_for_ms": True}),
        (200, ACCEPTANCE | {"valid_for_ms": None}),
        (200, ACCEPTANCE | {"decision": "perhaps"}),
        (200, ACCEPTANCE | {"decision": "abstain"}),
        (200, ACCEPTANCE | {"reason": "smoothing_tie"}),
        (200, ACCEPTANCE | {"reason": "because"}),
        (200, ACCEPTANCE | {"command": ["left"]}),
        (200, ACCEPTANCE | {"command": None}),
        (200, ACCEPTANCE | {"command": ""}),
        (200, ACCEPTANCE | {"command": "unknown"}),
        (200, ACCEPTANCE | {"safe_action": "go on"}),
    ],
)
def test_anything_else_is_a_hold(robot: Robot, status: int, body: object) -> None:
    with hostile(says(status, body)) as server:
        answer = robot.decide(server.url)
    assert answer.command is None
    assert answer.response is None
    assert answer.detail
    assert answer.kind is (Kind.UNREADABLE if status == 200 else Kind.REFUSED)


@pytest.mark.parametrize("kind", ["application/problem+json", "text/html", "application/jsonp", "", None])
def test_an_acceptance_of_another_type_is_a_hold(robot: Robot, kind: str | None) -> None:
    with hostile(says(200, ACCEPTANCE, kind=kind)) as server:
        answer = robot.decide(server.url)
    assert (answer.command, answer.kind) == (None, Kind.UNREADABLE)


@pytest.mark.parametrize("kind", ["application/json", "Application/JSON; charset=utf-8"])
def test_the_type_may_have_parameters(robot: Robot, kind: str) -> None:
    with hostile(says(200, ACCEPTANCE, kind=kind)) as server:
        assert robot.decide(server.url).command == "left"


@pytest.mark.parametrize(
    "step",
    [
        says(200, ACCEPTANCE, after=5),
        drips(200, ACCEPTANCE, every=0.05),
        half(200, ACCEPTANCE),
        resets,
        floods,
        lambda line: line.sendall(b"SSH-2.0-OpenSSH_9.2\r\n"),
        lambda line: line.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n"),
        lambda line: line.sendall(b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 100_000),
        lambda line: line.sendall(response(200, b"\x1f\x8b", "Content-Encoding: gzip")),
        lambda line: line.close(),
    ],
    ids=["late", "drips", "half", "resets", "floods", "ssh", "length", "headers", "gzip", "closes"],
)
def test_no_server_keeps_a_robot_waiting_beyond_its_timeout(robot: Robot, step: Step) -> None:
    with hostile(step) as server:
        began = time.monotonic()
        answer = robot.decide(server.url, client={"timeout": 1.0})
        assert time.monotonic() - began < 2.5  # 1 s, the client's own start and a busy machine
    assert (answer.command, answer.response) == (None, None)
    assert answer.detail


def test_the_time_that_is_left_goes_with_each_request(robot: Robot) -> None:
    with hostile(resets, says(200, ACCEPTANCE)) as server:
        assert robot.decide(server.url, client={"timeout": 2.0}).command == "left"
    first, second = (int(r.headers["x-request-timeout-ms"]) for r in server.requests)
    assert 1500 < first <= 2000
    passed = 1000 * (server.requests[1].at - server.requests[0].at)
    assert first - second == pytest.approx(passed, abs=60)


def test_a_call_may_have_less_time_than_the_client(robot: Robot) -> None:
    with hostile(says(200, ACCEPTANCE, after=2)) as server:
        began = time.monotonic()
        assert robot.decide(server.url, timeout=0.3).command is None
        assert time.monotonic() - began < 1.5
    assert int(server.requests[0].headers["x-request-timeout-ms"]) <= 300


@pytest.mark.parametrize(
    "step", [resets, half(200, ACCEPTANCE), says(429, PROBLEM), says(503, PROBLEM, "Retry-After: 0")]
)
def test_what_may_pass_is_asked_again_with_the_same_key(robot: Robot, step: Step) -> None:
    with hostile(step, says(200, ACCEPTANCE)) as server:
        assert robot.decide(server.url, b"RIFF and so on", speaker="s-1").command == "left"
    first, second = server.requests
    assert first.headers["idempotency-key"] == second.headers["idempotency-key"]
    assert (first.path, first.body) == (second.path, second.body) == ("/v1/commands?speaker=s-1", b"RIFF and so on")


@pytest.mark.parametrize(
    "step",
    [says(200, ACCEPTANCE), says(200, ABSTENTION), says(200, b"?"), says(503, PROBLEM), says(500, PROBLEM)]
    + [says(status, PROBLEM) for status in (400, 401, 403, 404, 409, 413, 415, 422, 504)],
)
def test_what_was_answered_is_never_asked_again(robot: Robot, step: Step) -> None:
    with hostile(step) as server:
        robot.decide(server.url)
        time.sleep(0.2)
    assert len(server.requests) == 1


def test_each_command_has_a_key_of_its_own() -> None:
    with hostile(says(200, ACCEPTANCE)) as server, Client(server.url) as gateway:
        for _ in range(3):
            gateway.decide(b"RIFF")
        gateway.decide(b"RIFF", idempotency_key="mine")
    keys = [request.headers["idempotency-key"] for request in server.requests]
    assert len(set(keys)) == 4
    assert keys[-1] == "mine"


def test_retry_after_is_waited_for_where_the_time_allows_it(robot: Robot) -> None:
    with hostile(says(503, PROBLEM, "Retry-After: 1"), says(200, ACCEPTANCE)) as server:
        answer = robot.decide(server.url)
    assert 1.0 <= server.requests[1].at - server.requests[0].at < 2.0
    assert answer.response is not None
    assert answer.seconds_left <= 0.5  # of 1.5 s since the first was sent


def test_retry_after_is_not_waited_for_beyond_the_timeout(robot: Robot) -> None:
    with hostile(says(503, PROBLEM, "Retry-After: 30")) as server:
        began = time.monotonic()
        answer = robot.decide(server.url, client={"timeout": 1.0})
        assert time.monotonic() - began < 0.9
    assert (answer.kind, answer.status, len(server.requests)) == (Kind.REFUSED, 503, 1)


@pytest.mark.parametrize("text", ["-1", "nan", "Wed, 21 Oct 2026 07:28:00 GMT", "1e3", "9" * 400, ""])
def test_a_retry_after_that_is_no_number_of_seconds_is_none(robot: Robot, text: str) -> None:
    with hostile(says(503, PROBLEM, f"Retry-After: {text}")) as server:
        assert robot.decide(server.url).kind is Kind.REFUSED
    assert len(server.requests) == 1


def test_the_validity_of_an_answer_counts_from_the_first_sending(robot: Robot) -> None:
    def late_reset(line: socket.socket) -> None:
        time.sleep(0.4)
        resets(line)

    with hostile(late_reset, says(200, ACCEPTANCE | {"valid_for_ms": 300})) as server:
        answer = robot.decide(server.url)
    assert answer.response is not None
    assert answer.response.decision == "accept"
    assert answer.command is None


def test_a_key_that_is_called_with_again_counts_from_the_first_call() -> None:
    short = ACCEPTANCE | {"valid_for_ms": 400}
    with hostile(resets, says(200, short)) as server, Client(server.url, retries=0) as gateway:
        assert gateway.decide(b"RIFF", idempotency_key="mine").kind is Kind.NO_ANSWER
        time.sleep(0.5)
        again = gateway.decide(b"RIFF", idempotency_key="mine")
        other = gateway.decide(b"RIFF", idempotency_key="another")
    assert again.response is not None
    assert (again.response.decision, again.command, other.command) == ("accept", None, "left")


@pytest.mark.parametrize(("ago", "command"), [(0.2, "left"), (1.6, None), (-5.0, "left"), (float("nan"), None)])
def test_an_acceptance_counts_from_when_the_clip_was_had(robot: Robot, ago: float, command: str | None) -> None:
    with hostile(says(200, ACCEPTANCE)) as server:
        answer = robot.decide(server.url, since=its_clock.now() - ago)
    assert answer.command == command
    assert answer.seconds_left <= 1.5


@given(st.lists(st.integers(0, 9), max_size=60))
def test_a_key_is_remembered_until_enough_others_were_used(keys: list[int]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(first, "REMEMBERED", 5)
        log = first.FirstSent()
        for now, key in enumerate(keys):
            uses = [at for at in range(now) if keys[at] == key]
            since_last = set(keys[uses[-1] + 1 : now]) if uses else set()
            found = log.of(str(key), float(now))
            if not uses:
                assert found == now
            elif len(since_last) < 5:
                assert found < now
            else:
                assert found == now


def test_a_late_answer_is_never_the_next_commands(robot: Robot) -> None:
    """On one connection, which stays open: the first answer comes after its caller has gone."""
    listening = socket.create_server(("127.0.0.1", 0))
    answered: list[int] = []

    def serve(line: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while read(line) is not None:
                answered.append(len(answered) + 1)
                body = ACCEPTANCE | {"command": f"number {answered[-1]}"}
                if answered[-1] == 1:
                    time.sleep(0.6)
                line.sendall(response(200, body).replace(b"Connection: close\r\n", b""))

    def accept() -> None:
        with contextlib.suppress(OSError):
            while True:
                threading.Thread(target=serve, args=(listening.accept()[0],), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    url = f"http://127.0.0.1:{listening.getsockname()[1]}"
    commands = robot.commands(url, timeouts=(0.3, 2.0, 2.0))
    listening.close()
    assert commands == [None, "number 2", "number 3"]


@pytest.mark.parametrize("name", ["HTTP_PROXY", "http_proxy", "ALL_PROXY"])
def test_a_proxy_of_the_environment_hears_and_answers_nothing(
    robot: Robot, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    with hostile(says(200, ACCEPTANCE)) as proxy, hostile(says(200, ABSTENTION)) as server:
        monkeypatch.setenv(name, proxy.url)
        answer = robot.decide(server.url)
    assert (answer.kind, proxy.requests) == (Kind.ANSWERED, [])
    assert answer.command is None


@pytest.mark.parametrize("key", ["ev_abc_secret\n", " ev_abc_secret", "ev_abc_secret\r\n"])
def test_white_space_around_a_key_is_none_of_it(robot: Robot, key: str) -> None:
    with hostile(says(200, ACCEPTANCE)) as server:
        assert robot.decide(server.url, client={"key": key}).command == "left"
    assert server.requests[0].headers["authorization"] == "Bearer ev_abc_secret"


@pytest.mark.parametrize("key", ["ev_secret\nX-More: 1", "ev_s\u00e9cret", "ev_ secret", "", "\0ev_secret"])
@pytest.mark.parametrize("kind", [Client, AsyncClient])
def test_a_key_that_no_header_carries_is_refused_and_not_quoted(kind: type[Client], key: str) -> None:
    with pytest.raises(ValueError, match="printable ASCII") as refused:
        kind("http://127.0.0.1:1", key=key)
    assert "cret" not in str(refused.value)


@pytest.mark.parametrize("body", [PROBLEM | {"detail": "x" * 200_000}, b"x" * 200_000])
def test_a_detail_is_no_longer_than_a_paragraph(robot: Robot, body: object) -> None:
    with hostile(says(500, body)) as server:
        assert 100 < len(robot.decide(server.url).detail) < 1000


def test_a_detail_steers_no_terminal(robot: Robot) -> None:
    with hostile(says(500, PROBLEM | {"detail": "\x1b]0;busy\x07 with \u00e9lan\r\n"})) as server:
        assert robot.decide(server.url).detail == "status 500: \ufffd]0;busy\ufffd with \u00e9lan\ufffd\ufffd"


def test_a_pipe_that_nobody_writes_to_is_a_hold_in_time(robot: Robot, tmp_path: Path) -> None:
    pipe = tmp_path / "clip.wav"
    os.mkfifo(pipe)
    threading.Timer(1.5, lambda: pipe.open("wb").close()).start()  # lets the thread that reads it end
    answer = robot.decide("http://127.0.0.1:1", pipe, client={"timeout": 0.4})
    assert answer.kind is Kind.UNUSABLE
    assert "was not read within 0.4 s" in answer.detail


def test_a_client_that_nobody_has_any_more_leaves_nothing_behind() -> None:
    def ours() -> int:
        return sum(thread.name == "evenvoice-client" for thread in threading.enumerate())

    before = ours()
    with hostile(says(200, ACCEPTANCE)) as server:
        forgotten = [Client(server.url) for _ in range(3)]
        assert [gateway.decide(b"RIFF").command for gateway in forgotten] == ["left"] * 3
        assert ours() == before + 3
        del forgotten
        gc.collect()
        ends = time.monotonic() + 5
        while ours() > before and time.monotonic() < ends:
            time.sleep(0.01)
    assert ours() == before


def test_it_gives_up_after_so_many_retries(robot: Robot) -> None:
    with hostile(resets) as server:
        assert robot.decide(server.url, client={"retries": 2}).kind is Kind.NO_ANSWER
    assert len(server.requests) == 3


def test_a_wait_that_is_too_long_may_be_asked_again(robot: Robot) -> None:
    with hostile(says(200, ACCEPTANCE, after=2), says(200, ACCEPTANCE)) as server:
        answer = robot.decide(server.url, client={"timeout": Timeouts(overall=3, answer=0.3)})
    assert answer.command == "left"
    assert len(server.requests) == 2


def test_no_gateway_is_a_hold(robot: Robot) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{probe.getsockname()[1]}"
    assert robot.decide(url).kind is Kind.NO_ANSWER
    assert robot.decide("http://nowhere.invalid").kind is Kind.NO_ANSWER
    assert robot.decide("nonsense").kind is Kind.NO_ANSWER
    assert not robot.call(url, "label", ACCEPTANCE["request_id"], "left")
    assert not robot.call(url, "is_ready")
    with pytest.raises(GatewayError, match="no answer"):
        robot.call(url, "model")


def test_a_client_that_is_closed_holds() -> None:
    with hostile(says(200, ACCEPTANCE)) as server:
        gateway = Client(server.url)
        gateway.close()
        gateway.close()
        assert gateway.decide(b"RIFF").command is None
        assert not gateway.is_ready()
        with pytest.raises(GatewayError, match="closed"):
            gateway.model()


def test_a_child_of_the_process_holds_rather_than_waits_for_ever() -> None:
    """A child has no threads of its parent's."""
    with hostile(says(200, ACCEPTANCE)) as server, Client(server.url) as gateway:
        assert gateway.decide(b"RIFF").command == "left"
        child = os.fork()
        if child == 0:
            os._exit(0 if gateway.decide(b"RIFF").command is None else 1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_an_interrupt_passes() -> None:
    program = (
        "import signal, sys\nfrom gateway.client import Client\n"
        "signal.setitimer(signal.ITIMER_REAL, 0.7)\n"
        "def interrupt(*_): raise KeyboardInterrupt\n"
        "signal.signal(signal.SIGALRM, interrupt)\n"
        "try:\n    Client(sys.argv[1], timeout=20).decide(b'RIFF')\n"
        "except KeyboardInterrupt:\n    sys.exit(7)\n"
    )
    with hostile(says(200, ACCEPTANCE, after=20)) as server:
        began = time.monotonic()
        assert subprocess.run([sys.executable, "-c", program, server.url], timeout=60, check=False).returncode == 7
        assert time.monotonic() - began < 15


def test_it_asks_through_nothing_heavy() -> None:
    program = (
        "import sys, gateway.client\n"
        "print(sorted({'numpy', 'torch', 'bentoml', 'fastapi', 'starlette', 'pandas', 'scipy'} & set(sys.modules)))"
    )
    assert subprocess.check_output([sys.executable, "-c", program], text=True).strip() == "[]"


@pytest.mark.parametrize("seconds", [0, -1, float("nan"), float("inf"), 601])
def test_a_timeout_is_some_time(seconds: float) -> None:
    with pytest.raises(ValueError, match="more than 0"):
        Client("http://127.0.0.1:1", timeout=seconds)


SAMPLES = np.array([0.0, 0.5, -0.5, 1.0, -1.0, 7.0])
AS_INT16 = np.array([0, 16384, -16384, 32767, -32768, 32767], dtype=np.int16)


@pytest.mark.parametrize(
    "samples",
    [
        AS_INT16,
        SAMPLES,
        SAMPLES.astype(np.float32),
        array("h", AS_INT16.tolist()),
        array("f", SAMPLES.tolist()),
        np.repeat(AS_INT16, 2)[::2],
        memoryview(AS_INT16),
    ],
)
def test_samples_are_sent_as_big_endian_pcm(robot: Robot, samples: Any) -> None:
    with hostile(says(200, ACCEPTANCE)) as server:
        assert robot.decide(server.url, samples, rate=16_000).command == "left"
    (request,) = server.requests
    assert request.headers["content-type"] == "audio/L16;rate=16000;channels=1"
    np.testing.assert_array_equal(np.frombuffer(request.body, dtype=">i2"), AS_INT16)


def test_channels_are_the_second_dimension() -> None:
    both = np.stack([AS_INT16, -AS_INT16 // 2], axis=1)
    with hostile(says(200, ACCEPTANCE)) as server:
        Robot("sync").decide(server.url, both, rate=8000)
    assert server.requests[0].headers["content-type"] == "audio/L16;rate=8000;channels=2"
    np.testing.assert_array_equal(np.frombuffer(server.requests[0].body, dtype=">i2").reshape(-1, 2), both)


def test_a_file_is_sent_as_it_is(robot: Robot, tmp_path: Path) -> None:
    path = tmp_path / "a.flac"
    path.write_bytes(b"fLaC\0\1\2")
    with hostile(says(200, ACCEPTANCE)) as server:
        robot.decide(server.url, path)
        robot.decide(server.url, str(path), media_type="audio/x-flac")
        robot.decide(server.url, b"RIFF")
    assert [r.headers["content-type"] for r in server.requests] == ["audio/flac", "audio/x-flac", "audio/wav"]
    assert [r.body for r in server.requests] == [b"fLaC\0\1\2"] * 2 + [b"RIFF"]


@pytest.mark.parametrize(
    ("audio", "options", "words"),
    [
        (Path("/no/such/file"), {}, "can't be read"),
        (Path("/dev/zero"), {}, "16 MiB"),
        ("a\0b", {}, "can't be read"),
        (7, {}, "int is no audio"),
        (None, {}, "no audio"),
        ([0.0, 0.1], {"rate": 16_000}, "list holds no samples"),
        (np.array([0.0, np.nan]), {"rate": 16_000}, "not a finite number"),
        (np.zeros(4, dtype=complex), {"rate": 16_000}, "int16 or floats"),
        (np.zeros((2, 2, 2)), {"rate": 16_000}, "3 dimensions"),
    ],
)
def test_audio_that_cannot_be_sent_is_a_hold(robot: Robot, audio: Any, options: dict[str, Any], words: str) -> None:
    with hostile(says(200, ACCEPTANCE)) as server:
        answer = robot.decide(server.url, audio, **options)
    assert (answer.command, answer.kind) == (None, Kind.UNUSABLE)
    assert words in answer.detail
    assert server.requests == []


def test_a_label_is_sent_once_and_only_for_an_id(robot: Robot) -> None:
    with hostile(resets) as server:
        assert not robot.call(server.url, "label", ACCEPTANCE["request_id"], "left")
        assert not robot.call(server.url, "label", "../../v1/speakers", "left")
        assert not robot.call(server.url, "label", None, "left")
    assert [r.path for r in server.requests] == [f"/v1/commands/{ACCEPTANCE['request_id']}/label"]
    assert isinstance(Answer(None, "as before"), Answer)
