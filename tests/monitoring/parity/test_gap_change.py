"""A gap's change against paired t intervals, loops, mirrored arguments, and simulated changes whose truth is known."""

from dataclasses import replace
from math import isnan, log, sqrt

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import stats
from simulated_speakers import most_of, table_of, uneven_table

from monitoring.parity import Change, SpeakerTable, gap, gap_change


def two_scores(
    rng: np.random.Generator, before: list[float], after: list[float], sizes: list[int]
) -> list[SpeakerTable]:
    """Each speaker is as vulnerable before as after, compared with the others of the group."""
    latent = [rng.random(size) for size in sizes]
    tables = []
    for rates in (before, after):
        groups = {
            f"g{k}": rng.binomial(14, stats.beta.ppf(u, 4 * p, 4 * (1 - p))) / 14
            for k, (u, p) in enumerate(zip(latent, rates, strict=True))
        }
        tables.append(table_of(**groups))
    return tables


def test_a_groups_change_has_the_paired_t_interval() -> None:
    rng = np.random.default_rng(1)
    x, after = rng.beta(2, 5, 40), rng.beta(3, 5, 40)
    found = gap_change(table_of(x=x), table_of(x=after), seed=1)
    expected = stats.ttest_rel(after, x)
    (group,) = found.groups
    assert group.difference == pytest.approx(after.mean() - x.mean())
    interval = expected.confidence_interval(0.95)
    assert (group.lower, group.upper) == pytest.approx((interval.low, interval.high), rel=1e-9)
    assert found.verdict is Change.INSUFFICIENT
    assert isnan(found.lower)


def test_the_variance_of_a_change_is_the_cluster_robust_one() -> None:
    before = uneven_table(2, x=60)
    after = replace(before, score=before.clips * np.random.default_rng(3).beta(2, 3, 60))
    (group,) = gap_change(before, after, seed=1).groups
    N = before.clips.sum()
    D = after.score.sum() / N - before.score.sum() / N
    v = 60 / 59 * sum(((after.score[j] - before.score[j]) - D * before.clips[j]) ** 2 for j in range(60)) / N**2
    assert group.upper - group.lower == pytest.approx(2 * stats.t.ppf(0.975, 59) * sqrt(v), rel=1e-9)


def test_where_the_widest_pair_is_beyond_doubt_the_interval_is_that_of_its_change() -> None:
    rng = np.random.default_rng(4)
    x, y = rng.beta(20, 30, 300), rng.beta(4, 30, 300)
    x_after, y_after = np.clip(x - rng.normal(0.1, 0.05, 300), 0, 1), np.clip(y + rng.normal(0, 0.02, 300), 0, 1)
    found = gap_change(table_of(x=x, y=y), table_of(x=x_after, y=y_after), seed=1)
    welch = stats.ttest_ind(x_after - x, y_after - y, equal_var=False).confidence_interval(0.95)
    assert found.upper == pytest.approx(welch.high, abs=0.002)
    assert found.lower == pytest.approx(found.difference - log(2 / 0.05) / 300)  # speakers whom nobody met
    assert found.verdict is Change.NARROWER
    assert found.difference == pytest.approx((x_after - x).mean() - (y_after - y).mean())


def test_it_is_sharper_than_two_audits_apart() -> None:
    before, after = two_scores(np.random.default_rng(5), [0.5, 0.2], [0.4, 0.2], [200, 200])
    found = gap_change(before, after, seed=1)
    apart = [gap(table, tolerance=0.0, seed=1) for table in (before, after)]
    assert found.upper - found.lower < 0.5 * (apart[1].upper - apart[0].lower - (apart[1].lower - apart[0].upper))


def test_before_and_after_exchanged_mirror_the_interval() -> None:
    before, after = two_scores(np.random.default_rng(6), [0.3, 0.2, 0.25], [0.4, 0.2, 0.25], [60, 30, 40])
    there, back = gap_change(before, after, seed=1), gap_change(after, before, seed=1)
    assert (back.lower, back.upper, back.difference) == pytest.approx((-there.upper, -there.lower, -there.difference))


def test_scores_that_did_not_change_changed_no_gap() -> None:
    table = uneven_table(7, a=40, b=50, undeclared=10, tiny=3)
    found = gap_change(table, table, seed=1)
    assert found.difference == 0.0
    assert found.lower < 0.0 < found.upper
    assert found.verdict is Change.INCONCLUSIVE
    assert [group.group for group in found.groups] == ["a", "b", "tiny", "undeclared"]
    assert found.too_small == ("tiny",)
    many = table_of(a=np.linspace(0, 1, 200), b=np.linspace(0, 1, 200))
    assert gap_change(many, many, tolerance=0.05, seed=1).verdict is Change.EQUIVALENT


@pytest.mark.parametrize(
    ("before", "after"),
    [([0.2, 0.2, 0.2], [0.2, 0.2, 0.2]), ([0.2, 0.2, 0.2], [0.2, 0.4, 0.2]), ([0.4, 0.2, 0.3], [0.2, 0.2, 0.3])],
)
def test_a_true_change_is_covered(before: list[float], after: list[float]) -> None:
    runs, truth = 150, float(np.ptp(after) - np.ptp(before))
    rng = np.random.default_rng(8)
    found = [gap_change(*two_scores(rng, before, after, [25, 40, 60]), replicates=300, seed=run) for run in range(runs)]
    assert sum(not change.lower <= truth <= change.upper for change in found) <= most_of(runs)
    if truth == 0:
        assert sum(c.verdict in (Change.WIDER, Change.NARROWER) for c in found) <= most_of(runs)


def test_a_large_change_is_found() -> None:
    before, after = two_scores(np.random.default_rng(9), [0.2, 0.2, 0.2], [0.2, 0.5, 0.2], [150, 150, 150])
    assert gap_change(before, after, seed=1).verdict is Change.WIDER
    assert gap_change(after, before, seed=1).verdict is Change.NARROWER


def test_rare_changes_of_few_speakers_are_not_called_equivalent() -> None:
    rng = np.random.default_rng(10)
    runs, equivalent = 200, 0
    for run in range(runs):
        before = table_of(x=np.zeros(40), y=np.zeros(40))
        after = table_of(x=np.zeros(40), y=(rng.random(40) < 0.03).astype(float))
        equivalent += gap_change(before, after, tolerance=0.029, replicates=200, seed=run).verdict is Change.EQUIVALENT
    assert equivalent <= most_of(runs)


def test_other_speakers_or_groups_are_refused() -> None:
    table = table_of(x=np.zeros(30), y=np.zeros(30))
    fewer = SpeakerTable(table.speaker[1:], table.group[1:], table.clips[1:], table.score[1:])
    with pytest.raises(ValueError, match="1 speakers are in one table only, the first is 'x-0'"):
        gap_change(table, fewer, seed=1)
    with pytest.raises(ValueError, match="60 speakers are in another group"):
        gap_change(table, replace(table, group=np.roll(table.group, 30)), seed=1)


@settings(max_examples=20)
@given(st.integers(0, 2**32))
def test_the_order_of_rows_changes_nothing_and_bounds_hold_the_estimate(seed: int) -> None:
    rng = np.random.default_rng(seed)
    before = uneven_table(seed, a=12, b=30, c=20)
    after = replace(before, score=before.clips * rng.beta(1, 3, 62))

    def shuffled(table: SpeakerTable, order: NDArray[np.int64]) -> SpeakerTable:
        return SpeakerTable(table.speaker[order], table.group[order], table.clips[order], table.score[order])

    found = gap_change(before, after, min_speakers=10, replicates=100, seed=1)
    assert -1.0 <= found.lower <= found.difference <= found.upper <= 1.0
    again = gap_change(
        shuffled(before, rng.permutation(62)),
        shuffled(after, rng.permutation(62)),
        min_speakers=10,
        replicates=100,
        seed=1,
    )
    assert (again.lower, again.upper) == pytest.approx((found.lower, found.upper), rel=1e-9)
