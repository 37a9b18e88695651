"""Eq. 1 and the closed forms of eq. 2 against the trapezoid, taken literally, and the paper's constant rows."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monitoring.scores import (
    ALPHA_STEP,
    auc_acc,
    auc_fpr_neural_rejection,
    auc_fpr_smoothing,
    rejected_by_neural_rejection,
    rejected_by_smoothing,
)

ALPHAS = [k / 1000 for k in range(1, 1001)]
HALF_STEP = 5e-4 + 1e-12


def trapezoid(rejects: list[bool]) -> float:
    return sum(0.001 * (rejects[k] + rejects[k + 1]) / 2 for k in range(999))


def neural_rejection_literally(confidence: float) -> float:
    return trapezoid([confidence < alpha for alpha in ALPHAS])


def smoothing_literally(p_value: float) -> float:
    return trapezoid([p_value > alpha for alpha in ALPHAS])


@given(st.floats(ALPHA_STEP / 2, 1.0))
def test_neural_rejection_is_within_half_a_grid_step_of_the_trapezoid(confidence: float) -> None:
    closed = float(auc_fpr_neural_rejection([confidence])[0])
    assert abs(closed - neural_rejection_literally(confidence)) <= HALF_STEP


@given(st.floats(0.0, 1.0))
def test_smoothing_is_within_half_a_grid_step_of_the_trapezoid(p_value: float) -> None:
    closed = float(auc_fpr_smoothing([p_value])[0])
    assert abs(closed - smoothing_literally(p_value)) <= HALF_STEP


@pytest.mark.parametrize("on_the_grid", [0.001, 0.002, 0.25, 0.5, 0.999, 1.0])
def test_both_hold_on_the_grid_itself_where_the_rules_are_strict(on_the_grid: float) -> None:
    nr = float(auc_fpr_neural_rejection(on_the_grid))
    rs = float(auc_fpr_smoothing(on_the_grid))
    assert abs(nr - neural_rejection_literally(on_the_grid)) <= HALF_STEP
    assert abs(rs - smoothing_literally(on_the_grid)) <= HALF_STEP


@given(st.lists(st.floats(0.001, 1.0), min_size=1, max_size=20))
def test_a_groups_mean_score_is_the_area_under_its_rejection_rate(confidences: list[float]) -> None:
    rate = [float(np.mean([c < alpha for c in confidences])) for alpha in ALPHAS]
    area = sum(0.001 * (rate[k] + rate[k + 1]) / 2 for k in range(999))
    assert abs(float(auc_fpr_neural_rejection(confidences).mean()) - area) <= HALF_STEP


def test_a_clip_that_is_never_turned_away_scores_zero() -> None:
    assert auc_fpr_neural_rejection([1.0]).tolist() == [0.0]
    assert auc_fpr_smoothing([0.0, 1e-9, 0.001]).tolist() == [0.0, 0.0, 0.0]


def test_a_smoothing_tie_scores_the_whole_grid() -> None:
    assert float(auc_fpr_smoothing([1.0])[0]) == pytest.approx(0.999)


def test_a_surer_network_scores_lower_and_a_larger_p_value_higher() -> None:
    grid = np.linspace(0.0, 1.0, 501)
    assert (np.diff(auc_fpr_neural_rejection(grid)) < 0).all()
    assert (np.diff(auc_fpr_smoothing(grid)) >= 0).all()


def test_the_shape_is_kept_and_no_clips_give_no_scores() -> None:
    assert auc_fpr_neural_rejection(np.full((2, 3), 0.5, dtype=np.float32)).shape == (2, 3)
    assert auc_fpr_smoothing([]).shape == (0,)


@pytest.mark.parametrize("bad", [float("nan"), -0.01, 1.01, float("inf")])
def test_what_is_no_probability_is_refused(bad: float) -> None:
    with pytest.raises(ValueError, match="1 of 2 values of confidence are NaN or outside"):
        auc_fpr_neural_rejection([0.5, bad])
    with pytest.raises(ValueError, match="1 of 2 values of p_value are NaN or outside"):
        auc_fpr_smoothing([0.5, bad])


# Rejection at one setting


@settings(max_examples=15)
@given(st.lists(st.floats(0.001, 1.0), min_size=1, max_size=20))
def test_the_area_under_the_rejection_rates_of_all_settings_is_auc_fpr(scores: list[float]) -> None:
    nr = np.trapezoid([rejected_by_neural_rejection(scores, alpha).mean() for alpha in ALPHAS], dx=0.001)
    rs = np.trapezoid([rejected_by_smoothing(scores, alpha).mean() for alpha in ALPHAS], dx=0.001)
    assert abs(nr - auc_fpr_neural_rejection(scores).mean()) <= HALF_STEP
    assert abs(rs - auc_fpr_smoothing(scores).mean()) <= HALF_STEP


def test_a_clip_on_the_threshold_is_kept_by_both() -> None:
    assert rejected_by_neural_rejection([0.4, 0.5, 0.6], 0.5).tolist() == [True, False, False]
    assert rejected_by_smoothing([0.0005, 0.001, 0.002], 0.001).tolist() == [False, False, True]


@pytest.mark.parametrize("bad", [float("nan"), -0.01, 1.01])
def test_a_setting_or_score_that_is_no_probability_is_refused(bad: float) -> None:
    with pytest.raises(ValueError, match="confidence_threshold"):
        rejected_by_neural_rejection([0.5], bad)
    with pytest.raises(ValueError, match="error_alpha"):
        rejected_by_smoothing([0.5], bad)
    with pytest.raises(ValueError, match="values of p_value"):
        rejected_by_smoothing([bad], 0.001)


# Eq. 1

EPS = (0.0, 0.0001, 0.001, 0.01, 0.1, 0.2, 0.3)


def area_literally(is_correct: list[list[bool]]) -> float:
    """Accuracy at each eps of eq. 1's integrand, then one trapezoid after another."""
    accuracy = []
    for level in is_correct:
        right = 0
        for clip in level:
            right += clip
        accuracy.append(right / len(level))
    area = 0.0
    for k in range(len(EPS) - 1):
        area += (EPS[k + 1] - EPS[k]) * (accuracy[k] + accuracy[k + 1]) / 2
    return area


@given(
    st.integers(1, 9).flatmap(
        lambda n: st.lists(st.lists(st.booleans(), min_size=n, max_size=n), min_size=7, max_size=7)
    )
)
def test_a_groups_mean_auc_acc_is_the_area_under_its_accuracy(is_correct: list[list[bool]]) -> None:
    assert float(auc_acc(is_correct, EPS).mean()) == pytest.approx(area_literally(is_correct), abs=1e-12)


@pytest.mark.parametrize(
    ("right", "clips", "accuracy", "area"),
    [
        (670, 7640, 0.087696, 0.026309),
        (614, 7640, 0.080366, 0.02411),
        (589, 7640, 0.077094, 0.023128),
        (600, 6000, 0.1, 0.03),
    ],
)
def test_a_constant_accuracy_has_the_area_of_the_papers_constant_rows(
    right: int, clips: int, accuracy: float, area: float
) -> None:
    constant = np.tile(np.arange(clips) < right, (len(EPS), 1))
    assert round(float(constant[0].mean()), 6) == accuracy
    assert float(auc_acc(constant, EPS).mean()) == pytest.approx(area, abs=1e-6)


def test_a_clip_broken_at_the_smallest_eps_scores_half_of_it() -> None:
    is_correct = np.zeros((7, 2), dtype=bool)
    is_correct[0, 0] = True
    assert auc_acc(is_correct, EPS).tolist() == [pytest.approx(0.00005), 0.0]


def test_four_fifths_of_the_area_lie_at_the_three_largest_eps() -> None:
    large = np.array([[False]] * 4 + [[True]] * 3)
    assert float(auc_acc(large, EPS)[0]) == pytest.approx(0.09 / 2 + 0.1 + 0.1)


@pytest.mark.parametrize("eps", [(0.0001, 0.001), (0.0, 0.0), (0.0, 0.2, 0.1), (0.0,), (0.0, float("nan"))])
def test_eps_that_do_not_increase_from_0_are_refused(eps: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match="accepted"):
        auc_acc(np.ones((len(eps), 3), dtype=bool), eps)


@pytest.mark.parametrize("value", [1, 1.0, np.nan, "yes", None])
def test_outcomes_that_are_not_bool_are_refused(value: object) -> None:
    with pytest.raises(ValueError, match="bool is accepted"):
        auc_acc([[value, value]] * len(EPS), EPS)


def test_a_curve_of_another_number_of_levels_is_refused() -> None:
    with pytest.raises(ValueError, match=r"shape \(6, 4\) and there are 7 eps"):
        auc_acc(np.ones((6, 4), dtype=bool), EPS)
