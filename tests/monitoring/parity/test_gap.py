"""Gaps against slow loops, closed forms, scipy, and simulated corpora whose truth is known."""

from dataclasses import replace
from math import isnan, log, sqrt
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from simulated_speakers import (
    all_or_nothing,
    beta,
    moments_by_loop,
    most_of,
    rejected,
    simulate,
    sometimes_always,
    table_of,
    uneven_table,
)

from monitoring.parity import SpeakerTable, Verdict, gap, group_means
from recognizer.groups import UNDECLARED

# Verdicts and groups


def test_undeclared_is_never_part_of_a_gap() -> None:
    rng = np.random.default_rng(6)
    declared = {"x": rng.beta(2, 4, 30), "y": rng.beta(2, 4, 30)}
    without = gap(table_of(**declared), tolerance=0.05, seed=1)
    with_undeclared = gap(table_of(**declared, undeclared=np.ones(50)), tolerance=0.05, seed=1)
    assert UNDECLARED == "undeclared"
    assert with_undeclared == without


def test_small_groups_are_listed_and_count_only_in_the_papers_parity() -> None:
    rng = np.random.default_rng(7)
    large = {"x": rng.beta(2, 4, 30), "y": rng.beta(2, 4, 30)}
    result = gap(table_of(**large, tiny=np.ones(3), small=np.full(19, 0.5)), tolerance=0.05, seed=1)
    assert result.compared == ("x", "y")
    assert result.too_small == ("small", "tiny")
    means = {name: values.mean() for name, values in large.items()}
    assert result.value == pytest.approx(1.0 - min(means.values()))
    assert result.value_compared == pytest.approx(max(means.values()) - min(means.values()))
    assert (result.lowest, result.highest) == tuple(sorted(means, key=lambda name: means[name]))
    assert result.lower <= result.value_compared <= result.upper < result.value


def test_one_large_group_is_insufficient_and_has_no_bounds() -> None:
    result = gap(table_of(x=np.linspace(0, 1, 30), y=np.ones(3)), tolerance=0.05, seed=1)
    assert result.verdict is Verdict.INSUFFICIENT
    assert (result.compared, result.too_small) == (("x",), ("y",))
    assert result.value == pytest.approx(0.5)
    assert isnan(result.lower)
    assert isnan(result.upper)
    assert isnan(result.value_compared)
    assert result.highest is None


def test_one_group_has_no_gap() -> None:
    assert isnan(gap(table_of(x=np.linspace(0, 1, 30), undeclared=np.ones(30)), tolerance=0.05, seed=1).value)


def test_the_verdict_follows_the_bounds() -> None:
    rng = np.random.default_rng(8)
    table = table_of(x=rng.beta(20, 80, 100), y=rng.beta(30, 70, 100))
    found = gap(table, tolerance=0.0, seed=1)
    assert 0.0 < found.lower < 0.1 < found.upper < 0.2
    assert found.verdict is Verdict.DISPARITY
    assert gap(table, tolerance=found.lower, seed=1).verdict is Verdict.INCONCLUSIVE
    assert gap(table, tolerance=found.upper, seed=1).verdict is Verdict.EQUIVALENT


@pytest.mark.parametrize(
    ("argument", "value"),
    [
        ("min_speakers", 9),
        ("tolerance", -0.1),
        ("tolerance", float("nan")),
        ("confidence", 1.0),
        ("replicates", 99),
    ],
)
def test_an_argument_outside_its_range_is_refused(argument: str, value: float) -> None:
    arguments: dict[str, Any] = {"tolerance": 0.05, "seed": 1, argument: value}
    with pytest.raises(ValueError, match=argument):
        gap(table_of(x=np.zeros(30), y=np.zeros(30)), **arguments)


# The interval


def test_the_interval_is_the_bootstrap_t_written_as_loops() -> None:
    rng = np.random.default_rng(10)
    table = uneven_table(9, a=10, b=12, c=14)
    two_kinds_of_speakers = rng.permutation(np.tile([0.05, 0.95], 18))
    table = replace(table, score=table.clips * two_kinds_of_speakers)
    names = ["a", "b", "c"]
    pairs = [("a", "b"), ("a", "c"), ("b", "c")]
    mu, v = ({name: moments_by_loop(table, name)[k] for name in names} for k in (0, 1))
    T = []
    for _ in range(4000):
        rows = [rng.choice(np.flatnonzero(table.group == name), (table.group == name).sum()) for name in names]
        chosen = np.concatenate(rows)
        copies = SpeakerTable(
            speaker=np.arange(chosen.size).astype(str),
            group=table.group[chosen],
            clips=table.clips[chosen],
            score=table.score[chosen],
        )
        star = {mean.group: mean for mean in group_means(copies)}
        T.append(
            max(
                abs((star[a].mean - star[c].mean) - (mu[a] - mu[c])) / sqrt(star[a].variance + star[c].variance)
                for a, c in pairs
            )
        )
    quantile = float(np.quantile(T, 0.95))
    lower = upper = 0.0
    for a, c in pairs:
        low, high = (mu[a] - mu[c] + sign * quantile * sqrt(v[a] + v[c]) for sign in (-1, 1))
        lower, upper = max(lower, low, -high), max(upper, abs(low), abs(high))
    result = gap(table, tolerance=0.0, min_speakers=10, replicates=20_000, seed=11)
    assert result.upper == pytest.approx(upper, rel=0.02)
    assert result.lower == pytest.approx(lower, abs=0.02 * upper)


def test_two_large_groups_get_welchs_interval() -> None:
    rng = np.random.default_rng(12)
    x, y = rng.beta(4, 4, 400), rng.beta(2, 4, 300)
    result = gap(table_of(x=x, y=y), tolerance=0.0, seed=1)
    welch = stats.ttest_ind(x, y, equal_var=False).confidence_interval(0.95)
    assert (result.lower, result.upper) == pytest.approx((welch.low, welch.high), abs=0.006)
    assert (result.highest, result.lowest) == ("x", "y")
    assert result.minimum_detectable_gap == pytest.approx(
        (1.96 + 0.8416) * sqrt(x.var(ddof=1) / 400 + y.var(ddof=1) / 300), rel=1e-3
    )


def test_no_true_gap_is_rarely_called_one_where_resampling_clips_always_does() -> None:
    runs, speakers, clips = 300, 25, 14
    rng = np.random.default_rng(13)
    disparities = covered_by_rows = 0
    group = np.repeat(np.arange(4), speakers * clips)
    speaker = np.repeat(np.arange(4 * speakers), clips)
    for run in range(runs):
        score = rng.binomial(1, np.repeat(rng.beta(2, 6, 4 * speakers), clips))
        table = SpeakerTable.from_clips(speaker=speaker.astype(str), group=group.astype(str), score=score)
        result = gap(table, tolerance=0.0, replicates=400, seed=run)
        disparities += result.verdict is Verdict.DISPARITY
        rows = rng.integers(score.size, size=(200, score.size))
        cell = group[rows] + 4 * np.arange(200)[:, None]
        clips_drawn = np.bincount(cell.ravel(), minlength=800)
        means = (np.bincount(cell.ravel(), score[rows].ravel(), 800) / clips_drawn).reshape(200, 4)
        covered_by_rows += bool(np.quantile(np.ptp(means, axis=1), 0.025) <= 0.0)
    assert disparities <= most_of(runs)
    assert covered_by_rows == 0


def test_a_true_gap_is_covered() -> None:
    runs = 300
    same = rejected(25, 14, beta(2, 6))
    results = simulate(runs, a=same, b=same, c=same, d=rejected(25, 14, beta(4, 6)))
    covered = sum(result.lower <= 0.15 <= result.upper for result in results)
    assert covered >= 0.9 * runs
    assert sum(result.verdict is Verdict.DISPARITY for result in results) >= 0.5 * runs


# Rare rejections and groups without spread


@pytest.mark.parametrize("rate", [0.0, 0.01])
def test_rare_rejections_of_25_speakers_decide_nothing(rate: float) -> None:
    clips_at_random = rejected(25, 14, rate)
    by_speaker = rejected(25, 14, all_or_nothing(rate))
    for sample in (clips_at_random, by_speaker):
        results = simulate(200, tolerance=0.0, x=sample, y=sample)
        assert sum(result.verdict is Verdict.DISPARITY for result in results) <= most_of(200)
        assert min(result.upper for result in results) > 0.0


@pytest.mark.parametrize("share", [0.02, 0.05, 0.1, 0.15])
@pytest.mark.parametrize("speakers", [25, 60])
def test_speakers_nobody_happened_to_meet_do_not_make_groups_equivalent(share: float, speakers: int) -> None:
    runs, truth = 300, share
    unlucky = rejected(speakers, 14, all_or_nothing(share, speakers))
    results = simulate(runs, tolerance=0.99 * truth, x=rejected(speakers, 14, 0.0), y=unlucky)
    assert sum(result.verdict is Verdict.EQUIVALENT for result in results) <= most_of(runs)
    assert sum(result.lower > truth for result in results) <= most_of(runs)


@pytest.mark.parametrize("speakers", [25, 75, 150])
@pytest.mark.parametrize("share", [0.02, 0.04, 0.06])
def test_a_spread_that_everyone_shows_does_not_hide_speakers_nobody_happened_to_meet(
    share: float, speakers: int
) -> None:
    runs, usual = 200, 0.03
    truth = share * (1 - usual)
    results = simulate(
        runs,
        tolerance=min(0.05, 0.99 * truth),
        x=rejected(speakers, 13, usual),
        y=rejected(speakers, 13, sometimes_always(share, usual, speakers)),
    )
    assert sum(result.upper < truth for result in results) <= most_of(runs)
    assert sum(result.lower > truth for result in results) <= most_of(runs)
    assert sum(result.verdict is Verdict.EQUIVALENT for result in results) <= most_of(runs)


@pytest.mark.parametrize("rejected_clips", [(0, 0), (1, 1), (3, 2)])
def test_a_few_rejections_evenly_spread_do_not_make_small_groups_equivalent(rejected_clips: tuple[int, int]) -> None:
    x, y = ((np.arange(J) < few) / 14 for J, few in zip((13, 10), rejected_clips, strict=True))
    result = gap(table_of(x=x, y=y), tolerance=0.05, min_speakers=10, seed=1)
    assert result.verdict is Verdict.INCONCLUSIVE
    assert result.upper >= result.value_compared + log(2 / 0.05) / 10 - 1e-12


@pytest.mark.parametrize("rejected_clips", range(0, 71, 5))
def test_fewer_than_74_speakers_a_group_are_never_equivalent_at_the_usual_tolerance(rejected_clips: int) -> None:
    scores = (np.arange(74) < rejected_clips) / 14
    short, enough = (gap(table_of(x=scores[:J], y=scores[:J]), tolerance=0.05, seed=1) for J in (73, 74))
    assert short.verdict is Verdict.INCONCLUSIVE
    if rejected_clips >= 20:
        assert enough.verdict is Verdict.EQUIVALENT
        assert enough.upper == pytest.approx(log(2 / 0.05) / 74)


def test_the_upper_bound_is_that_of_the_pair_that_reaches_furthest() -> None:
    spread = np.tile([0.1, 0.11, 0.12, 0.13, 0.14], 20)
    result = gap(table_of(a=spread[:20], b=spread[:40] + 0.05, c=spread + 0.1), tolerance=0.05, seed=1)
    assert result.upper == pytest.approx(0.1 + log(3 / 0.05) / 20)  # a and c: the widest gap, the smaller group
    assert result.lower == pytest.approx(0.1, abs=0.02)  # c alone decides L


def test_in_those_simulations_the_plain_variance_would_often_be_zero() -> None:
    results = simulate(300, tolerance=0.04, x=rejected(25, 14, 0.0), y=rejected(25, 14, all_or_nothing(0.05)))
    assert sum(result.value_compared == 0.0 for result in results) >= 0.2 * 300


def test_two_groups_of_zeros_reach_the_rule_of_three() -> None:
    result = gap(table_of(x=np.zeros(25), y=np.zeros(25)), tolerance=0.05, seed=1)
    assert result.lower == result.value == 0.0
    assert result.upper == pytest.approx(sqrt(2) * log(2 / 0.05) / 25)
    assert result.verdict is Verdict.INCONCLUSIVE
    assert result.minimum_detectable_gap > 0.1


def test_enough_speakers_without_a_rejection_are_equivalent() -> None:
    few, enough = (gap(table_of(x=np.zeros(J), y=np.zeros(J)), tolerance=0.05, seed=1) for J in (104, 105))
    assert (few.verdict, enough.verdict) == (Verdict.INCONCLUSIVE, Verdict.EQUIVALENT)


def test_constants_that_differ_a_little_are_no_disparity_and_ones_that_differ_a_lot_are() -> None:
    near = gap(table_of(x=np.full(25, 0.02), y=np.full(25, 0.03)), tolerance=0.0, seed=1)
    far = gap(table_of(x=np.zeros(25), y=np.ones(25)), tolerance=0.5, seed=1)
    assert near.verdict is Verdict.INCONCLUSIVE
    assert far.verdict is Verdict.DISPARITY
    assert far.lower == pytest.approx(1 - sqrt(2) * log(2 / 0.05) / 25)
    assert far.upper == 1.0


def test_noise_in_the_last_digits_is_not_taken_for_spread() -> None:
    noise = np.random.default_rng(14).uniform(0, 1e-6, 25)
    assert gap(table_of(x=noise, y=noise[::-1]), tolerance=0.05, seed=1).upper > 0.1


# Properties


@settings(max_examples=40)
@given(st.integers(0, 2**32), st.floats(0.0, 0.5))
def test_adding_a_constant_to_every_score_changes_no_gap(seed: int, constant: float) -> None:
    table = uneven_table(seed, a=12, b=30, c=20, undeclared=5, tiny=2)
    half = replace(table, score=table.score / 2)
    raised = replace(half, score=np.minimum(half.score + constant * half.clips, half.clips))
    before, after = (gap(t, tolerance=0.1, min_speakers=12, replicates=100, seed=1) for t in (half, raised))
    for field in ("value", "value_compared", "lower", "minimum_detectable_gap"):
        assert getattr(after, field) == pytest.approx(getattr(before, field), abs=1e-9)
    assert after.upper == pytest.approx(before.upper, abs=1e-9)
    assert (after.verdict, after.highest, after.lowest) == (before.verdict, before.highest, before.lowest)


@settings(max_examples=40)
@given(st.integers(0, 2**32), st.floats(0.0, 1.0))
def test_bounds_hold_the_estimate_between_them_and_lie_in_the_unit_interval(seed: int, p: float) -> None:
    rng = np.random.default_rng(seed)
    few = (rng.random(30) < p / 10).astype(float)
    table = table_of(a=rng.binomial(14, p, 20) / 14, b=rng.beta(0.2, 0.6, 22), c=few)
    result = gap(table, tolerance=0.1, replicates=100, seed=seed)
    assert 0.0 <= result.lower <= result.value_compared <= result.upper <= 1.0
    assert result == gap(table, tolerance=0.1, replicates=100, seed=seed)


def test_a_higher_confidence_widens_the_interval() -> None:
    table = uneven_table(15, a=30, b=40)
    narrow, wide = (gap(table, tolerance=0.1, confidence=level, seed=1) for level in (0.8, 0.99))
    assert wide.lower <= narrow.lower
    assert narrow.upper < wide.upper
