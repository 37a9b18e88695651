"""How the rejection rate of clean clips moves with the threshold: the curve that AUC_FPR is the area of."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from monitoring.scores import ALPHA_STEP
from recognizer.defense import DefenseName

ALPHAS: tuple[float, ...] = (0.001, 0.002, 0.005, 0.01, *(round(0.02 * k, 2) for k in range(1, 51)))
"""Points of eq. 2's grid: closer at the strict end of randomized smoothing, where it is used."""


def rejection_curve(
    score: npt.NDArray[np.float64], rejector: str, alphas: tuple[float, ...] = ALPHAS
) -> tuple[float, ...]:
    """The share of clips that a rejector would turn away at each threshold alpha; [alphas].

    Neural rejection rejects iff confidence < alpha, and a clip's score is 1 - confidence; randomized smoothing abstains
    iff p > alpha, and the score is max(p - 0.001, 0) (`monitoring.scores`).

    Args:
        score: float64 [clips], each clip's part of AUC_FPR.
        rejector: `neural_rejection` or `smoothing`.
    """
    grid = np.asarray(alphas)
    limits = grid - ALPHA_STEP if rejector == DefenseName.SMOOTHING else 1.0 - grid
    above = len(score) - np.searchsorted(np.sort(score), limits, side="right")
    return tuple((above / len(score)).tolist())
