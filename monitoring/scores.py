"""Per-clip scores whose group means are the paper's metrics.

AUC_FPR (Richards et al. 2023, eq. 2) is the area under a group's rejection rate as the rejector's alpha runs over
the grid 0.001, 0.002, ..., 1.000, by the trapezoid rule, on clean clips. A trapezoid is linear in the rejections, so
the area of a group's mean rejection is the group's mean of a per-clip area, which has a closed form for both
rejectors. Each closed form lies within half a grid step (0.0005) of the literal trapezoid, clip by clip.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from recognizer.decision import Decision

ALPHA_STEP = 0.001
"""Spacing of eq. 2's alpha grid, and its first point."""


def auc_fpr_neural_rejection(confidence: ArrayLike) -> NDArray[np.float64]:
    """Eq. 2 for neural rejection, which rejects a clip iff confidence < alpha: 1 - confidence.

    Args:
        confidence: float [clips], the top calibrated probability, in [0, 1].

    Returns:
        float64 [clips], in [0, 1]; within half a grid step of the trapezoid over
        alpha = 0.001, 0.002, ..., 1.000 for every confidence >= 0.0005 (the top of K probabilities is >= 1 / K).

    Raises:
        ValueError: a confidence is NaN or outside [0, 1].

    Source: Richards et al. 2023, eq. 2.
    """
    return 1.0 - _unit_interval(confidence, "confidence")


def auc_fpr_smoothing(p_value: ArrayLike) -> NDArray[np.float64]:
    """Eq. 2 for randomized smoothing, which abstains on a clip iff p > alpha: max(p - 0.001, 0).

    Args:
        p_value: float [clips], of the binomial test of the top two counts, in [0, 1].

    Returns:
        float64 [clips], in [0, 0.999]; within half a grid step of the trapezoid over
        alpha = 0.001, 0.002, ..., 1.000.

    Raises:
        ValueError: a p-value is NaN or outside [0, 1].

    Source: Richards et al. 2023, eq. 2.
    """
    return np.maximum(_unit_interval(p_value, "p_value") - ALPHA_STEP, 0.0)


def rejection_score(decision: Decision) -> float | None:
    """A decision's part of AUC_FPR, in [0, 1]; None where no rejection defense scored the clip."""
    certificate = decision.certificate
    if certificate is None:
        return None
    if certificate.p_value is not None:
        return float(auc_fpr_smoothing(certificate.p_value))
    if decision.confidence is not None:
        return float(auc_fpr_neural_rejection(decision.confidence))
    return None


def _unit_interval(values: ArrayLike, name: str) -> NDArray[np.float64]:
    array = np.asarray(values, dtype=np.float64)
    outside = ~((array >= 0.0) & (array <= 1.0))
    if outside.any():
        raise ValueError(
            f"{int(outside.sum())} of {array.size} values of {name} are NaN or outside [0, 1], "
            f"the first is {array[outside].flat[0]}; a probability is accepted: leave out clips that have none"
        )
    return array
