"""Correlations against scipy, against one worked out by hand, and what is said where they mean nothing."""

from __future__ import annotations

from math import atanh, nan, sqrt, tanh

import numpy as np
import pandas as pd
import pytest
from numpy.random import default_rng
from scipy import stats

from training.study.report.contrasts import (
    correlation_contrast,
    order_of_attributes,
    rejection_contrast,
    tricks_contrast,
)
from training.study.report.correlations import (
    DESCRIPTIVE,
    correlate,
    in_words,
    level_correlations,
    presence_correlations,
)


def models_and_parity() -> tuple[pd.DataFrame, pd.DataFrame]:
    """Six models whose gap by gender is 0.1 with adversarial training and 0.3 without, and by age follows noise."""
    eps, sigma = [0.0, 0.0, 0.0, 0.01, 0.1, 0.1], [0.0, 0.05, 0.1, 0.0, 0.05, 0.1]
    keys = [f"m{i}" for i in range(6)]
    models = pd.DataFrame({"key": keys, "tricks": [True, False] * 3, "adversarial_eps": eps, "noise_sigma": sigma})
    by_gender = pd.DataFrame({"key": keys, "attribute": "gender", "gap": [0.3, 0.3, 0.3, 0.1, 0.1, 0.1]})
    by_age = pd.DataFrame({"key": keys[::-1], "attribute": "age", "gap": [2 * s for s in sigma[::-1]]})
    return models, pd.concat([by_gender, by_age], ignore_index=True)


def row(table: pd.DataFrame, **where: str) -> pd.Series:
    for column, value in where.items():
        table = table[table[column] == value]
    assert len(table) == 1
    return table.iloc[0]


# One correlation


def test_five_points_worked_out_by_hand() -> None:
    # x = 1..5, y = 2, 1, 4, 3, 5: sxy = 8, sxx = syy = 10; ranks are the values, so rho = r = 0.8
    found = correlate([1, 2, 3, 4, 5], [2, 1, 4, 3, 5])
    assert (found.n, found.pearson, found.spearman) == (5, pytest.approx(0.8), pytest.approx(0.8))
    half = 1.959964 / sqrt(5 - 3)
    assert found.lower == pytest.approx(tanh(atanh(0.8) - half), abs=1e-6)
    assert found.upper == pytest.approx(tanh(atanh(0.8) + half), abs=1e-6)
    t = 0.8 * sqrt(3 / (1 - 0.64))
    assert found.pearson_p == pytest.approx(2 * stats.t.sf(t, df=3))
    assert found.note == ""


@pytest.mark.parametrize("scale", [1e-9, 1.0, 1e9])
def test_values_that_differ_by_rounding_only_are_constant(scale: float) -> None:
    rounded = scale * np.array([0.1 + 0.2, 0.3, 0.15 + 0.15, 0.3, 0.1 * 3])
    assert np.ptp(rounded) > 0
    assert correlate(rounded, [1, 2, 3, 4, 5]).note == "x is constant"
    assert correlate([1, 2, 3, 4, 5], rounded).note == "y is constant"
    assert correlate(scale * np.arange(5.0), [1, 2, 3, 4, 5]).pearson == pytest.approx(1.0)


@pytest.mark.parametrize("n", [4, 12, 34])
def test_both_correlations_are_scipys(n: int) -> None:
    rng = default_rng(n)
    x = rng.choice([0.0, 0.001, 0.01, 0.1], size=n)
    x[:2] = 0.0, 0.1
    y = x + rng.normal(size=n)
    found, pearson, spearman = correlate(x, y), stats.pearsonr(x, y), stats.spearmanr(x, y)
    assert (found.pearson, found.pearson_p) == (pytest.approx(pearson.statistic), pytest.approx(pearson.pvalue))
    assert (found.spearman, found.spearman_p) == (pytest.approx(spearman.statistic), pytest.approx(spearman.pvalue))
    assert found.lower < found.pearson < found.upper


def test_three_points_describe_themselves() -> None:
    found = correlate([1.0, 2.0, 4.0], [3.0, 1.0, 2.0])
    assert found.note == DESCRIPTIVE
    assert found.pearson == pytest.approx(float(np.corrcoef([1, 2, 4], [3, 1, 2])[0, 1]))
    assert np.isnan([found.pearson_p, found.spearman_p, found.lower, found.upper]).all()


def test_four_points_have_a_p_value() -> None:
    assert correlate([1, 2, 3, 4], [1, 3, 2, 4]).pearson_p < 1


def test_points_without_a_value_are_not_counted() -> None:
    assert correlate([1, 2, 3, 4, 5, 6], [2, nan, 4, 3, 5, nan]).n == 4


@pytest.mark.parametrize(
    ("x", "y", "why"),
    [([1, 1, 1, 1], [1, 2, 3, 4], "x is constant"), ([1, 2], [5, 5], "y is constant"), ([1], [1], "too few points")],
)
def test_says_why_there_is_no_correlation(x: list[float], y: list[float], why: str) -> None:
    found = correlate(x, y)
    assert (found.note, np.isnan(found.pearson)) == (why, True)


def test_refuses_columns_of_unequal_length() -> None:
    with pytest.raises(ValueError, match=r"\(3,\) and \(2,\)"):
        correlate([1, 2, 3], [1, 2])


# Figures 2 to 5


def test_presence_is_zero_or_one_and_less_parity_is_negative() -> None:
    models, parity = models_and_parity()
    table = presence_correlations(models, parity)
    assert row(table, attribute="gender", factor="AT")["pearson"] == pytest.approx(-1.0)
    tricks = row(table, attribute="gender", factor="Tricks")
    assert tricks["pearson"] == pytest.approx(stats.pearsonr([1, 0] * 3, [0.3] * 3 + [0.1] * 3).statistic)
    noise = row(table, attribute="age", factor="noise")
    assert noise["pearson"] == pytest.approx(stats.pearsonr([0, 1, 1, 0, 1, 1], [0, 0.1, 0.2, 0, 0.1, 0.2]).statistic)
    assert (len(table), set(table["n"])) == (6, {6})


def test_levels_include_zero_and_join_models_by_key() -> None:
    models, parity = models_and_parity()
    table = level_correlations(models, parity)
    assert row(table, attribute="age", factor="noise level")["pearson"] == pytest.approx(1.0)
    expected = stats.pearsonr([0, 0, 0, 0.01, 0.1, 0.1], [0.3] * 3 + [0.1] * 3)
    assert row(table, attribute="gender", factor="AT budget")["pearson"] == pytest.approx(expected.statistic)
    assert set(table["factor"]) == {"AT budget", "noise level"}


def test_the_word_stands_in_place_of_p_with_three_models() -> None:
    models, parity = models_and_parity()
    few = models[models["key"].isin(["m0", "m1", "m3"])]
    shown = in_words(presence_correlations(few, parity[parity["key"].isin(few["key"])]))
    assert set(shown["n"]) == {3}
    described = row(shown, attribute="gender", factor="AT")
    assert (described["pearson_p"], described["spearman_p"]) == (DESCRIPTIVE, DESCRIPTIVE)


# Closed against open


@pytest.mark.parametrize(
    ("closed", "opened", "reading"),
    [
        ((-0.8, -0.2), (0.1, 0.7), "opposite"),
        ((-0.8, -0.2), (-0.9, -0.1), "more equal in both"),
        ((0.2, 0.8), (0.1, 0.9), "less equal in both"),
        ((-0.8, -0.2), (-0.1, 0.7), "unclear in open"),
        ((nan, nan), (0.1, 0.7), "unclear in closed"),
        ((-0.1, 0.2), (-0.3, 0.7), "unclear in closed and open"),
    ],
)
def test_splits_are_contrasted_by_their_intervals(
    closed: tuple[float, float], opened: tuple[float, float], reading: str
) -> None:
    def table(interval: tuple[float, float]) -> pd.DataFrame:
        one = {"attribute": "age", "factor": "AT", "n": 30, "pearson": sum(interval) / 2}
        return pd.DataFrame([one | {"lower": interval[0], "upper": interval[1]}])

    contrast = correlation_contrast(table(closed), table(opened)).iloc[0]
    assert contrast["reading"] == reading
    assert contrast["difference"] == pytest.approx((sum(closed) - sum(opened)) / 2, nan_ok=True)


def test_gaps_of_both_splits_stand_side_by_side_and_attributes_in_order() -> None:
    gaps = pd.DataFrame({"attribute": ["gender", "age", "accent"], "defense": "NR", "draws": 0, "gap": [0.1, 0.2, 0.3]})
    contrast = rejection_contrast(gaps, gaps.assign(gap=gaps["gap"] * 2))
    assert contrast["difference"].tolist() == pytest.approx([-0.1, -0.2, -0.3])
    assert order_of_attributes(gaps)["order"].tolist() == ["accent > age > gender"]


def test_tricks_missing_from_a_split_have_no_mean() -> None:
    both = pd.DataFrame({"tricks": ["without", "with"], "mean_clean_accuracy": [0.6, 0.9]})
    table = tricks_contrast(both, both[both["tricks"] == "with"])
    assert table["difference"].tolist() == pytest.approx([0.3, nan], nan_ok=True)
