"""Of anything a server can say, only a fresh and valid acceptance is a command."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hostile import ABSTENTION, ACCEPTANCE
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.client import clock
from gateway.client.answer import read_answer
from gateway.client.conversation import Conversation, Ended, Heard
from gateway.client.sent import SentLog

VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-10, 10**20),
    st.floats(),
    st.text(max_size=5),
    st.sampled_from(["accept", "abstain", "left", "ok", "unknown", "deadline", "hold", "go"]),
    st.lists(st.integers(), max_size=2),
    st.dictionaries(st.text(max_size=3), st.integers(), max_size=2),
)
NAMES = st.one_of(st.sampled_from(sorted(ACCEPTANCE)), st.text(max_size=6))


@st.composite
def bodies(draw: st.DrawFn) -> dict[str, Any]:
    """An answer with a few things changed in it."""
    body = dict(draw(st.sampled_from([ACCEPTANCE, ABSTENTION])))
    body |= draw(st.dictionaries(NAMES, VALUES, max_size=3))
    for name in draw(st.sets(st.sampled_from(sorted(ACCEPTANCE)), max_size=1)):
        body.pop(name, None)
    return body


def is_an_acceptance(body: dict[str, Any]) -> bool:
    """By hand: what docs/api.md says of one."""

    def number(value: Any) -> bool:
        return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)

    return (
        set(ACCEPTANCE) - {"safe_action"} <= set(body)
        and (body["decision"], body["reason"], body.get("safe_action", "hold")) == ("accept", "ok", "hold")
        and isinstance(body["command"], str)
        and body["command"].strip() not in ("", "unknown")
        and type(body["valid_for_ms"]) is int
        and (body["confidence"] is None or number(body["confidence"]))
        and isinstance(body["detail"], str)
        and isinstance(body["request_id"], str)
    )


@given(bodies(), st.floats(0, 70))
@settings(max_examples=600)
def test_a_command_comes_from_a_fresh_acceptance_alone(body: dict[str, Any], later: float) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(clock, "now", lambda: 1000.0)
        answer = read_answer(json.dumps(body).encode(), "application/json", sent=1000.0)
        patch.setattr(clock, "now", lambda: 1000.0 + later)
        command = answer.command
    if command is None:
        return
    assert is_an_acceptance(body)
    assert command == body["command"]
    assert 1000 * later < min(body["valid_for_ms"], 60_000)


@given(st.binary(max_size=200) | bodies().map(lambda body: json.dumps(body).encode()[:-1]))
@settings(max_examples=300)
def test_what_is_cut_short_or_no_json_is_a_hold(content: bytes) -> None:
    assert read_answer(content, "application/json", sent=clock.now()).command is None


@given(st.text(max_size=60) | bodies().map(json.dumps))
@settings(max_examples=300)
def test_no_message_of_a_stream_raises_or_is_a_command_before_anything_was_sent(message: str) -> None:
    talk = Conversation(rate=16_000, channels=1)
    event = talk.event(message)
    assert isinstance(event, Ended) or not (isinstance(event, Heard) and event.answer.command)


@given(
    st.lists(st.tuples(st.integers(1, 40), st.floats(0, 5)), min_size=1, max_size=40),
    st.integers(0, 1700),
)
@settings(max_examples=400)
def test_the_time_of_a_sample_is_that_of_the_piece_it_went_with(pieces: list[tuple[int, float]], sample: int) -> None:
    """Against a slow look at every sample; a hundred samples a second."""
    log, at, sent = SentLog(), 0.0, []
    for samples, gap in pieces:
        at += gap
        sent += [at] * samples
        log.note(len(sent) / 100, at)
    found = log.when((sample + 0.5) / 100)
    if sample >= len(sent) or sent[sample] < at - 60:
        assert found is None or found >= at - 60
    if sample >= len(sent):
        assert found is None
    elif sent[sample] >= at - 60:
        assert found == sent[sample]
