"""Speakers drawn again, with replacement, within their group: the cluster bootstrap.

A resample is J draws of J speakers, so only how often each is drawn matters. Speakers whose rows are equal are drawn
as one: with k different rows, how often each comes is multinomial over k cells, the same law at a fraction of the draws
where scores are counts. Both ways give the very distribution of the bootstrap; nothing is approximated.
"""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

from monitoring.parity.equal_rows import equal_rows
from monitoring.parity.sample import GroupSample

THREADS = 2
MANY_SPEAKERS = 5_000
"""From here on a group's replicates are drawn in blocks, by `THREADS` threads, each block with its own generator."""
_DRAWS_AT_ONCE = 50_000
"""Speakers drawn in one step: what a processor's cache holds. The numbers drawn do not depend on it."""
_BLOCK = 2_000_000
"""Speakers that a thread draws before it takes the next block."""
_DRAWS_PER_CELL = 12
"""A multinomial's cell takes as long as so many draws of a speaker."""


def resample(
    sample: GroupSample, replicates: int, generator: np.random.Generator
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """mu* - mu and v* of `replicates` resamples of J speakers with replacement, each float64 [replicates]."""
    n, r, J = sample.n, sample.r, sample.J
    N, R, RR, RN, NN = resampled_sums(np.stack([n, r, r * r, r * n, n * n], axis=1), replicates, generator).T
    shift = R / N
    squares = np.maximum(RR - 2.0 * shift * RN + shift**2 * NN, 0.0)
    return shift, J / (J - 1) * squares / N**2


def resampled_sums(
    columns: NDArray[np.float64], replicates: int, generator: np.random.Generator
) -> NDArray[np.float64]:
    """Sums of the columns over resamples of their rows.

    Args:
        columns: [J, m], one row a speaker.

    Returns:
        float64 [replicates, m].
    """
    J = len(columns)
    if J < MANY_SPEAKERS:
        return _drawn(columns, replicates, generator)
    first, kind = equal_rows(columns)
    different, times = columns[first], np.bincount(kind)
    is_counted = len(different) * _DRAWS_PER_CELL < J
    by_column = np.asfortranarray(columns)  # multiplies by a few rows of weights two or three times as fast
    rows = max(1, _BLOCK // (len(different) * _DRAWS_PER_CELL if is_counted else J))
    sizes = [min(rows, replicates - k) for k in range(0, replicates, rows)]

    def block(size: int, own: np.random.Generator) -> NDArray[np.float64]:
        if is_counted:
            return np.asarray(own.multinomial(J, times / J, size=size).astype(np.float64) @ different)
        return _drawn(by_column, size, own)

    with ThreadPoolExecutor(THREADS) as pool:
        return np.concatenate(list(pool.map(block, sizes, generator.spawn(len(sizes)))))


def _drawn(columns: NDArray[np.float64], replicates: int, generator: np.random.Generator) -> NDArray[np.float64]:
    J = len(columns)
    sums = np.empty((replicates, columns.shape[1]))
    step = max(1, _DRAWS_AT_ONCE // J)
    for first in range(0, replicates, step):
        rows = min(step, replicates - first)
        drawn = generator.integers(J, size=(rows, J))
        drawn += J * np.arange(rows)[:, None]
        weights = np.bincount(drawn.ravel(), minlength=rows * J).reshape(rows, J)
        sums[first : first + rows] = np.dot(weights.astype(np.float64), columns)  # `@` would hold up other threads
    return sums
