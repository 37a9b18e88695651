"""Group means and gaps against slow loops, closed forms, scipy, and simulated corpora whose truth is known."""

from collections.abc import Callable
from dataclasses import replace
from math import isnan, log, sqrt
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import stats

from monitoring.parity import Gap, GroupMean, SpeakerTable, Verdict, gap, group_means
from recognizer.groups import UNDECLARED

Sampler = Callable[[np.random.Generator], NDArray[np.float64]]


def table_of(**groups: NDArray[np.float64]) -> SpeakerTable:
    """One group a keyword: its speakers' mean scores, 14 clips each."""
    return SpeakerTable(
        speaker=np.array([f"{name}-{j}" for name, means in groups.items() for j in range(len(means))]),
        group=np.repeat(list(groups), [len(means) for means in groups.values()]),
        clips=np.full(sum(map(len, groups.values())), 14),
        score=14.0 * np.concatenate(list(groups.values())),
    )


def uneven_table(seed: int, **speakers: int) -> SpeakerTable:
    """Groups of so many speakers, each with 1 to 9 clips."""
    rng = np.random.default_rng(seed)
    total = sum(speakers.values())
    clips = rng.integers(1, 10, total)
    return SpeakerTable(
        speaker=np.array([f"s{j}" for j in range(total)]),
        group=np.repeat(list(speakers), list(speakers.values())),
        clips=clips,
        score=clips * rng.beta(2, 4, total),
    )


def rejected(speakers: int, clips: int, rate: Sampler | float) -> Sampler:
    """Speakers' shares of rejected clips, `rate` drawing each speaker's own probability."""

    def sample(rng: np.random.Generator) -> NDArray[np.float64]:
        p = rate(rng) if callable(rate) else np.full(speakers, rate)
        return rng.binomial(clips, p) / clips

    return sample


def beta(a: float, b: float, speakers: int = 25) -> Sampler:
    return lambda rng: rng.beta(a, b, speakers)


def all_or_nothing(share: float, speakers: int = 25) -> Sampler:
    """A share of the speakers is always rejected, the rest never: the worst clustering there is."""
    return lambda rng: (rng.random(speakers) < share).astype(float)


def sometimes_always(share: float, otherwise: float, speakers: int) -> Sampler:
    """Speakers' own probabilities: 1 for a share of them, `otherwise` for the rest."""
    return lambda rng: np.where(rng.random(speakers) < share, 1.0, otherwise)


def simulate(runs: int, tolerance: float = 0.0, **groups: Sampler) -> list[Gap]:
    rng = np.random.default_rng(2023)
    return [
        gap(
            table_of(**{name: sample(rng) for name, sample in groups.items()}),
            tolerance=tolerance,
            replicates=400,
            seed=run,
        )
        for run in range(runs)
    ]


def most_of(runs: int, rate: float = 0.05) -> int:
    """What a true error rate exceeds in 1 of 1000 simulations."""
    return int(stats.binom.ppf(0.999, runs, rate))


def moments_by_loop(table: SpeakerTable, group: str) -> tuple[float, float]:
    rows = [j for j in range(table.speaker.size) if table.group[j] == group]
    N = sum(int(table.clips[j]) for j in rows)
    mu = sum(float(table.score[j]) for j in rows) / N
    v = 0.0
    for j in rows:
        v += (float(table.score[j]) - mu * int(table.clips[j])) ** 2
    return mu, v * len(rows) / (len(rows) - 1) / N**2


# The table


def test_clips_are_summed_by_speaker() -> None:
    table = SpeakerTable.from_clips(
        speaker=["b", "a", "b", "c"], group=["x", "y", "x", "x"], score=[0.5, 1.0, 0.25, 0.0]
    )
    assert table.speaker.tolist() == ["a", "b", "c"]
    assert table.group.tolist() == ["y", "x", "x"]
    assert table.clips.tolist() == [1, 2, 1]
    assert table.score.tolist() == [1.0, 0.75, 0.0]


def test_a_speaker_has_one_group() -> None:
    with pytest.raises(ValueError, match="speaker 'a' is in two groups, 'x' and 'y'"):
        SpeakerTable.from_clips(speaker=["a", "b", "a"], group=["x", "x", "y"], score=[0.1, 0.2, 0.3])


@pytest.mark.parametrize("bad", [float("nan"), -0.1, 1.1])
def test_a_score_outside_the_unit_interval_is_refused(bad: float) -> None:
    with pytest.raises(ValueError, match=r"1 of 2 scores are NaN or outside \[0, 1\]"):
        SpeakerTable.from_clips(speaker=["a", "b"], group=["x", "y"], score=[0.1, bad])


def test_columns_must_match_and_hold_something() -> None:
    with pytest.raises(ValueError, match="flat columns of one length"):
        SpeakerTable.from_clips(speaker=["a", "b"], group=["x", "x"], score=[0.1])
    with pytest.raises(ValueError, match="no clip to measure"):
        SpeakerTable.from_clips(speaker=[], group=[], score=[])


def test_a_missing_group_is_not_taken_for_a_group_called_nan() -> None:
    with pytest.raises(ValueError, match="group holds values that are no strings"):
        SpeakerTable.from_clips(speaker=["a", "b"], group=np.array(["x", np.nan], dtype=object), score=[0, 0])


def test_a_speaker_is_listed_once_and_has_clips() -> None:
    table = table_of(x=np.array([0.1, 0.2]))
    with pytest.raises(ValueError, match="listed twice"):
        replace(table, speaker=np.array(["a", "a"]))
    with pytest.raises(ValueError, match="no clips"):
        replace(table, clips=np.array([0, 14]))
    with pytest.raises(ValueError, match="NaN or outside"):
        replace(table, score=np.array([15.0, 1.0]))


# Group means


def test_the_variance_is_the_cluster_robust_one() -> None:
    table = uneven_table(1, north=40, south=31)
    for mean in group_means(table):
        mu, v = moments_by_loop(table, mean.group)
        assert mean.mean == pytest.approx(mu, rel=1e-12)
        assert mean.variance == pytest.approx(v, rel=1e-12)


def test_with_equally_many_clips_it_is_the_variance_of_the_speakers_means() -> None:
    means = np.random.default_rng(2).beta(2, 4, 30)
    (mean,) = group_means(table_of(x=means))
    assert (mean.speakers, mean.clips) == (30, 420)
    assert mean.variance == pytest.approx(means.var(ddof=1) / 30, rel=1e-12)


def test_it_agrees_with_the_jackknife_over_speakers() -> None:
    table = uneven_table(3, x=200)
    (mean,) = group_means(table)
    left_out = (table.score.sum() - table.score) / (table.clips.sum() - table.clips)
    jackknife = 199 / 200 * np.square(left_out - left_out.mean()).sum()
    assert mean.variance == pytest.approx(jackknife, rel=0.03)


def test_with_one_clip_a_speaker_the_interval_is_students() -> None:
    score = np.random.default_rng(4).beta(2, 4, 25)
    table = SpeakerTable.from_clips(speaker=[f"s{j}" for j in range(25)], group=["x"] * 25, score=score)
    (mean,) = group_means(table, confidence=0.9)
    expected = stats.ttest_1samp(score, 0.0).confidence_interval(0.9)
    assert (mean.lower, mean.upper) == pytest.approx((expected.low, expected.high), rel=1e-12)


def test_groups_are_sorted_and_undeclared_is_among_them() -> None:
    table = uneven_table(5, zulu=20, undeclared=30, alpha=20)
    assert [mean.group for mean in group_means(table)] == ["alpha", "undeclared", "zulu"]


def test_one_speaker_gives_a_mean_but_no_interval() -> None:
    (mean,) = group_means(table_of(x=np.array([0.25])))
    assert mean.mean == 0.25
    assert isnan(mean.variance)
    assert isnan(mean.lower)
    assert isnan(mean.upper)


@pytest.mark.parametrize("speakers", [2, 5, 10, 25, 100, 1000])
def test_speakers_who_were_never_rejected_do_not_prove_that_nobody_is(speakers: int) -> None:
    (mean,) = group_means(table_of(x=np.zeros(speakers)))
    exact = 1 - 0.05 ** (1 / speakers)
    assert mean.lower == mean.variance == 0.0
    assert exact <= mean.upper <= min(1.0, 5 * exact)


@pytest.mark.parametrize("speakers", [20, 25, 60, 200])
def test_a_few_rejected_speakers_bound_how_many_there_are(speakers: int) -> None:
    upper = [
        group_means(table_of(x=(np.arange(speakers) < rejected).astype(float)))[0].upper
        for rejected in range(speakers + 1)
    ]
    for share in np.linspace(0.001, 0.5, 200):
        chance = stats.binom.pmf(np.arange(speakers + 1), speakers, share)
        assert chance[np.array(upper) < share].sum() <= 0.09


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


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 2**32), st.sampled_from([(12, 15), (25, 10, 40), (30, 11, 12, 13)]))
def test_the_order_of_the_clips_changes_nothing(seed: int, sizes: tuple[int, ...]) -> None:
    rng = np.random.default_rng(seed)
    group_of = np.repeat([f"g{k}" for k in range(len(sizes))], sizes)
    speaker = rng.integers(group_of.size, size=500)
    score = rng.beta(1, 3, 500)
    names, groups, order = speaker.astype(str), group_of[speaker], rng.permutation(500)

    def measure(rows: NDArray[np.int64]) -> tuple[tuple[GroupMean, ...], str]:
        table = SpeakerTable.from_clips(speaker=names[rows], group=groups[rows], score=score[rows])
        return group_means(table), repr(gap(table, tolerance=0.1, min_speakers=10, replicates=100, seed=seed))

    assert measure(order) == measure(np.arange(500))


@settings(deadline=None, max_examples=40)
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


@settings(deadline=None, max_examples=40)
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
