"""What a sample can't say of speakers whom it did not meet: q_g and f_g of the package's docstring."""

from math import log

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from monitoring.parity.sample import GroupSample

SPREAD_SPEAKERS = 4
"""Speakers that must carry a group's spread before it is believed."""
SPREAD_SD = 0.01
"""Standard deviation of speakers' scores, on the scale [0, 1], below which a group counts as constant."""

Numbers = NDArray[np.float64]


def unseen_share(sample: GroupSample, confidence: float, *, groups_claimed: int) -> float:
    """q_g = ln(G / (1 - confidence)) / J_g."""
    return log(groups_claimed / (1.0 - confidence)) / sample.J


def unseen_variance(sample: GroupSample, confidence: float, *, groups_claimed: int) -> float:
    """f_g = (q_g / z)^2, or 0 for a group that shows its spread."""
    squares = np.square(sample.r / sample.n)
    J, v, d2, d4 = (np.array([x]) for x in (sample.J, sample.v, squares.sum(), np.square(squares).sum()))
    return float(unseen_variances(J, v, d2, d4, confidence, groups_claimed=groups_claimed)[0])


def unseen_variances(
    J: Numbers, v: Numbers, d2: Numbers, d4: Numbers, confidence: float, *, groups_claimed: int
) -> Numbers:
    """`unseen_variance` of many groups at once.

    Args:
        J: [..., groups], speakers.
        v: likewise, v_g.
        d2: sum_j d_j^2, with d_j = s_j / n_j - mu_g.
        d4: sum_j d_j^4.
    """
    is_carried = d2**2 >= np.minimum(SPREAD_SPEAKERS, J / 4) * d4
    shows_spread = is_carried & (np.sqrt(J * v) >= SPREAD_SD)
    z = float(stats.norm.ppf((1.0 + confidence) / 2.0))
    return np.where(shows_spread, 0.0, (log(groups_claimed / (1.0 - confidence)) / J / z) ** 2)
