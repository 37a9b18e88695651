"""The Pareto front: settings that no other one beats."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt


def pareto_front(objectives: npt.NDArray[np.float64]) -> npt.NDArray[np.bool_]:
    """Which settings are dominated by none.

    One dominates another if it is at least as good in every objective and better in one; of equal ones none dominates
    the other, so they are on the front together or not at all.

    Args:
        objectives: float64 [settings, objectives]; larger is better.

    Returns:
        bool [settings].

    Raises:
        ValueError: NaN, which is neither better nor worse.
    """
    if np.isnan(objectives).any():
        raise ValueError("an objective is NaN; leave out objectives that were not measured of every setting")
    ours, theirs = objectives[:, None], objectives[None]
    dominates = (ours >= theirs).all(axis=2) & (ours > theirs).any(axis=2)
    return np.asarray(~dominates.any(axis=0), dtype=np.bool_)
