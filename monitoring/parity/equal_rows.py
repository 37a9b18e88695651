"""Speakers whose rows are equal count as one kind."""

import numpy as np
from numpy.typing import NDArray


def equal_rows(columns: NDArray[np.float64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """A row of each kind, and the kind of each row, where rows of one kind are equal.

    Args:
        columns: [J, m].

    Returns:
        int64 [kinds], the kinds sorted by the last column, then by the one before it, and so on; int64 [J].
    """
    order = np.lexsort(columns.T)
    ordered = columns[order]
    is_new = np.append(True, (ordered[1:] != ordered[:-1]).any(axis=1))
    kind = np.empty(order.size, dtype=np.int64)
    kind[order] = np.cumsum(is_new) - 1
    return order[is_new], kind
