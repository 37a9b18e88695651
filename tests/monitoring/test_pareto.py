"""The Pareto front against its definition, pair by pair."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from monitoring.thresholds.pareto import pareto_front

few_levels = st.sampled_from([-1.0, 0.0, 0.5, 2.0, 3.0])
"""So that ties are common."""


@given(arrays.arrays(np.float64, st.tuples(st.integers(1, 12), st.integers(1, 5)), elements=few_levels))
def test_a_setting_is_on_the_front_iff_none_is_as_good_everywhere_and_better_somewhere(objectives: np.ndarray) -> None:
    rows = objectives.tolist()

    def beats(a: list[float], b: list[float]) -> bool:
        return all(x >= y for x, y in zip(a, b, strict=True)) and a != b

    expected = [not any(beats(other, row) for other in rows) for row in rows]
    assert pareto_front(objectives).tolist() == expected
    assert any(expected)


def test_equal_settings_stand_together() -> None:
    assert pareto_front(np.array([[1.0, 2.0], [1.0, 2.0], [0.0, 2.0]])).tolist() == [True, True, False]


def test_an_objective_that_was_not_measured_is_refused() -> None:
    with pytest.raises(ValueError, match="NaN"):
        pareto_front(np.array([[1.0, np.nan], [0.0, 1.0]]))
