"""What a client may send, and the code that each breach closes with."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway import problems
from gateway.schemas import CommandResponse, ModelBody
from gateway.streaming.limits import BURST_SECONDS, SPEED, Pace
from gateway.streaming.messages import DecisionMessage, ProblemMessage, UtteranceBody
from gateway.streaming.protocol import CloseCode, EndUtterance, Start, Stop, StreamEnded, check_frame, parse
from recognizer.decision import Reason, abstention

START = {"type": "start", "rate": 16_000, "width": 2, "channels": 1}


def test_each_message_is_understood() -> None:
    assert parse(json.dumps(START)) == Start(type="start", rate=16_000, width=2, channels=1)
    named = parse(json.dumps({**START, "rate": 48_000, "channels": 2, "speaker": "s-17", "defense": "smoothing"}))
    assert isinstance(named, Start)
    assert (named.rate, named.channels, named.speaker, named.defense) == (48_000, 2, "s-17", "smoothing")
    assert isinstance(parse('{"type": "end_utterance"}'), EndUtterance)
    assert isinstance(parse('{"type": "stop"}'), Stop)


@pytest.mark.parametrize(
    ("change", "code", "words"),
    [
        ({"rate": 7999}, 1003, "rate"),
        ({"rate": 48_001}, 1003, "rate"),
        ({"width": 4}, 1003, "width"),
        ({"channels": 0}, 1003, "channels"),
        ({"channels": 3}, 1003, "channels"),
        ({"rate": 16_000.5}, 1007, "rate"),
        ({"rate": "16000"}, 1007, "rate"),
        ({"rate": True}, 1007, "rate"),
        ({"rate": None}, 1007, "rate"),
        ({"rate": 7999, "channels": "one"}, 1007, "channels"),
        ({"rate": 10**400}, 1003, "rate"),
        ({"speaker": "s" * 65}, 1007, "speaker"),
        ({"defense": 3}, 1007, "defense"),
        ({"gain": 2}, 1007, "gain"),
        ({"type": "begin"}, 1007, "start"),
    ],
)
def test_a_start_out_of_its_vocabulary_is_told_what_is_wrong(change: dict[str, object], code: int, words: str) -> None:
    with pytest.raises(StreamEnded, match=words) as caught:
        parse(json.dumps({**START, **change}))
    assert caught.value.code == code


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "null",
        "[]",
        "17",
        '"start"',
        "{}",
        '{"type": []}',
        "NaN",
        "[" * 4000,
        '{"type":"stop","x":NaN}',
        "\x00",
    ],
)
def test_text_that_is_no_message_is_1007(text: str) -> None:
    with pytest.raises(StreamEnded) as caught:
        parse(text)
    assert caught.value.code == CloseCode.INCONSISTENT == 1007
    assert caught.value.problem.status == 400


def test_the_largest_frame_and_message_are_taken_and_larger_ones_are_1009() -> None:
    check_frame(bytes(65_536))
    padded = json.dumps(START).ljust(4096)
    assert parse(padded) == parse(json.dumps(START))
    for breach in (lambda: check_frame(bytes(65_537)), lambda: parse(padded + " "), lambda: parse("é" * 2049)):
        with pytest.raises(StreamEnded) as caught:
            breach()
        assert (caught.value.code, caught.value.problem.status) == (1009, 413)


@given(st.text(max_size=200) | st.from_regex(r'\{"type": ?"(start|stop)"[^}]{0,40}\}'))
def test_no_text_does_more_than_end_the_stream(text: str) -> None:
    try:
        outcome: str | int = parse(text).type
    except StreamEnded as ended:
        outcome = ended.code
    assert outcome in ("start", "stop", "end_utterance", 1003, 1007)


def test_a_decision_is_the_answer_to_an_upload_and_where_the_utterance_was() -> None:
    response = CommandResponse.of(
        abstention(Reason.NO_SPEECH, "quiet"),
        request_id="r",
        model=ModelBody(name="m", version="sha256:0"),
        audio=None,
        received_at=datetime(2026, 1, 1, tzinfo=UTC),
        valid_for_ms=1500,
        timings_ms={"total": 1.0},
    )
    message = json.loads(DecisionMessage.to(UtteranceBody(start=1, end=2, endpoint_ms=300), response).model_dump_json())
    assert message.pop("type") == "decision"
    assert message.pop("utterance") == {"start": 1, "end": 2, "endpoint_ms": 300}
    assert message == json.loads(response.model_dump_json())


def test_every_problem_says_hold() -> None:
    message = ProblemMessage.of(problems.Overloaded("busy")).model_dump()
    assert (message["decision"], message["safe_action"], message["status"]) == ("abstain", "hold", 503)


def test_real_time_is_never_slowed_down_and_what_is_faster_comes_at_four_times_real_time() -> None:
    pace, clock = Pace(0.0), 0.0
    for _ in range(10_000):  # frames of 20 ms as they are spoken
        assert pace.wait(0.02, clock) == 0
        clock += 0.02
    begun, audio = clock, 0.0
    while audio < 400:
        clock += pace.wait(0.5, clock)
        audio += 0.5
    assert clock - begun == pytest.approx((400 - BURST_SECONDS) / SPEED, rel=0.01)


def test_a_stalled_network_may_make_up_for_it_at_once() -> None:
    pace = Pace(0.0)
    assert pace.wait(BURST_SECONDS, 100.0) == 0
    assert pace.wait(1.0, 100.0) == pytest.approx(1.0 / SPEED)


def test_empty_messages_are_paced_too() -> None:
    pace, clock = Pace(0.0), 0.0
    for _ in range(50_000):
        clock += pace.wait(0.0, clock)
    assert clock > 20
