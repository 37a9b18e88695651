"""Paired differences against scipy and slow loops, and the words that are made of them."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from monitoring.comparison.compare import overall_verdict, verdict_of
from monitoring.comparison.paired import EXACT, paired_mean, sign_flip_p
from monitoring.comparison.result import Difference


def test_with_one_clip_a_speaker_the_interval_is_the_paired_t_test() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.uniform(size=40), rng.uniform(size=40)
    found = paired_mean(np.ones(40, np.int64), b - a, confidence=0.9)
    wanted = stats.ttest_rel(b, a).confidence_interval(0.9)
    assert found.mean - found.half == pytest.approx(wanted.low)
    assert found.mean + found.half == pytest.approx(wanted.high)


def test_several_intervals_together_are_bonferronis() -> None:
    d = np.random.default_rng(1).uniform(-1, 1, 30)
    four = paired_mean(np.ones(30, np.int64), d, confidence=0.96, intervals_claimed=4)
    one = paired_mean(np.ones(30, np.int64), d, confidence=0.99)
    assert (four.half, four.unseen) == (pytest.approx(one.half), pytest.approx(one.unseen))
    assert one.unseen == pytest.approx(np.log(100) / 30)  # the rule of three, at 99 %


def test_speakers_who_all_change_alike_still_leave_room_for_the_unseen() -> None:
    found = paired_mean(np.full(25, 4), np.full(25, 2.0), confidence=0.95)
    assert found.mean == 0.5
    assert found.half > 0.1


def test_the_variance_is_that_of_a_bootstrap_over_speakers() -> None:
    rng = np.random.default_rng(2)
    clips = rng.integers(1, 9, 200)
    d = rng.uniform(-1, 1, 200) * clips
    found = paired_mean(clips, d, confidence=0.95)
    drawn = rng.integers(200, size=(20_000, 200))
    sd = (d[drawn].sum(1) / clips[drawn].sum(1)).std()
    assert found.half == pytest.approx(stats.t.ppf(0.975, 199) * sd, rel=0.03)


def test_the_p_value_of_few_speakers_is_scipys_exact_one() -> None:
    d = np.random.default_rng(3).normal(0.4, 1, 9)
    wanted = stats.permutation_test((d,), np.sum, permutation_type="samples", n_resamples=np.inf)
    assert sign_flip_p(d, permutations=100, seed=0) == pytest.approx(wanted.pvalue)


def test_speakers_who_do_not_differ_change_no_exact_p_value() -> None:
    d = np.array([1.0, 2.0, -0.5, 1.5])
    every = [abs(np.dot(signs, d)) for signs in product((-1, 1), repeat=4)]
    slow = np.mean(np.array(every) >= abs(d.sum()))
    assert sign_flip_p(np.append(d, np.zeros(50)), permutations=100, seed=0) == slow
    assert sign_flip_p(np.zeros(50), permutations=100, seed=0) == 1.0


@pytest.mark.parametrize("kind", ["counts", "continuous"])
def test_the_p_value_of_many_speakers_is_that_of_signs_drawn_one_by_one(kind: str) -> None:
    rng = np.random.default_rng(4)
    d = rng.choice([-2.0, -1, -1, 0, 1, 1, 2, 2], 60) if kind == "counts" else rng.normal(0.2, 1, 60)
    slow = np.mean(np.abs(rng.choice([-1, 1], size=(200_000, 60)) @ d) >= abs(d.sum()) - 1e-9)
    assert 0.001 < slow < 0.5
    assert (d != 0).sum() > EXACT
    assert sign_flip_p(d, permutations=40_000, seed=1) == pytest.approx(slow, abs=0.01)


def test_p_values_are_uniform_where_nothing_differs() -> None:
    """2,000 comparisons of bundles that differ by chance: 5 % are found at 5 %, within the noise of so many."""
    rng = np.random.default_rng(5)
    p = [sign_flip_p(rng.normal(0, rng.uniform(size=25)), permutations=199, seed=i) for i in range(2000)]
    assert np.mean(np.array(p) <= 0.05) < 0.05 + 3 * np.sqrt(0.05 * 0.95 / 2000)
    assert np.mean(np.array(p) <= 0.05) > 0.03


def test_an_interval_covers_the_true_difference() -> None:
    """1,000 comparisons, 40 speakers of 3 to 8 clips, B right on 10 % more of them."""
    rng, covered = np.random.default_rng(6), 0
    for _ in range(1000):
        clips = rng.integers(3, 9, 40)
        own = rng.beta(4, 1.5, 40)  # speakers differ, and both bundles with them
        a, b = rng.binomial(clips, 0.8 * own), rng.binomial(clips, 0.9 * own)
        found = paired_mean(clips, (b - a).astype(float), confidence=0.95)
        covered += abs(found.mean - 0.1 * 4 / 5.5) <= found.half
    assert 0.93 <= covered / 1000 <= 0.975


@given(least=st.floats(-1, 1), width=st.floats(0, 1), tolerance=st.floats(0, 0.2), changed=st.integers(1, 5))
def test_words_say_what_the_bounds_do(least: float, width: float, tolerance: float, changed: int) -> None:
    most = least + width
    said = verdict_of(least, most, tolerance, changed=changed)
    assert (said is Difference.WORSE) == (least > tolerance)
    assert (said in (Difference.BETTER, Difference.NOT_WORSE)) == (most <= tolerance and least <= tolerance)
    assert (said is Difference.BETTER) == (most < -tolerance)
    assert verdict_of(least, most, tolerance, changed=0) is Difference.SAME


@pytest.mark.parametrize(
    ("verdicts", "wanted"),
    [
        (["same", "insufficient"], "no difference"),
        (["not_worse", "better", "same"], "no difference"),
        (["better", "inconclusive"], "inconclusive"),
        (["inconclusive", "worse", "better"], "worse"),
        (["insufficient"], "inconclusive"),
        ([], "inconclusive"),
    ],
)
def test_the_whole_is_the_worst_of_its_parts(verdicts: list[str], wanted: str) -> None:
    assert overall_verdict([Difference(v) for v in verdicts]) == wanted
