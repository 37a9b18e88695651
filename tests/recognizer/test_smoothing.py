"""Randomized smoothing against scipy's exact test, Cohen et al. as printed, and classifiers solved by hand."""

from __future__ import annotations

import math
import multiprocessing
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from random import Random

import numpy as np
import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from scipy import stats
from torch import Tensor, nn

from recognizer.decision import UNKNOWN, Decision, Reason
from recognizer.defense import NetworkError
from recognizer.network import M5, Architecture
from recognizer.smoothing import (
    InfeasibleSmoothing,
    RandomizedSmoothing,
    check_settings,
    lower_bound,
    noise,
    p_value,
)

LABELS = ("go", "left", "right")
COUNTS = st.lists(st.integers(0, 2000), min_size=2, max_size=6).filter(any)


class HalfSpace(nn.Module):
    """Label 1 where the first sample exceeds `at`, else label 0: under noise p_A = Phi(distance / sigma) exactly."""

    def __init__(self, at: float, labels: int = 2) -> None:
        super().__init__()
        self.at = nn.Parameter(torch.tensor(at))
        self.labels = labels
        self.heard: list[Tensor] = []

    def forward(self, waveforms: Tensor) -> Tensor:
        self.heard.append(waveforms.clone())
        logits = torch.full((len(waveforms), self.labels), -9.0)
        logits[:, 1] = waveforms[:, 0] - self.at
        logits[:, 0] = self.at - waveforms[:, 0]
        return logits


def smoothed(network: nn.Module, labels: tuple[str, ...] = LABELS, **settings: float) -> RandomizedSmoothing:
    return RandomizedSmoothing(network, labels, **settings)  # type: ignore[arg-type]


def conclude_from(counts: list[int], error_alpha: float) -> Decision:
    """The decision on a clip whose votes are these, in this order."""
    votes = iter(np.repeat(np.arange(len(counts)), counts))

    class Scripted(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.unused = nn.Parameter(torch.zeros(1))

        def forward(self, waveforms: Tensor) -> Tensor:
            chosen = torch.tensor([int(next(votes)) for _ in waveforms])
            return nn.functional.one_hot(chosen, len(counts)).float()

    labels = tuple(f"command {k}" for k in range(len(counts)))
    smoothing = smoothed(Scripted(), labels, sigma=0.1, error_alpha=error_alpha, draws=sum(counts))
    return smoothing.decide(torch.zeros(1, 4), clip_ids=["clip"], seed=0)[0]


@pytest.fixture(scope="module")
def network() -> M5:
    """Untrained, its logits centred, so that noise changes its mind."""
    torch.manual_seed(3)
    network = M5(Architecture(labels=3, width=4, last_width=6, stride=1)).eval()
    with torch.inference_mode():
        network.head.bias -= network(0.1 * torch.randn(200, 600)).mean(dim=0)
    return network


@pytest.fixture(scope="module")
def waveforms() -> Tensor:
    return 0.1 * torch.randn(6, 600, generator=torch.Generator().manual_seed(0))


# The test of the top two counts


@given(COUNTS)
@example([0, 1])
@example([2000, 0])
@example([2000, 1999])
def test_p_value_is_scipys_binomial_test_of_the_two_largest_counts(counts: list[int]) -> None:
    second, first = sorted(counts)[-2:]
    expected = stats.binomtest(first, first + second, 0.5).pvalue
    assert float(p_value(np.array(counts))) == pytest.approx(expected, rel=1e-9)


@given(st.lists(st.lists(st.integers(0, 50), min_size=3, max_size=3).filter(any), min_size=1, max_size=8))
def test_p_values_of_a_table_are_those_of_its_rows(table: list[list[int]]) -> None:
    together = p_value(np.array(table))
    assert together.shape == (len(table),)
    assert together.tolist() == [float(p_value(np.array(row))) for row in table]


@given(COUNTS, st.randoms())
def test_p_value_ignores_which_label_is_which(counts: list[int], random: Random) -> None:
    shuffled = random.sample(counts, len(counts))
    assert float(p_value(np.array(counts))) == float(p_value(np.array(shuffled)))


@given(st.integers(1, 500), st.integers(0, 3))
def test_a_tie_has_p_1(votes: int, others: int) -> None:
    assert float(p_value(np.array([votes, votes, *[votes // 2] * others]))) == 1.0


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


# Settings


@pytest.mark.parametrize(("draws", "error_alpha"), [(10, 0.001), (1, 0.5), (9, 2**-8.5), (50, 1e-16)])
def test_refuses_an_error_alpha_that_can_never_be_reached(draws: int, error_alpha: float) -> None:
    sentence = f"with {draws} draws even a unanimous vote has p = 2\\^\\(1-{draws}\\) > error_alpha"
    with pytest.raises(InfeasibleSmoothing, match=sentence) as refused:
        check_settings(sigma=0.1, error_alpha=error_alpha, draws=draws)
    needed = int(str(refused.value).split("at least ")[1].split()[0])
    check_settings(sigma=0.1, error_alpha=error_alpha, draws=needed)
    with pytest.raises(InfeasibleSmoothing):
        check_settings(sigma=0.1, error_alpha=error_alpha, draws=needed - 1)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"sigma": 0.0}, "sigma is 0.0"),
        ({"sigma": -1.0}, "sigma is -1.0"),
        ({"sigma": math.nan}, "sigma is nan"),
        ({"draws": 0}, "0 draws"),
        ({"error_alpha": 0.0}, "error_alpha is 0.0"),
        ({"error_alpha": 1.1}, "error_alpha is 1.1"),
        ({"error_alpha": math.nan}, "error_alpha is nan"),
    ],
)
def test_refuses_settings_that_mean_nothing(settings: dict[str, float], words: str) -> None:
    with pytest.raises(InfeasibleSmoothing, match=words):
        smoothed(HalfSpace(0.0), **{"sigma": 0.1, "error_alpha": 0.01, "draws": 100, **settings})


# Noise


def stream(seed: int = 0, clip_id: str = "clip", first: int = 0, draws: int = 20) -> NDArray[np.float32]:
    return noise(seed, clip_id, first, draws, 5000)


def test_noise_is_standard_normal() -> None:
    values = stream().ravel()
    assert stats.kstest(values, "norm").pvalue > 1e-3
    per_draw = [stats.kstest(row, "norm").pvalue for row in stream()]
    assert stats.kstest(per_draw, "uniform").pvalue > 1e-3  # each draw by itself too
    assert np.abs(values).max() > 4  # its tails are there


@given(st.integers(0, 40), st.integers(1, 9))
def test_a_draw_is_the_same_whatever_the_batch_it_comes_in(first: int, draws: int) -> None:
    whole = noise(1, "clip", 0, 50, 30)
    np.testing.assert_array_equal(noise(1, "clip", first, draws, 30), whole[first : first + draws])


@pytest.mark.parametrize("other", [{"seed": 1}, {"clip_id": "clap"}, {"clip_id": "clip "}, {"first": 20}])
def test_another_seed_clip_or_draw_gives_unrelated_noise(other: dict[str, int | str]) -> None:
    one, two = stream().ravel(), stream(**other).ravel()  # type: ignore[arg-type]
    assert stats.pearsonr(one, two).pvalue > 1e-3
    windows = sliding_window_view(one, 4)[:, None]  # nor the same numbers at another place
    assert not (windows == two[:40].reshape(1, 10, 4)).all(axis=2).any()


def test_the_seed_and_the_clip_are_not_run_together() -> None:
    assert not np.array_equal(noise(1, "1clip", 0, 1, 8), noise(11, "clip", 0, 1, 8))


def test_draws_of_one_clip_are_uncorrelated() -> None:
    correlations = np.corrcoef(stream(draws=40))[np.triu_indices(40, 1)]
    assert stats.kstest(correlations * math.sqrt(5000), "norm").pvalue > 1e-3


def test_noise_is_the_same_from_many_threads_at_once() -> None:
    expected = [stream(clip_id=str(i)) for i in range(8)]
    with ThreadPoolExecutor(4) as pool:
        for got, wanted in zip(pool.map(lambda i: stream(clip_id=str(i)), range(8)), expected, strict=True):
            np.testing.assert_array_equal(got, wanted)


@pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="this system does not fork")
def test_a_process_forked_after_the_first_draw_draws_the_same() -> None:
    expected = stream()
    time.sleep(0.1)  # until the drawing threads are idle: a child would then wait for threads it does not have
    with multiprocessing.get_context("fork").Pool(1) as child:
        np.testing.assert_array_equal(child.apply_async(stream).get(timeout=20), expected)


def test_noise_takes_and_leaves_no_global_state() -> None:
    before, torch_before = np.random.get_state()[1].copy(), torch.get_rng_state()  # noqa: NPY002
    expected = stream()
    np.testing.assert_array_equal(np.random.get_state()[1], before)  # noqa: NPY002
    assert torch.equal(torch.get_rng_state(), torch_before)
    np.random.seed(5)  # noqa: NPY002
    np.testing.assert_array_equal(stream(), expected)


def test_noise_is_never_clipped() -> None:
    network = HalfSpace(0.0)
    smoothed(network, ("a", "b"), sigma=2.0, draws=50).decide(torch.ones(1, 1000), clip_ids=["clip"], seed=0)
    (heard,) = network.heard
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
        draws = (torch.from_numpy(noise(4, clip_id, i, 1, 600)[0]) for i in range(25))
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
    with pytest.raises(ValueError, match="zip"):
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


# Certify


@given(st.integers(1, 3000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))), st.floats(1e-6, 0.4))
def test_lower_bound_is_scipys_clopper_pearson_interval(votes: tuple[int, int], error_alpha: float) -> None:
    successes, draws = votes
    interval = stats.binomtest(successes, draws).proportion_ci(1 - 2 * error_alpha, method="exact")
    assert lower_bound(successes, draws, error_alpha) == pytest.approx(interval.low, rel=1e-6, abs=1e-12)


@pytest.mark.parametrize(("successes", "draws"), [(1, 20), (60, 100), (100, 100), (990, 1000)])
def test_at_the_lower_bound_so_many_votes_have_probability_error_alpha(successes: int, draws: int) -> None:
    bound = lower_bound(successes, draws, 0.01)
    assert stats.binom.sf(successes - 1, draws, bound) == pytest.approx(0.01)


def test_certifies_nothing_beyond_the_true_distance_to_the_boundary() -> None:
    """The half-space's smoothed radius is the distance itself; no certificate may pass it but with error_alpha."""
    network = HalfSpace(0.0)
    smoothing = smoothed(network, ("left", "right"), sigma=0.5, error_alpha=0.05)
    distance = 0.4
    clip = torch.tensor([distance, 0.0])
    certified = [
        smoothing.certify(clip, clip_id="clip", seed=seed, selection_draws=20, draws=300) for seed in range(200)
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
    network = HalfSpace(0.0)
    smoothed(network, ("left", "right"), sigma=1.0).certify(
        torch.zeros(3), clip_id="clip", seed=0, selection_draws=30, draws=250
    )
    heard = torch.cat(network.heard).numpy()
    assert heard.shape == (280, 3)
    assert len(np.unique(heard, axis=0)) == 280
    np.testing.assert_array_equal(heard, noise(0, "clip", 0, 280, 3))
