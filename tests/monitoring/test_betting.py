"""Betting against its definition, Ville's bound by simulation, and its use."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from monitoring.betting import BETS, Evidence, Pairing, alarm_level, log_evidence, log_growth

DIFFERENCES = st.lists(st.floats(-1, 1), max_size=40)


def wealth_by_hand(differences: list[float], tolerance: float) -> float:
    """A gambler's sixteen purses, each played out by itself."""
    purses = []
    for sign in (1, -1):
        for bet in BETS:
            purse = 1.0
            for difference in differences:
                purse *= 1 + bet / (1 + tolerance) * (sign * difference - tolerance)
            purses.append(purse)
    return sum(purses) / len(purses)


@given(DIFFERENCES, st.floats(0, 0.5))
def test_evidence_is_what_the_gambler_ends_up_with(differences: list[float], tolerance: float) -> None:
    evidence = Evidence(tolerance)
    evidence.add(differences)
    assert evidence.log_evidence == pytest.approx(math.log(wealth_by_hand(differences, tolerance)), abs=1e-9)
    assert evidence.pairs == len(differences)


@given(DIFFERENCES, DIFFERENCES, st.floats(0, 0.5))
def test_log_wealth_of_workers_adds_up(here: list[float], there: list[float], tolerance: float) -> None:
    whole, one, two = Evidence(tolerance), Evidence(tolerance), Evidence(tolerance)
    whole.add([*here, *there])
    one.add(here)
    two.add(there)
    np.testing.assert_allclose(one.log_wealth + two.log_wealth, whole.log_wealth, atol=1e-9)
    assert float(log_evidence(one.log_wealth + two.log_wealth)) == pytest.approx(whole.log_evidence, abs=1e-9)


@given(st.lists(st.sampled_from([-1.0, 1.0]), min_size=1, max_size=200), st.floats(0, 0.9))
def test_no_pair_can_ruin_the_gambler(differences: list[float], tolerance: float) -> None:
    assert np.isfinite(log_growth(np.array(differences), tolerance)).all()


def test_pairs_are_means_of_what_came_since_the_last_one() -> None:
    pairing = Pairing()
    assert pairing.add(0.2, is_of_group=False) is None
    assert pairing.add(0.4, is_of_group=False) is None
    assert pairing.add(1.0, is_of_group=True) == pytest.approx(0.7)
    assert pairing.add(0.5, is_of_group=True) is None
    assert pairing.add(0.1, is_of_group=True) is None
    assert pairing.add(0.8, is_of_group=False) == pytest.approx(-0.5)
    assert pairing.add(0.0, is_of_group=False) is None


def rates(p_group: float, p_rest: float, tolerance: float, *, runs: int, pairs: int) -> float:
    """The share of runs in which evidence ever reaches 2 groups / 0.05; 6 commands a session, 15 % the group's."""
    random = np.random.default_rng(0)
    group = random.binomial(6, p_group, (runs, pairs)) / 6
    between = 1 + random.geometric(0.15, (runs, pairs)) - 1
    rest = random.binomial(6 * between, p_rest) / (6 * between)
    wealth = log_growth(group - rest, tolerance).cumsum(axis=-1)
    ever = log_evidence(np.moveaxis(wealth, -1, -3)).max(axis=-1)
    return float((ever >= alarm_level(2, 0.05)).mean())


@pytest.mark.parametrize(("p_group", "tolerance"), [(0.1, 0.0), (0.12, 0.02)])
def test_where_the_difference_is_no_more_than_the_tolerance_alarms_are_rare(p_group: float, tolerance: float) -> None:
    runs = 2000
    alarms = round(runs * rates(p_group, 0.1, tolerance, runs=runs, pairs=300))
    assert stats.binomtest(alarms, runs, 0.05 / 2, alternative="greater").pvalue > 1e-3


def test_a_group_that_is_turned_away_twice_as_often_is_found() -> None:
    assert rates(0.2, 0.1, 0.02, runs=300, pairs=300) > 0.9


@pytest.mark.parametrize("difference", [1.0001, -1.5, math.nan, math.inf])
def test_a_score_outside_its_range_is_refused(difference: float) -> None:
    with pytest.raises(ValueError, match=r"outside \[-1, 1\]"):
        Evidence(0.0).add([difference])


@pytest.mark.parametrize("tolerance", [-0.1, 1.0, math.nan])
def test_a_tolerance_outside_its_range_is_refused(tolerance: float) -> None:
    with pytest.raises(ValueError, match="tolerance is"):
        log_growth(np.zeros(1), tolerance)


@pytest.mark.parametrize(("groups", "alpha"), [(0, 0.05), (2, 0.0), (2, 1.0)])
def test_an_alarm_needs_groups_and_an_alpha(groups: int, alpha: float) -> None:
    with pytest.raises(ValueError, match="accepted"):
        alarm_level(groups, alpha)
