"""Whoever joins when: every clip is decided as it is alone, leaves when settled, and spoils nothing for others."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace

import pytest
import tiny_defenses as tiny
import torch

from recognizer.combined import Combined, assemble
from recognizer.decision import Decision, Reason
from recognizer.defense import Defense, NetworkError, Undefended
from recognizer.hearing import AtOnce, Case, each, heard_out
from recognizer.purification import purifier
from recognizer.smoothing import BankVoting, RandomizedSmoothing, VoteTest
from recognizer.steps import steps_of

CLIPS = 24


def voting(test: VoteTest = VoteTest.SEQUENTIAL, draws: int = 200) -> RandomizedSmoothing:
    heard = tiny.spread(tiny.network(seed=5))
    return RandomizedSmoothing(heard, tiny.COMMANDS, sigma=0.02, error_alpha=0.01, draws=draws, test=test)


def with_a_bank() -> RandomizedSmoothing:
    heard = tiny.spread(tiny.network(seed=5))
    bank = BankVoting(heard, sigma=0.02, samples=tiny.SAMPLES, seed=1, rows=32)
    return RandomizedSmoothing(
        heard, tiny.COMMANDS, sigma=0.02, error_alpha=0.01, draws=120, test=VoteTest.SEQUENTIAL, voting=bank
    )


def purified() -> Defense:
    name = "quantisation.neural_rejection.smoothing"
    return assemble(
        steps_of(name), singles=tiny.singles(), purifiers={"quantisation": purifier("quantisation")}, ask_all=False
    )


DEFENSES: dict[str, Callable[[], Defense]] = {
    "none": lambda: Undefended(tiny.spread(tiny.network(seed=5)), tiny.COMMANDS),
    "neural_rejection": tiny.neural_rejection,
    "fixed": lambda: voting(VoteTest.FIXED, draws=50),
    "sequential": voting,
    "bank": with_a_bank,
    "combined": lambda: Combined([tiny.neural_rejection(), voting()], ask_all=False),
    "combined, all asked": lambda: Combined([tiny.neural_rejection(), voting()], ask_all=True),
    "purified": purified,
}


def cases(deadline: float | None = None) -> list[Case]:
    return [Case(x, name, 4, deadline) for x, name in zip(tiny.clips(CLIPS), tiny.ids(CLIPS), strict=True)]


def close(a: Decision, b: Decision) -> bool:
    """Equal but for the last digits, which a network's batch may change."""
    return replace(a, confidence=None, top=(), parts=(), detail="") == replace(
        b, confidence=None, top=(), parts=(), detail=""
    ) and a.confidence == pytest.approx(b.confidence, rel=1e-5)


@pytest.mark.parametrize("name", DEFENSES)
def test_clips_that_come_a_few_at_a_time_are_decided_as_all_at_once(name: str) -> None:
    defense = DEFENSES[name]()
    expected = defense.decide(tiny.clips(CLIPS), clip_ids=tiny.ids(CLIPS), seed=4)
    hearing, found = defense.hearing(), {}
    waiting = cases()
    for joining in (1, 3, 0, 2, 0, 0, 7, 11):
        hearing.join(waiting[:joining])
        waiting = waiting[joining:]
        found.update({case.clip_id: verdict for case, verdict in hearing.step()})
    while not hearing.is_idle:
        found.update({case.clip_id: verdict for case, verdict in hearing.step()})
    assert set(found) == set(tiny.ids(CLIPS))
    for clip_id, decision in zip(tiny.ids(CLIPS), expected, strict=True):
        verdict = found[clip_id]
        assert isinstance(verdict, Decision)
        assert close(verdict, decision)
    assert len({decision.command for decision in expected}) > 2
    assert hearing.is_idle
    assert hearing.step() == []


def test_each_has_the_noise_of_its_own_seed() -> None:
    defense = voting(VoteTest.FIXED, draws=50)
    mixed = [replace(case, seed=seed) for seed, case in enumerate(cases())]
    found = heard_out(defense.hearing(), mixed)
    for case, decision in zip(mixed, found, strict=True):
        (alone,) = defense.decide(case.waveform[None], clip_ids=[case.clip_id], seed=case.seed)
        assert decision == alone
    assert found != heard_out(defense.hearing(), cases())


def test_a_settled_clip_leaves_while_another_is_still_drawn_for() -> None:
    defense = voting(draws=4000)
    first = {
        c.clip_id: d.certificate.draws for c in cases() for d in heard_out(defense.hearing(), [c]) if d.certificate
    }
    slow = max(first, key=lambda clip_id: first[clip_id] or 0)
    quick = min(first, key=lambda clip_id: first[clip_id] or 0)
    some = {case.clip_id: case for case in cases()}
    hearing = defense.hearing()
    hearing.join([some[slow]])
    hearing.step()
    hearing.join([some[quick]])  # after the slow one, and out before it
    left: list[str] = []
    steps = 0
    while not left:
        left += [case.clip_id for case, _ in hearing.step()]
        steps += 1
    assert left == [quick]
    assert steps <= -(-(first[quick] or 0) // 16)
    assert not hearing.is_idle


@pytest.mark.parametrize("name", DEFENSES)
def test_a_clip_that_breaks_the_network_fails_alone(name: str) -> None:
    defense = DEFENSES[name]()
    expected = defense.decide(tiny.clips(CLIPS), clip_ids=tiny.ids(CLIPS), seed=4)
    heard = cases()
    poisoned = [1, 17]
    for place in poisoned:
        heard[place] = replace(heard[place], waveform=torch.full((tiny.SAMPLES,), torch.nan))
    hearing, found = defense.hearing(), {}
    hearing.join(heard)
    while not hearing.is_idle:
        found.update(hearing.step())
    for place, (case, decision) in enumerate(zip(heard, expected, strict=True)):
        verdict = found[case]
        if place in poisoned:
            assert isinstance(verdict, NetworkError)
        else:
            assert isinstance(verdict, Decision)
            assert close(verdict, decision)


@pytest.mark.parametrize("name", ["fixed", "sequential", "bank", "combined"])
def test_past_its_deadline_a_clip_leaves_undecided_and_its_neighbour_goes_on(name: str) -> None:
    hearing = DEFENSES[name]().hearing()
    late, calm = cases(time.perf_counter() - 1)[:12], cases()[12:]
    hearing.join([*late, *calm])
    found = {}
    while not hearing.is_idle:
        found.update({case.clip_id: verdict for case, verdict in hearing.step()})
    reasons = {case.clip_id: getattr(found[case.clip_id], "reason", None) for case in (*late, *calm)}
    assert {reasons[case.clip_id] for case in late} <= {Reason.DEADLINE, Reason.LOW_CONFIDENCE}
    assert Reason.DEADLINE in {reasons[case.clip_id] for case in late}
    assert Reason.DEADLINE not in {reasons[case.clip_id] for case in calm}


def test_the_same_clip_twice_is_two() -> None:
    case = cases()[0]
    twin = replace(case)
    assert case != twin
    assert len(heard_out(voting().hearing(), [case, twin])) == 2


def test_what_fails_together_and_alone_is_laid_to_each() -> None:
    def work(items: list[int]) -> list[int]:
        if 3 in items:
            raise ValueError(f"{items} has a 3")
        return [10 * item for item in items]

    found = each(work, [1, 3, 2])  # type: ignore[arg-type]
    assert (found[0], found[2]) == (10, 20)
    assert str(found[1]) == "[3] has a 3"
    assert each(work, []) == []  # type: ignore[arg-type]


def test_a_hearing_whose_defense_fails_has_let_its_cases_go() -> None:
    def fail(_: object) -> list[Decision]:
        raise NetworkError("no")

    hearing = AtOnce(fail)
    with pytest.raises(NetworkError, match="no"):
        heard_out(hearing, cases()[:2])
    assert hearing.is_idle
