"""Group means against slow loops, closed forms and scipy."""

from math import isnan

import numpy as np
import pytest
from scipy import stats
from simulated_speakers import moments_by_loop, table_of, uneven_table

from monitoring.parity import SpeakerTable, group_means


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
