"""The cluster bootstrap's sums against the moments that resampling has in theory, and a slow loop."""

from math import sqrt

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from monitoring.parity.resample import MANY_SPEAKERS, resampled_sums


def rows_of(kind: str, speakers: int) -> NDArray[np.float64]:
    rng = np.random.default_rng(1)
    if kind == "continuous":
        return rng.normal(size=(speakers, 2))
    return np.stack([rng.integers(1, 6, speakers), rng.integers(0, 3, speakers)], axis=1).astype(float)


@pytest.mark.parametrize("kind", ["continuous", "counts"])
@pytest.mark.parametrize("speakers", [400, 2 * MANY_SPEAKERS])
def test_sums_have_the_moments_of_draws_with_replacement(kind: str, speakers: int) -> None:
    rows = rows_of(kind, speakers)
    sums = resampled_sums(rows, 1500, np.random.default_rng(2))
    expected = speakers * np.cov(rows.T, bias=True)
    assert np.abs(sums.mean(axis=0) - rows.sum(axis=0)).max() <= 4 * sqrt(expected.max() / 1500)
    assert np.cov(sums.T) == pytest.approx(expected, rel=0.15, abs=0.15 * expected.max())
    again = resampled_sums(rows, 1500, np.random.default_rng(2))
    assert (again == sums).all()


@pytest.mark.parametrize("kind", ["continuous", "counts"])
def test_the_ways_for_many_speakers_draw_from_the_law_of_a_slow_loop(kind: str) -> None:
    rows = rows_of(kind, MANY_SPEAKERS)
    rng = np.random.default_rng(3)
    slow = [rows[rng.choice(MANY_SPEAKERS, MANY_SPEAKERS)].sum(axis=0) for _ in range(600)]
    fast = resampled_sums(rows, 600, np.random.default_rng(4))
    for column in (0, 1):
        assert stats.ks_2samp(np.array(slow)[:, column], fast[:, column]).pvalue > 0.001
