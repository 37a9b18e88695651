"""Randomized smoothing against Cohen et al. as printed, and classifiers solved by hand."""

from __future__ import annotations

import ast
import math
import multiprocessing
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy import stats
from torch import Tensor, nn
from votes_cast import Cast, HalfSpace

from recognizer.decision import UNKNOWN, Decision, Reason
from recognizer.defense import NetworkError
from recognizer.network import M5
from recognizer.smoothing import InfeasibleSmoothing, RandomizedSmoothing, VoteTest, noise, p_value
from recognizer.smoothing.noise import BLOCK
from recognizer.smoothing.voting import Block

LABELS = ("go", "left", "right")


def smoothed(network: nn.Module, labels: tuple[str, ...] = LABELS, **settings: object) -> RandomizedSmoothing:
    return RandomizedSmoothing(network, labels, **settings)  # type: ignore[arg-type]


def conclude_from(counts: list[int], error_alpha: float) -> Decision:
    """The decision on a clip whose votes are these, in this order."""
    labels = tuple(f"command {k}" for k in range(len(counts)))
    cast = Cast([np.repeat(np.arange(len(counts)), counts)])
    smoothing = smoothed(HalfSpace(0.0), labels, sigma=0.1, error_alpha=error_alpha, draws=sum(counts), voting=cast)
    return smoothing.decide(torch.zeros(1, 4), clip_ids=["clip"], seed=0)[0]


@pytest.mark.parametrize("counts", [[50, 50, 0], [0, 50, 50], [34, 34, 32]])
def test_a_tie_abstains(counts: list[int]) -> None:
    decision = conclude_from(counts, error_alpha=0.999)
    assert (decision.command, decision.reason) == (None, Reason.SMOOTHING_TIE)


@pytest.mark.parametrize(("a", "b"), [(9, 1), (60, 40), (75, 25), (500, 400)])
def test_p_equal_to_error_alpha_accepts_and_a_hair_less_abstains(a: int, b: int) -> None:
    p = float(p_value(np.array([a, b])))
    assert p == pytest.approx(stats.binomtest(a, a + b, 0.5).pvalue, rel=1e-9)
    assert conclude_from([a, b], error_alpha=p).command == "command 0"
    assert conclude_from([a, b], error_alpha=p * (1 - 1e-12)).reason is Reason.SMOOTHING_TIE


@pytest.mark.parametrize("draws", [2, 8, 10, 11, 30, 64, 100, 1000])
def test_a_unanimous_vote_is_accepted_at_the_smallest_error_alpha_that_is_feasible(draws: int) -> None:
    assert conclude_from([0, draws], error_alpha=2.0 ** (1 - draws)).command == "command 1"


def test_the_decision_tells_its_evidence() -> None:
    decision = conclude_from([20, 80, 0], error_alpha=0.01)
    assert decision.confidence == 0.8
    assert [(c.command, c.share) for c in decision.top] == [("command 1", 0.8), ("command 0", 0.2), ("command 2", 0.0)]
    certificate = decision.certificate
    assert certificate is not None
    assert (certificate.defense, certificate.sigma, certificate.error_alpha) == ("smoothing", 0.1, 0.01)
    assert (certificate.draws, certificate.radius_l2) == (100, None)
    assert certificate.p_value == pytest.approx(stats.binomtest(80, 100, 0.5).pvalue)


def test_a_clear_vote_for_unknown_is_no_command() -> None:
    smoothing = smoothed(HalfSpace(0.0), ("go", UNKNOWN), sigma=0.01, draws=50)
    decision = smoothing.decide(torch.ones(1, 4), clip_ids=["clip"], seed=0)[0]
    assert (decision.command, decision.reason) == (None, Reason.NOT_A_COMMAND)


def test_noise_is_never_clipped() -> None:
    network = HalfSpace(0.0)
    smoothed(network, ("a", "b"), sigma=2.0, draws=50).decide(torch.ones(1, 1000), clip_ids=["clip"], seed=0)
    heard = torch.cat(network.heard)
    assert stats.kstest((heard.numpy().ravel() - 1) / 2, "norm").pvalue > 1e-3
    assert heard.abs().max() > 5


# Predict


ABSTAIN = -1


def cohen_predict(network: nn.Module, x: Tensor, sigma: float, alpha: float, draws: Iterator[Tensor]) -> int:
    """Cohen et al. 2019, Predict, as it is printed: one draw at a time."""
    counts = [0, 0, 0]
    for draw in draws:
        with torch.inference_mode():
            counts[int(network((x + sigma * draw)[None]).argmax())] += 1
    c_a, c_b = sorted(range(3), key=lambda c: -counts[c])[:2]
    p = stats.binomtest(counts[c_a], counts[c_a] + counts[c_b], 0.5).pvalue
    return ABSTAIN if p > alpha else c_a


@pytest.mark.parametrize("sigma", [0.01, 0.05, 0.2])
@pytest.mark.parametrize("error_alpha", [0.001, 0.05, 0.5])
def test_decides_as_the_printed_algorithm_does(
    network: M5, waveforms: Tensor, sigma: float, error_alpha: float
) -> None:
    ids = [f"clip {i}" for i in range(len(waveforms))]
    decisions = smoothed(network, sigma=sigma, error_alpha=error_alpha, draws=25).decide(
        waveforms, clip_ids=ids, seed=4
    )
    for waveform, clip_id, decision in zip(waveforms, ids, decisions, strict=True):
        draws = (noise(4, clip_id, i, 1, 600)[0] for i in range(25))
        expected = cohen_predict(network, waveform, sigma, error_alpha, draws)
        assert decision.command == (None if expected == ABSTAIN else LABELS[expected])


def test_votes_are_the_same_whatever_the_order_and_the_part(network: M5, waveforms: Tensor) -> None:
    smoothing = smoothed(network, sigma=0.1, draws=230)
    ids = [f"clip {i}" for i in range(len(waveforms))]
    forward = smoothing.decide(waveforms, clip_ids=ids, seed=9)
    backward = smoothing.decide(waveforms.flip(0), clip_ids=ids[::-1], seed=9)
    assert forward == backward[::-1]
    assert len({d.confidence for d in forward}) > 3  # noise does change its mind
    assert forward[2:3] == smoothing.decide(waveforms[2:3], clip_ids=ids[2:3], seed=9)
    whole = smoothing.votes(waveforms[0], clip_id="clip 0", seed=9, draws=230)
    parts = [(0, 7), (7, 123), (130, 100)]  # none of them the batch inside
    summed = sum(smoothing.votes(waveforms[0], clip_id="clip 0", seed=9, draws=n, first=f) for f, n in parts)
    np.testing.assert_array_equal(whole, summed)
    assert whole.sum() == 230


def test_another_seed_gives_other_votes(network: M5, waveforms: Tensor) -> None:
    smoothing = smoothed(network, sigma=0.1, draws=100)
    votes = {tuple(smoothing.votes(waveforms[0], clip_id="clip", seed=seed, draws=100)) for seed in range(8)}
    assert len(votes) > 1


def test_accepts_the_wrong_label_no_more_often_than_error_alpha() -> None:
    """A clip at 0.05 sigma from the boundary, p_A = 0.52: the hardest case but a tie; 600 independent seeds."""
    smoothing = smoothed(HalfSpace(0.0), ("wrong", "right"), sigma=1.0, error_alpha=0.1, draws=60)
    clip = torch.full((1, 1), 0.05)
    commands = [smoothing.decide(clip, clip_ids=["clip"], seed=seed)[0].command for seed in range(600)]
    wrong = commands.count("wrong")
    assert stats.binomtest(wrong, 600, 0.1, alternative="greater").pvalue > 1e-3
    assert commands.count("right") > wrong


def test_one_clip_id_a_clip(waveforms: Tensor) -> None:
    with pytest.raises(ValueError, match="6 waveforms and 1 clip ids"):
        smoothed(HalfSpace(0.0, 3), sigma=0.1).decide(waveforms, clip_ids=["one"], seed=0)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_network_without_finite_output_decides_nothing(value: float) -> None:
    class Broken(HalfSpace):
        def forward(self, waveforms: Tensor) -> Tensor:
            logits = super().forward(waveforms)
            logits[-1, 0] = value  # of one draw, the others are fine
            return logits

    smoothing = smoothed(Broken(0.0), ("a", "b"), sigma=0.1, draws=120)
    with pytest.raises(NetworkError):
        smoothing.decide(torch.ones(1, 4), clip_ids=["clip"], seed=0)
    with pytest.raises(NetworkError):
        smoothing.certify(torch.ones(4), clip_id="clip", seed=0)


def test_certifies_nothing_beyond_the_true_distance_to_the_boundary() -> None:
    """The half-space's smoothed radius is the distance itself; no certificate may pass it but with error_alpha."""
    network = HalfSpace(0.0)
    smoothing = smoothed(network, ("left", "right"), sigma=0.5, error_alpha=0.05)
    distance = 0.4
    clip = torch.tensor([distance, 0.0])
    certified = [
        smoothing.certify(clip, clip_id="clip", seed=seed, selection_draws=100, draws=300) for seed in range(200)
    ]
    beyond = sum(c.radius_l2 > distance for c in certified)
    assert stats.binomtest(beyond, 200, 0.05, alternative="greater").pvalue > 1e-3
    assert np.mean([c.radius_l2 for c in certified]) > 0.75 * distance
    assert {c.label for c in certified} == {1}


def test_the_radius_is_sigma_times_the_normal_quantile_of_the_bound() -> None:
    smoothing = smoothed(HalfSpace(0.0), ("left", "right"), sigma=0.25, error_alpha=0.001)
    certified = smoothing.certify(torch.ones(2), clip_id="clip", seed=0, selection_draws=10, draws=1000)
    unanimous = 0.001 ** (1 / 1000)  # all 1000 draws agree: bound^1000 = error_alpha
    assert certified.p_lower == pytest.approx(unanimous)
    assert certified.radius_l2 == pytest.approx(0.25 * stats.norm.ppf(unanimous))
    assert (certified.label, certified.draws) == (1, 1010)


def test_certifies_nothing_where_the_bound_is_below_one_half() -> None:
    smoothing = smoothed(HalfSpace(0.0), ("left", "right"), sigma=1.0, error_alpha=0.001)
    certified = smoothing.certify(torch.full((2,), 0.01), clip_id="clip", seed=0)
    assert certified.p_lower < 0.5
    assert (certified.label, certified.radius_l2) == (None, 0.0)


def test_the_draws_that_estimate_are_not_those_that_selected() -> None:
    """Of 30 draws for label 1 and 250 for label 0, the first choose 1, and the others find it in none of theirs."""
    smoothing = smoothed(HalfSpace(0.0), ("left", "right"), sigma=1.0)
    smoothing.exact = Cast([[1] * 30 + [0] * 250])  # type: ignore[assignment]
    certified = smoothing.certify(torch.zeros(3), clip_id="clip", seed=0, selection_draws=30, draws=250)
    assert (certified.label, certified.p_lower, certified.draws) == (None, 0.0, 280)


# Sequentially


def test_decides_at_fixed_n_and_sequentially_alike_with_fewer_draws(network: M5, waveforms: Tensor) -> None:
    ids = [f"clip {i}" for i in range(len(waveforms))]
    fixed, early = (
        smoothed(network, sigma=0.02, error_alpha=0.01, draws=600, test=test).decide(waveforms, clip_ids=ids, seed=1)
        for test in VoteTest
    )
    assert [d.command for d in fixed] == [d.command for d in early]
    draws = [(d.certificate.draws if d.certificate else None, d.is_accepted) for d in early]
    assert any(count < 100 for count, _ in draws if count is not None)
    assert all(count == 600 for count, is_accepted in draws if not is_accepted)


def test_a_sequential_vote_is_the_same_among_others_and_alone(network: M5, waveforms: Tensor) -> None:
    smoothing = smoothed(network, sigma=0.02, error_alpha=0.01, draws=300, test=VoteTest.SEQUENTIAL)
    ids = [f"clip {i}" for i in range(len(waveforms))]
    together = smoothing.decide(waveforms, clip_ids=ids, seed=3)
    assert len({d.certificate.draws for d in together if d.certificate}) > 2
    assert smoothing.decide(waveforms.flip(0), clip_ids=ids[::-1], seed=3) == together[::-1]
    for place, decision in enumerate(together):
        assert smoothing.decide(waveforms[place][None], clip_ids=[ids[place]], seed=3) == [decision]


def test_settled_clips_ask_for_no_more_draws() -> None:
    cast = Cast([[0] * 400, [0, 1] * 200])
    smoothing = smoothed(HalfSpace(0.0), ("a", "b"), sigma=0.1, draws=400, test=VoteTest.SEQUENTIAL, voting=cast)
    clear, tied = smoothing.decide(torch.zeros(2, 4), clip_ids=["clear", "tied"], seed=0)
    asked = [sum(block.ballot.clip == clip for block in cast.asked) for clip in (0, 1)]
    assert clear.certificate is not None
    assert clear.certificate.draws is not None
    assert clear.certificate.draws <= BLOCK * asked[0] <= clear.certificate.draws + 2 * BLOCK
    assert asked[1] == 400 // BLOCK
    assert (clear.command, tied.reason) == ("a", Reason.SMOOTHING_TIE)


# The deadline


@pytest.mark.parametrize("test", list(VoteTest))
def test_a_vote_that_has_no_time_is_an_abstention(test: VoteTest) -> None:
    smoothing = smoothed(HalfSpace(0.0), ("a", "b"), sigma=0.1, draws=500, test=test)
    (decision,) = smoothing.decide(torch.ones(1, 4), clip_ids=["clip"], seed=0, deadline=time.perf_counter())
    assert (decision.command, decision.reason) == (None, Reason.DEADLINE)
    assert "0 draws" in decision.detail


def test_the_votes_so_far_are_enough_where_the_sequential_test_says_so() -> None:
    """15 draws for one label, then one against it: enough at error_alpha = 0.1, and not at the score's 0.001, for which
    the vote goes on; a fixed test must wait for its N."""

    class Slow(Cast):
        def leaders(self, blocks: Sequence[Block[Any]]) -> NDArray[np.int64]:
            time.sleep(0.05)
            return super().leaders(blocks)

    for test, reason in ((VoteTest.SEQUENTIAL, Reason.OK), (VoteTest.FIXED, Reason.DEADLINE)):
        votes = [0] * 15 + [1] + [0] * 200  # p > 0.001 within the first blocks, so that it goes on
        smoothing = smoothed(HalfSpace(0.0), ("a", "b"), sigma=0.1, error_alpha=0.1, draws=200, test=test)
        smoothing.voting = Slow([votes])
        smoothing.exact = smoothing.voting  # type: ignore[assignment]
        deadline = time.perf_counter() + 0.04
        (decision,) = smoothing.decide(torch.zeros(1, 4), clip_ids=["clip"], seed=0, deadline=deadline)
        assert decision.reason is reason


@pytest.mark.parametrize("test", list(VoteTest))
def test_nothing_is_accepted_on_no_draws_even_where_every_p_value_would_do(test: VoteTest) -> None:
    smoothing = smoothed(HalfSpace(0.0), ("a", "b"), sigma=0.1, error_alpha=1.0, draws=50, test=test)
    (decision,) = smoothing.decide(torch.ones(1, 4), clip_ids=["clip"], seed=0, deadline=time.perf_counter())
    assert decision.reason is Reason.DEADLINE


def test_certifies_nothing_at_an_error_alpha_that_bounds_nothing() -> None:
    smoothing = smoothed(HalfSpace(0.0), ("a", "b"), sigma=0.1, error_alpha=1.0, draws=50)
    with pytest.raises(InfeasibleSmoothing, match="error_alpha is 1"):
        smoothing.certify(torch.ones(4), clip_id="clip", seed=0)


def test_votes_under_another_sigma_are_refused() -> None:
    with pytest.raises(ValueError, match=r"sigma = 0.1, and sigma = 0.3"):
        smoothed(HalfSpace(0.0), ("a", "b"), sigma=0.3, voting=Cast([[0]], sigma=0.1))


def test_no_clips_give_no_decisions(network: M5) -> None:
    assert smoothed(network, sigma=0.1).decide(torch.empty(0, 600), clip_ids=[], seed=0) == []


# Whatever number of threads

PROGRAM = """
import os, sys, torch
from concurrent.futures import ThreadPoolExecutor
from threading import Thread
from recognizer.mode import Mode
from recognizer.network import M5, architecture
from recognizer.smoothing import RandomizedSmoothing, VoteTest, voting_of
from recognizer.cores import over_cores

torch.set_num_threads(int(sys.argv[1]))
torch.manual_seed(3)
network = M5(architecture("m5-small", 10)).eval()
clips = 0.4 * torch.randn(6, 8000, generator=torch.Generator().manual_seed(0))
with torch.inference_mode():
    network.head.weight *= 50
    network.head.bias -= network(0.4 * torch.randn(50, 8000)).mean(dim=0)
names = [f"clip {i}" for i in range(6)]

def smoothing(mode):
    voting = voting_of(network, mode, sigma=0.1, samples=8000, seed=1, rows=64)
    return RandomizedSmoothing(
        network,
        [str(k) for k in range(10)],
        sigma=0.1,
        error_alpha=0.05,
        draws=200,
        test=VoteTest.SEQUENTIAL,
        voting=voting,
    )

def said(which):
    decisions = which.decide(clips, clip_ids=names, seed=1)
    return [(d.command, d.certificate.draws, d.certificate.p_value, d.confidence) for d in decisions]
"""


def run_program(body: str, threads: int) -> str:
    command = [sys.executable, "-c", PROGRAM + body, str(threads)]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=200).stdout


def test_decisions_are_the_same_whatever_the_number_of_threads_and_callers() -> None:
    """Exact votes and a bank's; from one caller, and from several at once while banks are replaced by their like."""
    body = """
for mode in Mode:
    which = smoothing(mode)
    expected = said(which)
    with ThreadPoolExecutor(4) as callers:
        renewing = Thread(target=which.voting.renew, args=(1,)) if mode is Mode.FAST else None
        if renewing:
            renewing.start()
        assert list(callers.map(said, [which] * 8)) == [expected] * 8
        if renewing:
            renewing.join()
    print(expected)
assert torch.get_num_threads() == int(sys.argv[1])
assert over_cores(lambda _: torch.get_num_threads(), range(9)) == [1] * 9
"""
    outputs = {threads: run_program(body, threads).splitlines() for threads in (1, 2, 3)}
    assert outputs[1] == outputs[2] == outputs[3]
    exact, fast = (ast.literal_eval(line) for line in outputs[1])
    assert len({draws for _, draws, _, _ in exact}) > 2
    assert exact != fast


@pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="this system does not fork")
def test_a_process_forked_after_the_first_decision_decides_the_same() -> None:
    body = """
for mode in Mode:
    which = smoothing(mode)
    expected = said(which)
    child = os.fork()
    if child == 0:
        os._exit(0 if said(which) == expected else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
print("same")
"""
    assert run_program(body, 3) == "same\n"
