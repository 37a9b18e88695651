"""The closed forms of eq. 2 against the trapezoid, taken literally."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitoring.scores import ALPHA_STEP, auc_fpr_neural_rejection, auc_fpr_smoothing

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
