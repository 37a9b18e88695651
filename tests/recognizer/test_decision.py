"""A decision can't be anything but a command to do, or an abstention with its reason."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recognizer.decision import (
    OUTCOME_OF,
    UNKNOWN,
    Certificate,
    Decision,
    Outcome,
    Reason,
    abstention,
    conclude,
)

HOLDS = st.sampled_from([None, *((reason, f"because of {reason}") for reason in Reason if reason is not Reason.OK)])


@st.composite
def evidence(draw: st.DrawFn) -> tuple[tuple[str, ...], list[float]]:
    """Labels, `unknown` at any place or absent, and shares, many of them equal."""
    count = draw(st.integers(2, 6))
    labels = [f"command {k}" for k in range(count)]
    place = draw(st.integers(0, 2 * count))
    if place < count:
        labels[place] = UNKNOWN
    shares = draw(st.lists(st.sampled_from([0.0, 0.1, 0.25, 0.5, 1.0]), min_size=count, max_size=count))
    return tuple(labels), shares


@given(evidence(), HOLDS)
def test_there_is_a_command_exactly_when_the_reason_is_ok(
    given: tuple[tuple[str, ...], list[float]], hold: tuple[Reason, str] | None
) -> None:
    decision = conclude(*given, hold=hold, detail="fine")
    assert (decision.command is not None) == (decision.reason is Reason.OK) == decision.is_accepted
    assert decision.is_accepted == (decision.outcome is Outcome.ACCEPTED)
    if hold is not None:
        assert (decision.reason, decision.detail) == hold


@given(evidence(), HOLDS)
def test_unknown_never_becomes_a_command(
    given: tuple[tuple[str, ...], list[float]], hold: tuple[Reason, str] | None
) -> None:
    labels, shares = given
    decision = conclude(labels, shares, hold=hold)
    assert decision.command != UNKNOWN
    if hold is None and labels[shares.index(max(shares))] == UNKNOWN:
        assert decision.reason is Reason.NOT_A_COMMAND


@given(evidence())
def test_the_first_of_the_largest_shares_leads(given: tuple[tuple[str, ...], list[float]]) -> None:
    labels, shares = given
    decision = conclude(labels, shares)
    leader = labels[shares.index(max(shares))]  # list.index finds the first
    assert decision.command == (None if leader == UNKNOWN else leader)
    assert decision.confidence == max(shares)
    assert decision.top[0].command == leader


@given(evidence())
def test_the_top_three_are_in_order_and_carry_their_own_shares(given: tuple[tuple[str, ...], list[float]]) -> None:
    labels, shares = given
    top = conclude(labels, shares).top
    assert len(top) == min(3, len(labels))
    assert [c.share for c in top] == sorted(shares, reverse=True)[:3]
    assert all(c.share == shares[labels.index(c.command)] for c in top)
    assert len({c.command for c in top}) == len(top)


def test_every_reason_has_an_outcome() -> None:
    assert set(OUTCOME_OF) == set(Reason)
    assert [r for r in Reason if OUTCOME_OF[r] is Outcome.ACCEPTED] == [Reason.OK]


@given(st.sampled_from(Reason), st.sampled_from([None, "left"]))
def test_no_decision_can_contradict_itself(reason: Reason, command: str | None) -> None:
    if (reason is Reason.OK) == (command is not None):
        assert Decision(command, reason, "", 0.5).outcome is OUTCOME_OF[reason]
    else:
        with pytest.raises(ValueError, match="can't carry the command"):
            Decision(command, reason, "", 0.5)


def test_abstaining_later_keeps_the_evidence_and_drops_the_command() -> None:
    certificate = Certificate(defense="smoothing", p_value=0.0)
    accepted = conclude(("left", "right"), [0.9, 0.1], certificate=certificate)
    late = accepted.but_abstain(Reason.DEADLINE, "too late")
    assert (late.command, late.reason, late.detail, late.outcome) == (
        None,
        Reason.DEADLINE,
        "too late",
        Outcome.SERVICE,
    )
    assert (late.top, late.confidence, late.certificate) == (accepted.top, 0.9, certificate)


def test_an_early_abstention_has_no_evidence() -> None:
    decision = abstention(Reason.TOO_SHORT, "0.05 s")
    assert (decision.command, decision.confidence, decision.top, decision.certificate) == (None, None, (), None)
    assert decision.outcome is Outcome.BAD_INPUT


@pytest.mark.parametrize("reason", [r for r in Reason if r is not Reason.OK])
def test_an_abstention_can_not_be_made_ok(reason: Reason) -> None:
    with pytest.raises(ValueError, match="can't carry"):
        abstention(reason, "").but_abstain(Reason.OK, "")
