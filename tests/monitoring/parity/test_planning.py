"""Plans against Student's quantile, the interval that they are plans of, and simulated audits that follow them."""

from math import inf, sqrt
from typing import Any

import numpy as np
import pytest
from scipy import stats
from simulated_speakers import table_of, uneven_table

from monitoring.parity import (
    Aim,
    Verdict,
    detectable_gap,
    gap,
    plan,
    speakers_for_equivalence,
    speakers_for_gap,
)


def share_of(verdict: Verdict, runs: int, speakers: int, means: list[float], sd: float, tolerance: float) -> float:
    rng = np.random.default_rng(2023)
    hits = 0
    for run in range(runs):
        groups = {}
        for k, mean in enumerate(means):
            strength = mean * (1 - mean) / sd**2 - 1
            groups[f"g{k}"] = rng.beta(mean * strength, (1 - mean) * strength, speakers)
        hits += gap(table_of(**groups), tolerance=tolerance, replicates=300, seed=run).verdict is verdict
    return hits / runs


def most_below(runs: int, power: float = 0.8) -> float:
    """Share that a true power falls below in 1 of 1000 simulations."""
    return float(stats.binom.ppf(0.001, runs, power)) / runs


@pytest.mark.parametrize("speakers", [20, 50, 400])
def test_two_groups_need_what_students_test_needs_and_a_little_for_the_bootstrap(speakers: int) -> None:
    t = stats.t.ppf(0.975, 2 * (speakers - 1))
    students = (t + stats.norm.ppf(0.8)) * 0.3 * sqrt(2 / speakers)
    planned = detectable_gap(speakers, speaker_sd=0.3, aim=Aim())
    assert students < planned < 1.02 * students
    assert detectable_gap(speakers, speaker_sd=0.3, aim=Aim(tolerance=0.05)) == pytest.approx(planned + 0.05)


@pytest.mark.parametrize("groups", [2, 5, 14])
@pytest.mark.parametrize("sd", [0.005, 0.1, 0.4])
@pytest.mark.parametrize("wanted", [0.15, 0.5])
def test_one_speaker_fewer_would_not_do(groups: int, sd: float, wanted: float) -> None:
    aim = Aim(groups=groups, tolerance=0.05)
    J = speakers_for_gap(wanted, speaker_sd=sd, aim=aim)
    assert detectable_gap(J, speaker_sd=sd, aim=aim) <= wanted
    assert J == 20 or detectable_gap(J - 1, speaker_sd=sd, aim=aim) > wanted


def test_under_the_fewest_speakers_nothing_is_found() -> None:
    assert detectable_gap(19, speaker_sd=0.1, aim=Aim()) == inf
    assert speakers_for_gap(0.9, speaker_sd=0.0, aim=Aim()) == 20


@pytest.mark.parametrize(("groups", "sd", "wanted", "tolerance"), [(2, 0.3, 0.2, 0.0), (4, 0.2, 0.2, 0.05)])
def test_audits_that_follow_the_plan_find_the_gap(groups: int, sd: float, wanted: float, tolerance: float) -> None:
    J = speakers_for_gap(wanted, speaker_sd=sd, aim=Aim(groups=groups, tolerance=tolerance))
    means = [0.3 + wanted, *[0.3] * (groups - 1)]
    assert share_of(Verdict.DISPARITY, 200, J, means, sd, tolerance) >= most_below(200)


def test_the_plan_for_two_groups_is_not_wasteful() -> None:
    J = speakers_for_gap(0.2, speaker_sd=0.3, aim=Aim())
    assert share_of(Verdict.DISPARITY, 200, J // 2, [0.5, 0.3], 0.3, 0.0) <= 0.7


@pytest.mark.parametrize(("groups", "sd"), [(2, 0.05), (2, 0.2), (4, 0.15)])
def test_audits_that_follow_the_plan_find_equal_groups_equivalent(groups: int, sd: float) -> None:
    J = speakers_for_equivalence(speaker_sd=sd, aim=Aim(groups=groups, tolerance=0.1))
    assert share_of(Verdict.EQUIVALENT, 200, J, [0.3] * groups, sd, 0.1) >= most_below(200)
    assert share_of(Verdict.EQUIVALENT, 200, J // 2, [0.3] * groups, sd, 0.1) <= 0.7


def test_no_plan_promises_equivalence_that_unseen_speakers_forbid() -> None:
    for sd in (0.0, 0.005, 0.01, 0.02):
        for tolerance in (0.02, 0.05, 0.1):
            J = speakers_for_equivalence(speaker_sd=sd, aim=Aim(tolerance=tolerance))
            assert np.log(2 / 0.05) / tolerance <= J
    J = speakers_for_equivalence(speaker_sd=0.0, aim=Aim(tolerance=0.05))
    assert gap(table_of(x=np.zeros(J), y=np.zeros(J)), tolerance=0.05, seed=1).verdict is Verdict.EQUIVALENT
    assert J <= 110  # 105 speakers of whom none is ever rejected are enough


def test_a_plan_from_an_audit_takes_each_groups_own_spread() -> None:
    rng = np.random.default_rng(1)
    table = table_of(
        steady=rng.normal(0.5, 0.05, 200), varied=rng.beta(0.5, 0.5, 200), tiny=np.ones(3), undeclared=np.ones(9)
    )
    plans = {row.group: row for row in plan(table, gap=0.2, aim=Aim(groups=3, tolerance=0.05))}
    assert set(plans) == {"steady", "varied", "tiny"}
    assert plans["steady"].speaker_sd == pytest.approx(0.05, rel=0.1)
    assert plans["steady"].speakers_for_gap < plans["varied"].speakers_for_gap
    assert plans["tiny"].detectable_gap == inf
    assert plans["tiny"].speaker_sd > 0.1
    assert plans["varied"].clips_per_speaker == 14
    expected = speakers_for_gap(0.2, speaker_sd=plans["varied"].speaker_sd, aim=Aim(groups=3, tolerance=0.05))
    assert plans["varied"].speakers_for_gap == expected
    (row, _) = plan(uneven_table(1, a=30, b=30), gap=0.2, aim=Aim())
    assert row.speakers_for_equivalence is None


@pytest.mark.parametrize(
    ("argument", "value"),
    [("groups", 1), ("tolerance", -0.1), ("confidence", 1.0), ("power", 0.3), ("min_speakers", 9)],
)
def test_an_aim_outside_its_range_is_refused(argument: str, value: float) -> None:
    arguments: dict[str, Any] = {argument: value}
    with pytest.raises(ValueError, match=argument):
        Aim(**arguments)


def test_what_no_number_of_speakers_shows_is_refused() -> None:
    with pytest.raises(ValueError, match="above the tolerance"):
        speakers_for_gap(0.05, speaker_sd=0.3, aim=Aim(tolerance=0.05))
    with pytest.raises(ValueError, match="differ by nothing at all"):
        speakers_for_equivalence(speaker_sd=0.3, aim=Aim())
    with pytest.raises(ValueError, match="more than 10,000,000 speakers"):
        speakers_for_gap(0.0001, speaker_sd=0.5, aim=Aim())
    with pytest.raises(ValueError, match=r"in \[0, 0.5\]"):
        speakers_for_gap(0.1, speaker_sd=0.6, aim=Aim())
    with pytest.raises(ValueError, match="no declared group has two speakers"):
        plan(table_of(x=np.ones(1), undeclared=np.ones(5)), gap=0.2, aim=Aim())
