"""Combined defenses: accepted only where every part accepts the same command; purified once, before the first."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tiny_defenses import COMMANDS, clips, ids, network, neural_rejection, singles, smoothing
from torch import Tensor

from recognizer.combined import Combined, PurificationError, PurifiedInput, agreement, assemble
from recognizer.decision import OUTCOME_OF, UNKNOWN, Certificate, Decision, Outcome, Part, Reason, conclude
from recognizer.defense import DefenseName, Undefended
from recognizer.purification import purifier
from recognizer.steps import steps_of

WITH_UNKNOWN = ("go", "left", UNKNOWN, "stop")
NAMES = ("neural_rejection", "smoothing", "a third")


@st.composite
def said(draw: st.DrawFn) -> Decision:
    """What a part says: a command, not always the same, or any abstention that a part may come to."""
    command = draw(st.sampled_from(["go", "left", "left", "left", None]))
    abstains = st.sampled_from([Reason.LOW_CONFIDENCE, Reason.SMOOTHING_TIE, Reason.NOT_A_COMMAND, Reason.DEADLINE])
    reason = Reason.OK if command else draw(abstains)
    shares = draw(st.floats(0, 1))
    return Decision(command, reason, f"because of {reason}", shares, certificate=Certificate(defense="part", draws=7))


class Scripted:
    """A defense that says of clip i what it was told, and remembers of whom it was asked."""

    def __init__(self, name: str, script: Sequence[Decision]) -> None:
        self.name, self.script = name, script
        self.asked: list[str] = []

    def decide(
        self, waveforms: Tensor, *, clip_ids: Sequence[str], seed: int, deadline: float | None = None
    ) -> list[Decision]:
        del seed, deadline
        assert [f"clip {int(place)}" for place in waveforms[:, 0]] == list(clip_ids)
        self.asked += clip_ids
        return [self.script[int(place)] for place in waveforms[:, 0]]


scripts = st.integers(1, 6).flatmap(
    lambda count: st.lists(st.lists(said(), min_size=count, max_size=count), min_size=2, max_size=3)
)


@given(scripts, st.booleans())
def test_accepted_iff_every_part_accepts_the_same_command(script: list[list[Decision]], ask_all: bool) -> None:
    parts = [Scripted(name, decisions) for name, decisions in zip(NAMES, script, strict=False)]
    count = len(script[0])
    waveforms = torch.arange(count, dtype=torch.float32)[:, None]
    decisions = Combined(parts, ask_all=ask_all).decide(waveforms, clip_ids=ids(count), seed=0)
    for clip, decision in enumerate(decisions):
        each = [decisions[clip] for decisions in script]
        agreed = {d.command for d in each} if all(d.reason is Reason.OK for d in each) else set()
        assert decision.is_accepted == (len(agreed) == 1)
        if decision.is_accepted:
            assert decision.command in agreed
        elif agreed:
            assert decision.reason is Reason.DISAGREEMENT
        else:
            assert decision.reason is next(d.reason for d in each if d.reason is not Reason.OK)


@given(scripts)
def test_asking_only_where_it_counts_gives_the_same_answers(script: list[list[Decision]]) -> None:
    count = len(script[0])
    waveforms = torch.arange(count, dtype=torch.float32)[:, None]
    answers = {}
    for ask_all in (True, False):
        parts = [Scripted(name, decisions) for name, decisions in zip(NAMES, script, strict=False)]
        answers[ask_all] = Combined(parts, ask_all=ask_all).decide(waveforms, clip_ids=ids(count), seed=0)
        for place, part in enumerate(parts):
            spared = [any(s[i].reason is not Reason.OK for s in script[:place]) and not ask_all for i in range(count)]
            assert part.asked == [name for name, is_spared in zip(ids(count), spared, strict=True) if not is_spared]
    for every, some in zip(answers[True], answers[False], strict=True):
        assert replace(every, parts=()) == replace(some, parts=())
        assert every.parts[: len(some.parts)] == some.parts


def test_no_clips_give_no_decisions() -> None:
    both = Combined([Scripted("a", []), Scripted("b", [])], ask_all=False)
    assert both.decide(torch.empty(0, 1), clip_ids=[], seed=0) == []


def test_the_evidence_is_that_of_the_part_that_settled_it() -> None:
    sure, other = (conclude(COMMANDS, shares) for shares in ([0.9, 0.1, 0, 0], [0.2, 0.8, 0, 0]))
    held = conclude(COMMANDS, [0.3, 0.3, 0.2, 0.2], hold=(Reason.SMOOTHING_TIE, "p = 1"))
    for parts, confidence in (([sure, sure], 0.9), ([sure, other], 0.8), ([sure, held], 0.3), ([held, sure], 0.3)):
        assert agreement([Part("a", parts[0]), Part("b", parts[1])]).confidence == confidence


def test_a_disagreement_is_a_rejection_that_names_both_commands() -> None:
    parts = [Part("a", conclude(COMMANDS, [1, 0, 0, 0])), Part("b", conclude(COMMANDS, [0, 0, 1, 0]))]
    decision = agreement(parts)
    assert (decision.outcome, decision.command) == (Outcome.REJECTED, None)
    assert decision.detail == "the parts accept different commands (a: go; b: right)"
    assert OUTCOME_OF[Reason.DISAGREEMENT] is Outcome.REJECTED


# On real networks


@pytest.mark.parametrize("labels", [COMMANDS, WITH_UNKNOWN])
def test_each_part_decides_as_it_does_alone_on_every_clip(labels: tuple[str, ...]) -> None:
    rejecting, voting = neural_rejection(labels), smoothing(labels)
    alone = [part.decide(clips(80), clip_ids=ids(80), seed=4) for part in (rejecting, voting)]
    together = Combined([rejecting, voting], ask_all=True).decide(clips(80), clip_ids=ids(80), seed=4)
    for decision, *each in zip(together, *alone, strict=True):
        assert [part.decision for part in decision.parts] == each
        assert [part.defense for part in decision.parts] == ["neural_rejection", "smoothing"]
    reasons = Counter(decision.reason for decision in together)
    wanted = {Reason.OK, Reason.LOW_CONFIDENCE, Reason.SMOOTHING_TIE, Reason.DISAGREEMENT}
    assert set(reasons) == wanted | ({Reason.NOT_A_COMMAND} if UNKNOWN in labels else set())


def test_in_service_the_votes_of_what_neural_rejection_turns_away_are_saved() -> None:
    parts = [neural_rejection(), smoothing()]
    every, some = (
        Combined(parts, ask_all=ask_all).decide(clips(60), clip_ids=ids(60), seed=4) for ask_all in (True, False)
    )
    assert [(d.command, d.reason) for d in every] == [(d.command, d.reason) for d in some]
    turned_away = [d for d in some if d.reason is Reason.LOW_CONFIDENCE]
    assert {len(d.parts) for d in every} == {2}
    assert {len(d.parts) for d in turned_away} == {1}
    assert {len(d.parts) for d in some if d.reason is not Reason.LOW_CONFIDENCE} == {2}


def test_the_deadline_reaches_the_vote() -> None:
    both = Combined([neural_rejection(threshold=0.0), smoothing()], ask_all=False)
    late = both.decide(clips(6), clip_ids=ids(6), seed=0, deadline=time.perf_counter() - 1)
    assert {decision.reason for decision in late} == {Reason.DEADLINE}
    in_time = both.decide(clips(6), clip_ids=ids(6), seed=0, deadline=time.perf_counter() + 600)
    assert Reason.DEADLINE not in {decision.reason for decision in in_time}


@pytest.mark.parametrize("name", ["opus", "low_pass.neural_rejection", "quantisation.low_pass.smoothing"])
def test_a_purified_defense_decides_on_what_the_purifiers_leave(name: str) -> None:
    steps = steps_of(name)
    purifiers = {step: purifier(step) for step in steps.purifiers}
    bare = singles()[steps.rejectors[0] if steps.rejectors else DefenseName.NONE]
    heard = clips(12)
    for step in name.split("."):
        heard = purifiers[step](heard) if step in purifiers else heard
    expected = bare.decide(heard, clip_ids=ids(12), seed=2)
    found = assemble(steps, singles=singles(), purifiers=purifiers, ask_all=True)
    decisions = found.decide(clips(12), clip_ids=ids(12), seed=2)
    assert found.name == name
    assert [replace(d, certificate=None) for d in decisions] == [replace(d, certificate=None) for d in expected]
    assert decisions != bare.decide(clips(12), clip_ids=ids(12), seed=2)  # the purifiers do something


def test_the_order_of_the_purifiers_counts() -> None:
    low, coarse = purifier("low_pass"), purifier("quantisation", bits=3)
    plain = Undefended(network(), COMMANDS)
    one, other = PurifiedInput([low, coarse], plain), PurifiedInput([coarse, low], plain)
    assert torch.equal(one.purify(clips(2)), coarse(low(clips(2))))
    assert not torch.equal(one.purify(clips(2)), other.purify(clips(2)))
    assert (one.name, other.name) == ("low_pass.quantisation", "quantisation.low_pass")


def test_what_is_vouched_for_is_said_of_the_purified_clip_and_has_no_radius() -> None:
    certificate = Certificate(defense="smoothing", sigma=0.1, p_value=0.0, radius_l2=0.3)
    decision = conclude(COMMANDS, [1, 0, 0, 0], certificate=certificate)
    coarse = purifier("quantisation", bits=16)
    alone = PurifiedInput([coarse], Scripted("smoothing", [decision]))
    (found,) = alone.decide(torch.zeros(1, 1), clip_ids=["clip 0"], seed=0)
    assert found.certificate == Certificate(defense="quantisation.smoothing", sigma=0.1, p_value=0.0)
    both = Combined([Scripted("neural_rejection", [decision]), Scripted("smoothing", [decision])], ask_all=True)
    (found,) = PurifiedInput([coarse], both).decide(torch.zeros(1, 1), clip_ids=["clip 0"], seed=0)
    for part in found.parts:
        assert part.decision.certificate == Certificate(defense="quantisation.smoothing", sigma=0.1, p_value=0.0)


@pytest.mark.parametrize(
    "name",
    ["none", "smoothing", "neural_rejection.smoothing", "opus", "opus.low_pass", "opus.neural_rejection.smoothing"],
)
def test_a_defense_has_the_name_it_was_made_by(name: str) -> None:
    purifiers = {step: purifier(step) for step in ("opus", "low_pass")}
    assert assemble(steps_of(name), singles=singles(), purifiers=purifiers, ask_all=True).name == name


@pytest.mark.parametrize("name", ["opus", "low_pass.smoothing", "quantisation"])
def test_a_purifier_that_fails_decides_nothing(name: str) -> None:
    purifiers = {step: purifier(step) for step in steps_of(name).purifiers}
    defense = assemble(steps_of(name), singles=singles(), purifiers=purifiers, ask_all=True)
    broken = clips(3).clone()
    broken[1, 7] = float("nan")
    with pytest.raises(PurificationError, match=f"{steps_of(name).purifiers[0]} failed"):
        defense.decide(broken, clip_ids=ids(3), seed=0)
