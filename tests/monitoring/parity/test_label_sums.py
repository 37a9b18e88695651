"""Sums of rows by label against a slow loop, whether labels are counted or rows added."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from numpy.typing import NDArray

from monitoring.parity.equal_rows import equal_rows
from monitoring.parity.label_sums import sums_by_label


def slow_sums(columns: NDArray[np.float64], labels: NDArray[np.int64], groups: int) -> NDArray[np.float64]:
    return np.array([[columns[row == group].sum(axis=0) for group in range(groups)] for row in labels])


def rows_of(kind: str, speakers: int) -> NDArray[np.float64]:
    rng = np.random.default_rng(1)
    if kind == "continuous":
        return rng.normal(size=(speakers, 3))
    n = rng.integers(1, 4, speakers).astype(float)
    return np.stack([n, rng.integers(0, 2, speakers) - 0.3 * n, n * n], axis=1)


@pytest.mark.parametrize("kind", ["counts", "continuous"])
@pytest.mark.parametrize(("groups", "dtype"), [(3, np.uint8), (7, np.uint8), (300, np.int64)])
def test_rows_are_summed_by_label(kind: str, groups: int, dtype: type) -> None:
    columns = rows_of(kind, 9_000)
    labels = np.random.default_rng(2).integers(groups - 1, size=(4, 9_000)).astype(dtype)
    sums_of = sums_by_label(columns, groups, at_once=4)
    for some in (labels, labels[:1], labels[1:3]):
        assert sums_of(some) == pytest.approx(slow_sums(columns, some, groups), rel=1e-12, abs=1e-9)
        assert (sums_of(some)[:, groups - 1] == 0.0).all()  # a label that nobody has


@pytest.mark.parametrize("kind", ["counts", "continuous"])
def test_threads_may_share_the_function(kind: str) -> None:
    columns = rows_of(kind, 5_000)
    every = np.random.default_rng(3).integers(5, size=(40, 2, 5_000)).astype(np.uint8)
    sums_of = sums_by_label(columns, 5, at_once=2)
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(sums_of, every))
    assert all((one == sums_of(labels)).all() for one, labels in zip(together, every, strict=True))


def test_equal_rows_are_one_kind() -> None:
    columns = np.random.default_rng(4).integers(0, 3, size=(500, 3)).astype(float)
    first, kind = equal_rows(columns)
    assert (columns[first][kind] == columns).all()
    assert len(first) == len({tuple(row) for row in columns.tolist()})
    assert columns[first].tolist() == sorted(columns[first].tolist(), key=lambda row: row[::-1])
