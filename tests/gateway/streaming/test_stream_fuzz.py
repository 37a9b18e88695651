"""Whatever a client sends, in whatever order: an orderly end, and nothing left."""

from __future__ import annotations

import asyncio
from typing import Any

from caller import END_UTTERANCE, START, STOP, Caller, Serve, assert_holds
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

KINDS = {"ready", "speech_started", "decision", "problem", "stopped"}
CODES = {1000, 1002, 1003, 1007, 1008, 1009}
LEAVE = {"type": "(leaves)"}

loud = st.integers(1, 12_000).map(lambda samples: b"\xff\x3f\x00\xc0" * samples)
faint = st.integers(1, 12_000).map(lambda samples: b"\x01\x00\xff\xff" * samples)
starts = st.fixed_dictionaries(
    {"type": st.just("start"), "rate": st.sampled_from([7999, 8000, 16_000, 44_100, 48_000, 48_001, -1, 2**70])},
    optional={
        "width": st.sampled_from([2, 2, 2, 1, 4]),
        "channels": st.sampled_from([1, 1, 2, 3]),
        "speaker": st.text(max_size=70),
        "defense": st.sampled_from(["none", "smoothing", "", "x" * 200]),
    },
)
messages = st.one_of(
    st.just(START),
    st.just(END_UTTERANCE),
    st.just(STOP),
    st.just(LEAVE),
    starts,
    loud,
    faint,
    st.binary(max_size=200),
    st.sampled_from([b"", bytes(65_536), bytes(65_537), "x" * 4097, '{"type": "stop"', "[" * 3000]),
    st.text(max_size=50),
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=5),
        lambda inner: st.dictionaries(st.sampled_from(["type", "rate", "x"]), inner, max_size=3),
        max_leaves=5,
    ).filter(lambda value: isinstance(value, dict)),
)
scripts = st.one_of(
    st.lists(messages, max_size=12),
    st.lists(messages, max_size=12).map(lambda rest: [START, *rest]),
    st.lists(loud | faint | st.just(END_UTTERANCE), max_size=8).map(lambda rest: [START, *rest, STOP]),
)


@settings(max_examples=400, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(scripts, st.booleans())
def test_any_sequence_of_messages_ends_in_order(serve: Serve, script: list[Any], is_paced: bool) -> None:
    async def run() -> Caller:
        caller = Caller(serve)
        for message in script:
            if message == LEAVE:
                break
            caller.send(message)
            if is_paced:
                await asyncio.sleep(0)
        else:
            caller.send(STOP)  # so that it ends at all
        if LEAVE in script:
            caller.leave()
        await caller.end()
        assert asyncio.all_tasks() == {asyncio.current_task()}
        return caller

    caller = asyncio.run(run())
    assert set(caller.kinds) <= KINDS
    for problem in caller.of("problem"):
        assert_holds(problem)
    for decision in caller.of("decision"):
        assert decision["decision"] == "accept" or decision["command"] is None
    assert len(caller.of("ready")) <= 1
    if caller.is_gone:
        return
    assert caller.code in CODES
    assert caller.kinds[-1] == ("stopped" if caller.code == 1000 else "problem")
    if caller.code == 1000:
        (stopped,) = caller.of("stopped")
        assert len(caller.of("decision")) + len(caller.of("problem")) == stopped["utterances"]
        assert len(caller.of("speech_started")) <= stopped["utterances"]
