"""The variance between groups against its formula by hand and simulated corpora whose truth is known."""

from math import isnan, sqrt

import numpy as np
import pytest
from simulated_speakers import beta, most_of, table_of, uneven_table

from monitoring.parity import group_means, spread


def test_it_is_the_variance_of_the_means_less_their_mean_variance() -> None:
    table = uneven_table(1, a=25, b=40, c=60)
    means = group_means(table)
    mu = [mean.mean for mean in means]
    naive = sum((m - sum(mu) / 3) ** 2 for m in mu) / 2
    found = spread(table, seed=1)
    assert found.naive_variance == pytest.approx(naive, rel=1e-9)
    assert found.variance == pytest.approx(naive - sum(mean.variance for mean in means) / 3, rel=1e-9)
    assert found.sd == pytest.approx(sqrt(max(found.variance, 0.0)))


def test_it_has_no_bias_where_the_naive_one_has_and_its_interval_covers() -> None:
    runs, sizes = 300, (25, 40, 60, 30, 100, 25)
    for raised in (0.0, 0.15):
        truth = np.array([0.25 + raised, *[0.25] * 5]).var(ddof=1)
        errors, naive, covered = [], [], 0
        rng = np.random.default_rng(2)
        for run in range(runs):
            groups = {f"g{k}": beta(2, 6, size)(rng) for k, size in enumerate(sizes)}
            groups["g0"] = beta(3.2, 4.8, sizes[0])(rng) if raised else groups["g0"]
            found = spread(table_of(**groups), replicates=400, seed=run)
            errors.append(found.variance - truth)
            naive.append(found.naive_variance - truth)
            covered += found.lower <= truth <= found.upper
        assert abs(np.mean(errors)) <= 4 * np.std(errors) / sqrt(runs)
        assert np.mean(naive) > 4 * np.std(naive) / sqrt(runs)
        assert runs - covered <= most_of(runs, 0.07)


def test_equal_groups_seldom_show_a_spread() -> None:
    rng = np.random.default_rng(3)
    shown = sum(
        spread(table_of(**{f"g{k}": rng.beta(2, 6, 25) for k in range(5)}), replicates=400, seed=run).lower > 0.0
        for run in range(200)
    )
    assert shown <= most_of(200)


def test_small_groups_and_the_undeclared_do_not_count() -> None:
    rng = np.random.default_rng(4)
    declared = {"x": rng.beta(2, 4, 30), "y": rng.beta(2, 4, 30)}
    among = spread(table_of(**declared, undeclared=np.ones(50), tiny=np.ones(3)), seed=1)
    alone = spread(table_of(**declared), seed=1)
    assert (among.variance, among.lower, among.upper) == (alone.variance, alone.lower, alone.upper)
    assert among.too_small == ("tiny",)


def test_one_group_has_no_spread() -> None:
    found = spread(table_of(x=np.linspace(0, 1, 30)), seed=1)
    assert isnan(found.variance)
    assert isnan(found.sd)
    assert isnan(found.sd_lower)
    with pytest.raises(ValueError, match="min_speakers"):
        spread(table_of(x=np.linspace(0, 1, 30)), min_speakers=3, seed=1)
