"""What an onlooker can learn from the series of a group: never of fewer than k observations or m speakers."""

from __future__ import annotations

from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitoring.release import ReleaseGate

EVENTS = st.lists(st.tuples(st.sampled_from(["north", "south"]), st.integers(0, 5)), max_size=120)  # group, speaker
K, M = st.integers(1, 12), st.integers(1, 5)


@given(EVENTS, K, M)
def test_nothing_is_released_of_too_few_and_nothing_is_lost_or_doubled(
    events: list[tuple[str, int]], k: int, m: int
) -> None:
    gate: ReleaseGate[str, int] = ReleaseGate(observations=k, speakers=m)
    offered: defaultdict[str, list[int]] = defaultdict(list)
    released: defaultdict[str, list[int]] = defaultdict(list)
    for number, (group, speaker) in enumerate(events):
        offered[group].append(number)
        lot = gate.offer(group, number, speaker=f"s{speaker}")
        if lot:
            assert len(lot) >= k
            assert len({events[i][1] for i in lot}) >= m
            assert {events[i][0] for i in lot} == {group}
        released[group] += lot
    for group, numbers in offered.items():
        seen = released[group]
        assert seen == numbers[: len(seen)]  # in order, each once
        held = numbers[len(seen) :]
        assert len(held) < k or len({events[i][1] for i in held}) < m  # and no later than it may be


@given(EVENTS, K, M)
def test_a_group_is_released_as_if_the_other_were_not_there(events: list[tuple[str, int]], k: int, m: int) -> None:
    together: ReleaseGate[str, int] = ReleaseGate(observations=k, speakers=m)
    alone: ReleaseGate[str, int] = ReleaseGate(observations=k, speakers=m)
    for number, (group, speaker) in enumerate(events):
        lot = together.offer(group, number, speaker=str(speaker))
        if group == "north":
            assert lot == alone.offer(group, number, speaker=str(speaker))


def test_the_kth_observation_releases_all_and_the_one_before_none() -> None:
    gate: ReleaseGate[str, int] = ReleaseGate(observations=10, speakers=3)
    lots = [gate.offer("north", i, speaker=f"s{i % 3}") for i in range(30)]
    assert [len(lot) for lot in lots] == ([0] * 9 + [10]) * 3


def test_two_speakers_release_nothing_however_much_they_say() -> None:
    gate: ReleaseGate[str, int] = ReleaseGate(observations=10, speakers=3)
    assert not any(gate.offer("north", i, speaker=f"s{i % 2}") for i in range(1000))
    assert len(gate.offer("north", 1000, speaker="s2")) == 1001


def test_the_speakers_of_a_released_lot_are_forgotten() -> None:
    gate: ReleaseGate[str, int] = ReleaseGate(observations=3, speakers=3)
    for speaker in "abc":
        lot = gate.offer("north", 0, speaker=speaker)
    assert len(lot) == 3
    assert not any(gate.offer("north", 0, speaker="a") for _ in range(10))


@pytest.mark.parametrize("threads", [2, 8])
def test_threads_lose_and_double_nothing(threads: int) -> None:
    gate: ReleaseGate[str, int] = ReleaseGate(observations=10, speakers=3)
    with ThreadPoolExecutor(threads) as pool:
        lots = list(pool.map(lambda i: gate.offer("north", i, speaker=f"s{i % 7}"), range(2000)))
    released = [i for lot in lots for i in lot]
    assert len(released) == len(set(released)) == 2000
    assert all(len(lot) >= 10 and len({i % 7 for i in lot}) >= 3 for lot in lots if lot)
