"""Shrunken means against DerSimonian and Laird in loops, exact additive truths, and simulated groups."""

from dataclasses import replace
from math import isnan

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from simulated_speakers import table_of, uneven_table

from monitoring.parity import SpeakerTable, group_means, shrunken_intersections, shrunken_means
from monitoring.parity.additive import pooled_speaker_variance
from monitoring.parity.sample import samples_of


def shrunk_by_loops(mu: list[float], v: list[float]) -> list[float]:
    """DerSimonian & Laird's random effects, one sum after another."""
    w = [1 / x for x in v]
    fixed = sum(a * b for a, b in zip(w, mu, strict=True)) / sum(w)
    Q = sum(a * (b - fixed) ** 2 for a, b in zip(w, mu, strict=True))
    tau2 = max(0.0, (Q - (len(mu) - 1)) / (sum(w) - sum(a * a for a in w) / sum(w)))
    w = [1 / (x + tau2) for x in v]
    m = sum(a * b for a, b in zip(w, mu, strict=True)) / sum(w)
    return [m + tau2 / (tau2 + x) * (b - m) for x, b in zip(v, mu, strict=True)]


def test_large_groups_are_shrunk_as_dersimonian_and_laird_do() -> None:
    rng = np.random.default_rng(1)
    table = table_of(a=rng.beta(2, 6, 30), b=rng.beta(4, 6, 40), c=rng.beta(3, 6, 15), d=rng.beta(2, 3, 10))
    means = group_means(table)
    expected = shrunk_by_loops([mean.mean for mean in means], [mean.variance for mean in means])
    found = shrunken_means(table)
    assert [mean.shrunken for mean in found] == pytest.approx(expected, rel=1e-6)
    assert [mean.mean for mean in found] == pytest.approx([mean.mean for mean in means])


def test_a_small_group_takes_the_variance_of_all_speakers() -> None:
    table = uneven_table(2, a=40, b=50, tiny=2)
    squares = freedom = 0.0
    for name in ("a", "b", "tiny"):
        rows = np.flatnonzero(table.group == name)
        mu = table.score[rows].sum() / table.clips[rows].sum()
        squares += sum((table.score[j] - mu * table.clips[j]) ** 2 for j in rows)
        freedom += (1 - 1 / rows.size) * sum(table.clips[j] ** 2 for j in rows)
    assert pooled_speaker_variance(list(samples_of(table).values())) == pytest.approx(squares / freedom)
    means = {mean.group: mean for mean in group_means(table)}
    tiny = table.clips[table.group == "tiny"]
    v = [means["a"].variance, means["b"].variance, squares / freedom * (tiny**2).sum() / tiny.sum() ** 2]
    expected = shrunk_by_loops([means[name].mean for name in ("a", "b", "tiny")], v)
    assert [mean.shrunken for mean in shrunken_means(table)] == pytest.approx(expected, rel=1e-6)


def test_one_speaker_is_not_believed() -> None:
    rng = np.random.default_rng(3)
    groups = {f"g{k}": rng.beta(2, 6, 60) for k in range(6)}
    *_, alone = shrunken_means(table_of(**groups, single=np.array([1.0])))
    assert (alone.group, alone.speakers, alone.mean) == ("single", 1, 1.0)
    assert alone.shrunken < 0.35


def test_undeclared_is_listed_raw_and_lends_nothing() -> None:
    rng = np.random.default_rng(4)
    declared = {"british": rng.beta(2, 4, 30), "other": rng.beta(4, 4, 30)}
    *among, last = shrunken_means(table_of(**declared, undeclared=np.ones(500)))
    assert (last.group, last.mean, last.speakers) == ("undeclared", 1.0, 500)
    assert isnan(last.shrunken)
    assert isnan(last.fitted)
    assert tuple(among) == shrunken_means(table_of(**declared))


def test_nothing_to_borrow_from_leaves_the_mean() -> None:
    (alone,) = shrunken_means(table_of(x=np.array([0.25, 0.5])))
    assert alone.shrunken == alone.mean == 0.375
    (nobody,) = shrunken_means(table_of(undeclared=np.array([0.25])))
    assert isnan(nobody.shrunken)


def test_no_spread_at_all_is_no_error() -> None:
    assert [mean.shrunken for mean in shrunken_means(table_of(x=np.zeros(25), y=np.zeros(3)))] == [0.0, 0.0]
    x, y = shrunken_means(table_of(x=np.zeros(25), y=np.ones(1)))
    assert x.shrunken < 0.1
    assert 0.0 <= y.shrunken < 1.0


def test_shrunken_means_lie_nearer_to_the_truth() -> None:
    rng = np.random.default_rng(5)
    sizes = (200, 60, 30, 12, 6, 4, 3, 2)
    for sd in (0.0, 0.08):
        raw = shrunken = 0.0
        for _ in range(100):
            truth = np.clip(rng.normal(0.3, sd, len(sizes)), 0.05, 0.6)
            groups = {
                f"g{k}": rng.beta(4 * p, 4 * (1 - p), n) for k, (p, n) in enumerate(zip(truth, sizes, strict=True))
            }
            for mean, p in zip(shrunken_means(table_of(**groups)), truth, strict=True):
                raw += (mean.mean - p) ** 2
                shrunken += (mean.shrunken - p) ** 2
        assert shrunken < 0.6 * raw


@settings(max_examples=60)
@given(st.integers(0, 2**32), st.lists(st.integers(1, 30), min_size=1, max_size=8))
def test_a_shrunken_mean_lies_between_the_raw_one_and_the_fit(seed: int, sizes: list[int]) -> None:
    for mean in shrunken_means(uneven_table(seed, **{f"g{k}": size for k, size in enumerate(sizes)})):
        low, high = sorted((mean.mean, mean.fitted))
        assert low - 1e-9 <= mean.shrunken <= high + 1e-9


# Intersections


def crossed(rates: dict[tuple[str, str], tuple[float, int]], rng: np.random.Generator) -> dict[str, SpeakerTable]:
    """Two attributes' tables: (accent, gender) -> (mean, speakers)."""
    accent, gender, score = [], [], []
    for (first, second), (rate, speakers) in rates.items():
        accent += [first] * speakers
        gender += [second] * speakers
        score += list(rng.beta(8 * rate, 8 * (1 - rate), speakers))
    speaker = np.array([f"s{j:04}" for j in range(len(score))])
    return {
        attribute: SpeakerTable(speaker, np.array(groups), np.full(len(score), 5), 5 * np.array(score))
        for attribute, groups in (("accent", accent), ("gender", gender))
    }


def test_an_intersection_of_one_speaker_goes_to_the_sum_of_the_effects() -> None:
    rng = np.random.default_rng(6)
    tables = crossed(
        {("us", "f"): (0.2, 300), ("us", "m"): (0.1, 300), ("scots", "f"): (0.5, 300), ("scots", "m"): (0.4, 300)}
        | {("irish", "f"): (0.4, 300), ("irish", "m"): (0.3, 1)},
        rng,
    )
    cells = {cell.group: cell for cell in shrunken_intersections(tables)}
    assert list(cells) == sorted(cells)
    assert cells["irish * m"].speakers == 1
    assert cells["irish * m"].shrunken == pytest.approx(0.3, abs=0.06)
    assert cells["scots * f"].shrunken == pytest.approx(0.5, abs=0.03)


def test_what_two_attributes_do_together_is_kept_where_many_speakers_show_it() -> None:
    rates = {(a, g): (0.2, 200) for a in ("us", "scots", "irish") for g in ("f", "m")} | {("scots", "f"): (0.6, 200)}
    cells = {cell.group: cell for cell in shrunken_intersections(crossed(rates, np.random.default_rng(7)))}
    assert cells["scots * f"].shrunken == pytest.approx(cells["scots * f"].mean, abs=0.01)
    assert cells["scots * f"].fitted < 0.5


def test_a_plain_least_squares_gives_the_fit_where_all_know_equally_much() -> None:
    tables = crossed({(a, g): (0.3, 50) for a in ("x", "y", "z") for g in ("f", "m")}, np.random.default_rng(8))
    tables = {name: replace(table, score=np.resize([1.0, 2.0, 1.5, 1.2, 1.9], 300)) for name, table in tables.items()}
    shifted = {name: replace(t, score=t.score + 0.7 * (tables["accent"].group == "y")) for name, t in tables.items()}
    cells = shrunken_intersections(shifted)
    y = np.array([cell.mean for cell in cells])
    by_hand = y.reshape(3, 2).mean(axis=1, keepdims=True) + y.reshape(3, 2).mean(axis=0) - y.mean()
    assert [cell.fitted for cell in cells] == pytest.approx(list(by_hand.ravel()), rel=1e-9)


@pytest.mark.parametrize("score", [0.0, 5.0])
def test_intersections_of_which_nobody_or_everybody_is_rejected_are_no_error(score: float) -> None:
    """All cells are alike, and no variance is left to weigh them by: most have a speaker or two."""
    rng = np.random.default_rng(11)
    speakers = np.array([f"s{j:04}" for j in range(300)])
    tables = {
        attribute: SpeakerTable(
            speakers, rng.choice([f"{attribute}{k}" for k in range(n)], 300), np.full(300, 5), np.full(300, score)
        )
        for attribute, n in (("accent", 14), ("age", 9), ("gender", 3))
    }
    cells = shrunken_intersections(tables)
    assert len(cells) > 100
    for cell in cells:
        assert cell.mean == score / 5
        assert cell.fitted == pytest.approx(score / 5, abs=1e-6)
        assert cell.shrunken == pytest.approx(score / 5, abs=1e-6)


def test_intersections_with_an_undeclared_attribute_are_listed_raw() -> None:
    rates = {(a, g): (0.3, 30) for a in ("x", "y") for g in ("f", "m")} | {("undeclared", "f"): (0.9, 30)}
    cells = {cell.group: cell for cell in shrunken_intersections(crossed(rates, np.random.default_rng(9)))}
    assert isnan(cells["undeclared * f"].shrunken)
    assert cells["undeclared * f"].mean == pytest.approx(0.9, abs=0.1)
    assert sum(cell.speakers for cell in cells.values()) == 150


def test_tables_of_other_clips_are_refused() -> None:
    tables = crossed({("x", "f"): (0.3, 30), ("y", "m"): (0.3, 30)}, np.random.default_rng(10))
    with pytest.raises(ValueError, match="two or more make an intersection"):
        shrunken_intersections({"accent": tables["accent"]})
    with pytest.raises(ValueError, match="same speakers, clips and scores"):
        shrunken_intersections({**tables, "gender": replace(tables["gender"], clips=np.full(60, 6))})
