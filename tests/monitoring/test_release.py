"""What an onlooker can learn from the series of a group: never of fewer than k observations or m speakers."""

from __future__ import annotations

from collections import Counter, defaultdict

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitoring.release import NOBODY, Lot, Lots, ReleaseRule
from monitoring.tally import Cell, Tally

Event = tuple[str, str | None, bool]
"""group, speaker, whether a label"""

EVENTS = st.lists(
    st.lists(
        st.tuples(st.sampled_from(["north", "south"]), st.sampled_from(["a", "b", "c", "d", None]), st.booleans()),
        max_size=20,
    ),
    max_size=15,
)
"""Batches of a pass."""
K, M = st.integers(1, 12), st.integers(1, 5)


def cell(group: str) -> Cell:
    return Cell("m", "none", "accent", group)


def one(*, is_label: bool = False) -> Tally:
    tally = Tally()
    if is_label:
        tally.labelled["wrong"] += 1
    else:
        tally.outcomes["rejected"] += 1
    return tally


@given(EVENTS, K, M)
def test_nothing_is_released_of_too_few_and_nothing_is_lost_or_doubled(
    batches: list[list[Event]], k: int, m: int
) -> None:
    lots = Lots(ReleaseRule(k, m))
    waiting: defaultdict[Lot, list[str | None]] = defaultdict(list)
    for batch in batches:
        for group, speaker, is_label in batch:
            lots.add(cell(group), one(is_label=is_label), speaker=speaker, is_label=is_label)
            waiting[Lot(cell(group), is_label, speaker is not None)].append(speaker)
        released = lots.release()
        for lot, said in list(waiting.items()):
            is_enough = len(said) >= k and (len(set(said)) if lot.has_speakers else len(said)) >= m
            assert (lot in released) == is_enough
            if is_enough:
                assert released[lot].observations == len(waiting.pop(lot))
        assert released.keys() & waiting.keys() == set()
    held = {lot: {who: t.observations for who, t in by.items()} for lot, by in lots.held.items()}
    assert held == {lot: Counter(who or NOBODY for who in said) for lot, said in waiting.items()}


def test_the_kth_observation_releases_all_and_the_one_before_none() -> None:
    lots, sizes = Lots(ReleaseRule(10, 3)), []
    for number in range(30):
        lots.add(cell("north"), one(), speaker=f"s{number % 3}", is_label=False)
        sizes += [tally.observations for tally in lots.release().values()] or [0]
    assert sizes == ([0] * 9 + [10]) * 3


def test_what_is_held_back_takes_no_more_room_the_more_two_speakers_say() -> None:
    lots = Lots(ReleaseRule(10, 3))
    for number in range(1000):
        lots.add(cell("north"), one(), speaker=f"s{number % 2}", is_label=False)
        assert lots.release() == {}
    ((by_speaker),) = lots.held.values()
    assert {who: tally.observations for who, tally in by_speaker.items()} == {"s0": 500, "s1": 500}
    lots.add(cell("north"), one(), speaker="s2", is_label=False)
    assert [tally.outcomes["rejected"] for tally in lots.release().values()] == [1001]


def test_commands_without_a_speaker_release_no_registered_one() -> None:
    lots = Lots(ReleaseRule(3, 3))
    lots.add(cell("undeclared"), one(), speaker="s2", is_label=False)
    for _ in range(4):
        lots.add(cell("undeclared"), one(), speaker=None, is_label=False)
    assert {lot.has_speakers: t.observations for lot, t in lots.release().items()} == {False: 4}
    assert list(lots.held) == [Lot(cell("undeclared"), is_of_labels=False, has_speakers=True)]


def test_a_lot_goes_on_from_what_was_held_before() -> None:
    first = Lots(ReleaseRule(4, 2))
    for speaker in "aab":
        first.add(cell("north"), one(), speaker=speaker, is_label=False)
    second = Lots(ReleaseRule(4, 2), first.held)
    assert second.release() == {}
    second.add(cell("north"), one(), speaker="a", is_label=False)
    assert [tally.observations for tally in second.release().values()] == [4]


@pytest.mark.parametrize(("commands", "speakers", "is_allowed"), [(10, 3, True), (9, 3, False), (10, 2, False)])
def test_the_rule_asks_for_both(commands: int, speakers: int, is_allowed: bool) -> None:
    assert ReleaseRule().allows(commands=commands, speakers=speakers) is is_allowed
