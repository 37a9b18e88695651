"""Permutation tests against scipy's, Welch's t, Holm by hand, and their size where nothing differs."""

from math import isnan, sqrt
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import stats
from simulated_speakers import all_or_nothing, beta, most_of, rejected, table_of, uneven_table

from monitoring.parity import SpeakerTable, holm, permutation_test
from monitoring.parity.labels import MANY_SPEAKERS, shuffled_labels


def welch(x: NDArray[np.float64], y: NDArray[np.float64], axis: int = -1) -> NDArray[np.float64]:
    return np.abs(stats.ttest_ind(x, y, equal_var=False, axis=axis).statistic)


def test_the_statistic_is_welchs_and_p_that_of_scipys_permutation_test() -> None:
    rng = np.random.default_rng(1)
    x, y = rng.beta(3, 4, 10), rng.beta(2, 5, 11)
    sampled = stats.permutation_test(
        (x, y), welch, permutation_type="independent", n_resamples=99_999, alternative="greater", vectorized=True
    )
    ours = permutation_test(table_of(x=x, y=y), min_speakers=10, permutations=20_000, seed=2)
    assert ours.statistic == pytest.approx(float(welch(x, y)), rel=1e-9)
    assert ours.p_value == pytest.approx(sampled.pvalue, abs=5 * sqrt(sampled.pvalue / 20_000))
    assert 0.01 < sampled.pvalue < 0.9


def test_of_two_groups_each_is_the_others_rest() -> None:
    rng = np.random.default_rng(2)
    test = permutation_test(table_of(x=rng.beta(3, 4, 30), y=rng.beta(2, 5, 40)), seed=1)
    first, second = test.groups
    assert first.p_value == second.p_value == test.p_value
    assert first.difference == pytest.approx(-second.difference)


def test_one_against_the_rest_takes_the_rest_for_one_group() -> None:
    table = uneven_table(3, a=25, b=30, c=40)
    together = SpeakerTable(table.speaker, np.where(table.group == "a", "a", "rest"), table.clips, table.score)
    (of_a, *_), (alone, _) = (permutation_test(t, seed=1).groups for t in (table, together))
    assert of_a.statistic == pytest.approx(alone.statistic, rel=1e-9)
    assert of_a.difference == pytest.approx(alone.difference, rel=1e-9)
    assert of_a.p_value == pytest.approx(alone.p_value, abs=0.06)


def test_the_largest_pair_decides() -> None:
    table = uneven_table(4, a=25, b=30, c=40)
    pairs = []
    for left_out in "abc":
        keep = table.group != left_out
        pair = SpeakerTable(table.speaker[keep], table.group[keep], table.clips[keep], table.score[keep])
        pairs.append(permutation_test(pair, permutations=100, seed=1).statistic)
    assert permutation_test(table, permutations=100, seed=1).statistic == pytest.approx(max(pairs), rel=1e-9)


def test_nothing_is_called_something_in_one_of_twenty_corpora_whatever_the_scores_are() -> None:
    runs = 150
    samplers = {
        "beta": beta(2, 6),
        "rare": rejected(25, 14, 0.005),
        "all or nothing": all_or_nothing(0.1),
        "usual": rejected(25, 14, beta(2, 6)),
    }
    for sample in samplers.values():
        rng = np.random.default_rng(5)
        p = np.array(
            [
                permutation_test(
                    table_of(a=sample(rng), b=sample(rng), c=sample(rng)), permutations=100, seed=run
                ).p_value
                for run in range(runs)
            ]
        )
        for level in (0.05, 0.2, 0.5):
            assert (p <= level).sum() <= most_of(runs, level)


def test_p_is_uniform_where_scores_are_continuous() -> None:
    rng = np.random.default_rng(6)
    p = [
        permutation_test(table_of(x=rng.beta(2, 6, 30), y=rng.beta(2, 6, 25)), permutations=199, seed=run).p_value
        for run in range(300)
    ]
    assert stats.kstest(p, "uniform").pvalue > 0.001


def test_permuting_clips_as_if_they_were_speakers_calls_nothing_something_often() -> None:
    rng = np.random.default_rng(7)
    as_clips = as_speakers = 0
    group = np.repeat(["a", "b", "c"], 25 * 10)
    for run in range(60):
        score = rng.binomial(1, np.repeat(rng.beta(0.6, 1.8, 75), 10)).astype(float)
        for speaker in (np.arange(750), np.repeat(np.arange(75), 10)):
            table = SpeakerTable.from_clips(speaker=speaker.astype(str), group=group, score=score)
            is_found = permutation_test(table, permutations=100, seed=run).p_value <= 0.05
            if speaker.max() == 749:
                as_clips += is_found
            else:
                as_speakers += is_found
    assert as_speakers <= most_of(60)
    assert as_clips >= 20


def test_a_group_that_is_turned_away_more_is_named_first_and_pulls_the_others_rests_up() -> None:
    rng = np.random.default_rng(8)
    table = table_of(a=rng.beta(2, 6, 200), b=rng.beta(6, 4, 25), c=rng.beta(2, 6, 200))
    a, b, c = permutation_test(table, seed=1).groups
    assert b.p_holm == pytest.approx(3 / 2001)
    assert b.difference > 0.2
    assert b.statistic > 2 * max(a.statistic, c.statistic)
    assert max(a.difference, c.difference) < 0.0


def test_without_a_difference_holm_names_nobody_in_nineteen_of_twenty_corpora() -> None:
    rng = np.random.default_rng(9)
    named = 0
    for run in range(200):
        groups = {name: rng.beta(2, 6, size) for name, size in (("a", 100), ("b", 25), ("c", 25), ("d", 40))}
        tests = permutation_test(table_of(**groups), permutations=200, seed=run).groups
        named += min(test.p_holm for test in tests) <= 0.05
    assert named <= most_of(200)


def test_groups_without_spread_get_the_allowance_and_never_infinity() -> None:
    nobody = permutation_test(table_of(x=np.zeros(25), y=np.zeros(25)), permutations=100, seed=1)
    near = permutation_test(table_of(x=np.full(25, 0.02), y=np.full(25, 0.03)), permutations=100, seed=1)
    far = permutation_test(table_of(x=np.zeros(25), y=np.ones(25)), permutations=100, seed=1)
    assert (nobody.statistic, nobody.p_value) == (0.0, 1.0)
    assert 0.0 < near.statistic < 0.2
    assert 5.0 < far.statistic < 20.0
    assert far.p_value == pytest.approx(1 / 101)


def test_small_groups_and_the_undeclared_take_no_part() -> None:
    rng = np.random.default_rng(9)
    declared = {"x": rng.beta(2, 4, 30), "y": rng.beta(2, 4, 30)}
    alone = permutation_test(table_of(**declared), seed=1)
    among = permutation_test(table_of(**declared, undeclared=np.ones(50), tiny=np.ones(3)), seed=1)
    assert among.too_small == ("tiny",)
    assert (among.statistic, among.p_value, among.groups) == (alone.statistic, alone.p_value, alone.groups)


def test_one_group_can_not_be_tested() -> None:
    test = permutation_test(table_of(x=np.linspace(0, 1, 30), y=np.ones(3)), seed=1)
    assert isnan(test.statistic)
    assert isnan(test.p_value)
    assert test.groups == ()


@pytest.mark.parametrize(("argument", "value"), [("min_speakers", 9), ("permutations", 99), ("confidence", 0.0)])
def test_an_argument_outside_its_range_is_refused(argument: str, value: float) -> None:
    arguments: dict[str, Any] = {"seed": 1, argument: value}
    with pytest.raises(ValueError, match=argument):
        permutation_test(table_of(x=np.zeros(30), y=np.zeros(30)), **arguments)


@settings(max_examples=15)
@given(st.integers(0, 2**32))
def test_the_order_of_clips_changes_nothing_and_names_change_no_statistic(seed: int) -> None:
    rng = np.random.default_rng(seed)
    speaker = rng.integers(75, size=400)
    group = np.repeat(["a", "b", "c"], 25)[speaker]
    score, order = rng.beta(1, 3, 400), rng.permutation(400)

    def test_of(rows: NDArray[np.int64], names: NDArray[np.str_]) -> Any:
        table = SpeakerTable.from_clips(speaker=speaker[rows].astype(str), group=names[rows], score=score[rows])
        return permutation_test(table, min_speakers=10, permutations=100, seed=seed)

    every = np.arange(400)
    assert test_of(order, group) == test_of(every, group)
    renamed = test_of(every, np.array([{"a": "z", "b": "b", "c": "k"}[name] for name in group]))
    assert renamed.statistic == pytest.approx(test_of(every, group).statistic, rel=1e-9)


# Holm


def test_holm_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]).tolist() == pytest.approx([0.03, 0.06, 0.06, 0.02])


@given(st.lists(st.floats(0.0, 1.0), min_size=1, max_size=12), st.floats(0.001, 0.5))
def test_holm_steps_down_until_one_is_not_small_enough(p_values: list[float], alpha: float) -> None:
    rejected_by_steps = set()
    for step, k in enumerate(sorted(range(len(p_values)), key=lambda k: p_values[k])):
        if (len(p_values) - step) * p_values[k] > alpha:
            break
        rejected_by_steps.add(k)
    assert {k for k, p in enumerate(holm(p_values)) if p <= alpha} == rejected_by_steps


# Labels of very many speakers

SIZES = np.array([12_000, 8_000, 900, 30])


def test_labels_of_many_speakers_keep_the_sizes() -> None:
    for sizes in (SIZES, SIZES + np.array([0, 0, 0, 1])):  # an even number of speakers, and an odd one
        assert sizes.sum() >= MANY_SPEAKERS
        labels = shuffled_labels(sizes, 50, np.random.default_rng(1))
        assert (np.array([np.bincount(row, minlength=4) for row in labels]) == sizes).all()


def test_labels_of_many_speakers_are_drawn_without_replacement() -> None:
    labels = shuffled_labels(SIZES, 600, np.random.default_rng(2))
    for group in (0, 1, 2, 3):
        among_the_first = (labels[:, :5_000] == group).sum(axis=1)
        law = stats.hypergeom(SIZES.sum(), SIZES[group], 5_000)
        assert abs(among_the_first.mean() - law.mean()) <= 4 * law.std() / sqrt(600)
        assert 0.8 <= among_the_first.var() / law.var() <= 1.25


def test_more_groups_than_bytes_are_shuffled_too() -> None:
    labels = shuffled_labels(np.full(300, 2), 3, np.random.default_rng(3))
    assert (np.array([np.bincount(row) for row in labels]) == 2).all()


def test_very_many_speakers_have_the_p_value_of_the_normal_law() -> None:
    rng = np.random.default_rng(4)
    x, y = rng.beta(2, 6, 15_000), rng.beta(2, 6, 6_000) + 0.003
    test = permutation_test(table_of(x=x, y=y), permutations=1000, seed=1)
    expected = float(stats.ttest_ind(x, y, equal_var=False).pvalue)
    assert test.p_value == pytest.approx(expected, abs=4 * sqrt(expected / 1000) + 0.002)
    assert test == permutation_test(table_of(x=x, y=y), permutations=1000, seed=1)
