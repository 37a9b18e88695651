"""Per-clip scores whose group means are the paper's metrics.

AUC_acc (Richards et al. 2023, eq. 1) is the area under a group's accuracy as an attacker's eps runs from 0 to its
largest value, by the trapezoid rule over the attacked eps, and is not divided by their range.

AUC_FPR (Richards et al. 2023, eq. 2) is the area under a group's rejection rate as the rejector's alpha runs over
the grid 0.001, 0.002, ..., 1.000, by the trapezoid rule, on clean clips.

A trapezoid is linear in the curve, so the area under a group's mean curve is the group's mean of a per-clip area. That
of AUC_FPR has a closed form for both rejectors; each lies within half a grid step (0.0005) of the literal trapezoid,
clip by clip.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from recognizer.decision import OF_DEFENSE, Decision
from recognizer.steps import steps_of

ALPHA_STEP = 0.001
"""Spacing of eq. 2's alpha grid, and its first point."""


def auc_acc(is_correct: ArrayLike, eps: Sequence[float]) -> NDArray[np.float64]:
    """Eq. 1: the area under each clip's being right, over eps; a constant accuracy a over [0, 0.3] gives 0.3 a.

    Args:
        is_correct: bool [levels, clips]: whether the clip was right under the attack at each eps; nothing else is
            taken for it, for NaN would count as right.
        eps: [levels], raw amplitude, increasing; the first is 0, the clean clips.

    Returns:
        float64 [clips], in [0, eps[-1]].

    Raises:
        ValueError: not bool, another number of levels than eps, or eps that do not increase from 0.

    Source: Richards et al. 2023, eq. 1. The constant rows of its Tables 1 and 2 settle the range, [0, 0.3], and that it
    is not divided out.
    """
    curve, levels = np.asarray(is_correct), np.asarray(eps, dtype=np.float64)
    if curve.dtype != np.bool_:
        raise ValueError(f"is_correct is of {curve.dtype}; bool is accepted: leave out clips without an outcome")
    if curve.ndim != 2 or len(curve) != len(levels) or len(levels) < 2:
        raise ValueError(
            f"is_correct has the shape {curve.shape} and there are {len(levels)} eps; "
            "[levels, clips] with one eps a level, and at least 2 levels, are accepted"
        )
    if levels[0] != 0 or not bool((np.diff(levels) > 0).all()):
        raise ValueError(f"eps is {levels.tolist()}; values that increase from 0 are accepted")
    return np.asarray(np.trapezoid(curve.astype(np.float64), levels, axis=0), dtype=np.float64)


def auc_fpr_neural_rejection(confidence: ArrayLike) -> NDArray[np.float64]:
    """Eq. 2 for neural rejection, which rejects a clip iff confidence < alpha: 1 - confidence.

    Args:
        confidence: float [clips], the top calibrated probability, or the top margin cut to [0, 1].

    Returns:
        float64 [clips], in [0, 1]; within half a grid step of the trapezoid over
        alpha = 0.001, 0.002, ..., 1.000 for every confidence >= 0.0005 (the top of K probabilities is >= 1 / K), and
        within a whole one for a margin of 0 or less.

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


def rejected_by_neural_rejection(confidence: ArrayLike, confidence_threshold: float) -> NDArray[np.bool_]:
    """Whether neural rejection turns each clip away at one setting: confidence < confidence_threshold.

    A group's mean of it is its rejection rate there; over all settings those make the curve whose area is AUC_FPR.

    Args:
        confidence: float [clips], as of `auc_fpr_neural_rejection`.
        confidence_threshold: in [0, 1].

    Returns:
        bool [clips].

    Raises:
        ValueError: a confidence or the threshold is NaN or outside [0, 1].
    """
    threshold = float(_unit_interval(confidence_threshold, "confidence_threshold"))
    return np.asarray(_unit_interval(confidence, "confidence") < threshold)


def rejected_by_smoothing(p_value: ArrayLike, error_alpha: float) -> NDArray[np.bool_]:
    """Whether randomized smoothing abstains on each clip at one setting: p > error_alpha.

    Args:
        p_value: float [clips], as of `auc_fpr_smoothing`; of a vote that was stopped early only an error_alpha of
            0.001 or more can be asked for, which `recognizer.smoothing` sees to.
        error_alpha: in [0, 1].

    Returns:
        bool [clips].

    Raises:
        ValueError: a p-value or error_alpha is NaN or outside [0, 1].
    """
    alpha = float(_unit_interval(error_alpha, "error_alpha"))
    return np.asarray(_unit_interval(p_value, "p_value") > alpha)


def rejection_score(decision: Decision) -> float | None:
    """A decision's part of AUC_FPR, in [0, 1]; None where no rejection defense scored the clip, or several did.

    Eq. 2 runs over one threshold: a combined defense has one a part, and so a score a part.
    """
    certificate = decision.certificate
    if certificate is None or decision.parts:
        return None
    if certificate.p_value is not None:
        return float(auc_fpr_smoothing(certificate.p_value))
    if decision.confidence is not None:
        return float(auc_fpr_neural_rejection(decision.confidence))
    return None


def part_scores(decision: Decision) -> dict[str, float]:
    """Of a combined defense, the score of each part that ran, by the part's name; empty of any other."""
    scores = {part.defense: rejection_score(part.decision) for part in decision.parts}
    return {part: score for part, score in scores.items() if score is not None}


def scored_live(defense: str) -> str:
    """The `defense` of the live histogram of a defense's scores: its own name or, of a combined one, `NAME/FIRST`.

    On live traffic the later parts hear only what the first lets through. The mean of their scores would be that of
    those clips, which are more of one group's than of another's exactly where the first part is unfair, and a gap of
    it no gap of the defense. So only the first part's are exported; an audit, which asks every part, has them all.
    """
    steps = steps_of(defense)
    return f"{defense}/{steps.rejectors[0]}" if steps.is_combined else defense


def live_score(decision: Decision) -> float | None:
    """What a decision adds to the histogram of `scored_live`; None where nothing that may be compared is known.

    A later part that ran out of time takes nothing from the first one's score: it would be missing where the vote is
    hard, and so more often in one group than in another.
    """
    scored = decision.parts[0].decision if decision.parts else decision
    return rejection_score(scored) if scored.outcome in OF_DEFENSE else None


def _unit_interval(values: ArrayLike, name: str) -> NDArray[np.float64]:
    array = np.asarray(values, dtype=np.float64)
    outside = ~((array >= 0.0) & (array <= 1.0))
    if outside.any():
        raise ValueError(
            f"{int(outside.sum())} of {array.size} values of {name} are NaN or outside [0, 1], "
            f"the first is {array[outside].flat[0]}; a probability is accepted: leave out clips that have none"
        )
    return array
