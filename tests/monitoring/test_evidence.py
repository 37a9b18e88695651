"""Sessions, and evidence on a group: what is released of it, and that storing it changes nothing."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitoring.betting import Evidence, Pairing
from monitoring.evidence import (
    FEW_SPEAKERS,
    GroupEvidence,
    Standing,
    groups_bet_on,
    groups_in_all,
    is_new_to,
)
from monitoring.release import ReleaseRule
from monitoring.sessions import Session, SessionKey
from recognizer.decision import Outcome

WHEN = datetime(2026, 3, 1, 23, 59, 59, tzinfo=UTC)
ENDED = st.tuples(st.booleans(), st.integers(0, 6), st.integers(0, 5))
"""Of the group or not, how many of 6 commands were rejected, speaker."""


def key(at: datetime, seconds: int = 86_400) -> SessionKey:
    return SessionKey.of(at, seconds, model="m", defense="none", speaker="s1")


def test_a_session_is_a_day_in_utc() -> None:
    assert key(WHEN).ends_at == datetime(2026, 3, 2, tzinfo=UTC).timestamp()
    assert key(WHEN + timedelta(seconds=1)).ends_at == datetime(2026, 3, 3, tzinfo=UTC).timestamp()
    assert key(WHEN, 10).ends_at == WHEN.timestamp() + 1


@given(st.permutations(range(6)))
def test_a_session_is_the_same_in_whatever_order_its_commands_are_taken_in(order: list[int]) -> None:
    outcomes = [
        Outcome.BAD_INPUT,
        Outcome.ACCEPTED,
        Outcome.REJECTED,
        Outcome.SERVICE,
        Outcome.REJECTED,
        Outcome.ACCEPTED,
    ]
    groups = [{"accent": "north" if number == 0 else "south"} for number in range(6)]
    start = WHEN + timedelta(seconds=order[0])
    session = Session(key(WHEN), start, groups[order[0]])
    for number in order:
        session.add(WHEN + timedelta(seconds=number), groups[number], outcomes[number])
    assert (session.first_at, session.groups) == (WHEN, {"accent": "north"})  # the first's, though it was not heard
    assert (session.decided, session.rejected, session.score) == (4, 2, 0.5)


def test_a_session_in_which_nothing_was_decided_has_no_score() -> None:
    session = Session(key(WHEN), WHEN, {})
    session.add(WHEN, {}, Outcome.BAD_INPUT)
    assert session.score is None


@given(st.lists(ENDED, max_size=60), st.integers(1, 40), st.integers(1, 4))
def test_what_is_shown_moves_only_with_enough_of_both_sides_and_is_then_all_there_is(
    ended: list[tuple[bool, int, int]], k: int, m: int
) -> None:
    rule, evidence = ReleaseRule(k, m), GroupEvidence.begin(0.02)
    pairing, whole = Pairing(), Evidence(0.02)
    since: list[tuple[bool, int, int]] = []
    for number, (is_of_group, rejected, speaker) in enumerate(ended, 1):
        since.append((is_of_group, rejected, speaker))
        before = evidence.released
        evidence.add(rejected / 6, commands=6, is_of_group=is_of_group, is_new=False)
        if (difference := pairing.add(rejected / 6, is_of_group=is_of_group)) is not None:
            whole.add([difference])
        sides = [{s for own, _, s in since if own == side} for side in (True, False)]
        is_released = evidence.release(rule, own_speakers=len(sides[0]), rest_speakers=len(sides[1]), through=number)
        commands = [6 * sum(own == side for own, _, _ in since) for side in (True, False)]
        assert is_released == (min(commands) >= k and min(map(len, sides)) >= m)
        if is_released:
            since = []
            np.testing.assert_array_equal(evidence.released.evidence.log_wealth, whole.log_wealth)
            assert evidence.released.sessions == sum(own for own, _, _ in ended[:number])
        else:
            assert evidence.released is before
        stored = [json.loads(json.dumps(part)) for part in (evidence.to_json(), evidence.released.to_json())]
        evidence = GroupEvidence.from_json(*stored, 0.02)
        evidence.released = before if not is_released else evidence.released


def test_what_is_shown_does_not_move_with_what_comes_after() -> None:
    evidence = GroupEvidence.begin(0.0)
    for is_of_group in (True, False):
        evidence.add(1.0 * is_of_group, commands=1, is_of_group=is_of_group, is_new=True)
    assert evidence.release(ReleaseRule(1, 1), own_speakers=1, rest_speakers=1, through=2)
    shown = evidence.released.evidence.log_wealth.copy()
    for is_of_group in (True, False):
        evidence.add(1.0 * is_of_group, commands=1, is_of_group=is_of_group, is_new=True)
    np.testing.assert_array_equal(evidence.released.evidence.log_wealth, shown)
    assert evidence.current.evidence.log_evidence > evidence.released.evidence.log_evidence
    assert evidence.released.side == "more"


@pytest.mark.parametrize(
    ("own", "rest", "speaks_of"),
    [(FEW_SPEAKERS, FEW_SPEAKERS, "group"), (FEW_SPEAKERS - 1, 500, "these_speakers"), (500, 3, "these_speakers")],
)
def test_few_speakers_on_either_side_speak_for_themselves_only(own: int, rest: int, speaks_of: str) -> None:
    standing = Standing(Evidence(0.02), own_speakers=own, rest_speakers=rest)
    assert (standing.speakers, standing.speaks_of) == (min(own, rest), speaks_of)


def test_every_declared_group_and_other_is_bet_on_and_undeclared_never() -> None:
    vocabulary = {"accent": ("north", "south"), "gender": ("other", "undeclared", "female"), "native": ()}
    assert groups_bet_on(vocabulary, "accent") == ("north", "south", "other")
    assert groups_bet_on(vocabulary, "gender") == ("other", "female")
    assert groups_bet_on(vocabulary, "native") == groups_bet_on({}, "accent") == ("other",)
    assert groups_in_all(vocabulary) == 3 + 2 + 1


@pytest.mark.parametrize(
    ("known", "is_of_group", "is_new"),
    [((), True, True), ((), False, True), (("a",), True, False), (("a",), False, True), (("b", "c"), False, False)],
)
def test_a_speaker_who_changed_groups_is_new_on_each_side_once(
    known: tuple[str, ...], is_of_group: bool, is_new: bool
) -> None:
    assert is_new_to(known, "a", is_of_group=is_of_group) is is_new
