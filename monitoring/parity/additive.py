"""Means shrunk to an additive fit: what small groups borrow from the others.

Groups' means mu_g with variances v~_g scatter around a fit X beta with a variance tau2 of their own:

    tau2 = max(0, (Q - (G - rank X)) / tr P)     Q = y' P y, W = diag(1 / v~), P = W - W X (X' W X)^+ X' W
    beta = weighted least squares with weights 1 / (v~ + tau2)
    mu~_g = fit_g + tau2 / (tau2 + v~_g) (mu_g - fit_g)

With a column of ones for X this is DerSimonian & Laird's random-effects mean. A group of which much is known keeps its
own mean, one of which little is known goes to where the others say it should lie.

Source: DerSimonian & Laird 1986, 2007 (any design); Efron & Morris 1975; Herlihy et al. 2024 (intersections of groups).
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from monitoring.parity.sample import GroupSample

OWN_VARIANCE_SPEAKERS = 10
"""Groups of fewer speakers take the variance that speakers have in all groups together."""

Numbers = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class AdditiveFit:
    """[groups] each."""

    fitted: Numbers
    """where the others say a group lies"""
    shrunken: Numbers
    """mu~_g"""
    tau2: float
    """variance of the true means around the fit"""


def shrink(mu: Numbers, v: Numbers, X: Numbers) -> AdditiveFit:
    """Shrink means to the additive fit.

    Args:
        mu: [groups], raw means.
        v: [groups], their variances, positive.
        X: [groups, columns], the design; columns may depend on each other.
    """
    if mu.size <= np.linalg.matrix_rank(X):  # the fit goes through every mean: there is nothing to learn tau2 from
        return AdditiveFit(fitted=mu, shrunken=mu, tau2=0.0)
    tau2 = _variance_around_fit(mu, v, X)
    fitted = X @ _weighted_least_squares(mu, 1.0 / (v + tau2), X)
    return AdditiveFit(fitted=fitted, shrunken=fitted + tau2 / (tau2 + v) * (mu - fitted), tau2=tau2)


def shrinking_variances(samples: list[GroupSample]) -> Numbers:
    """v~_g: v_g of groups with `OWN_VARIANCE_SPEAKERS` speakers or more, else the pooled sigma2 sum n_j^2 / N_g^2.

    A group whose own v_g is 0 takes the pooled one too. Where all groups together show no variance, it is that of
    speakers who are turned away always or never, mu (1 - mu), the most that scores in [0, 1] can have.
    """
    sigma2 = pooled_speaker_variance(samples)
    if sigma2 <= 0.0:
        mu = sum(sample.mu * sample.N for sample in samples) / sum(sample.N for sample in samples)
        sigma2 = max(mu * (1.0 - mu), np.finfo(float).eps)
    pooled = np.array([sigma2 * np.square(sample.n).sum() / sample.N**2 for sample in samples])
    own = np.array([sample.v if sample.J >= OWN_VARIANCE_SPEAKERS else 0.0 for sample in samples])
    return np.where(own > 0.0, own, pooled)


def pooled_speaker_variance(samples: list[GroupSample]) -> float:
    """sigma2 = sum_g sum_j (s_j - mu_g n_j)^2 / sum_g (1 - 1/J_g) sum_j n_j^2: of speakers within their groups, so
    that v_g is sigma2 sum n_j^2 / N_g^2 in the mean. 0 where no group has two speakers."""
    squares = sum(float(np.square(sample.r).sum()) for sample in samples)
    freedom = sum((1.0 - 1.0 / sample.J) * float(np.square(sample.n).sum()) for sample in samples)
    return squares / freedom if freedom > 0.0 else 0.0


def _variance_around_fit(y: Numbers, v: Numbers, X: Numbers) -> float:
    w = 1.0 / v
    scale = float(w.max())
    w = w / scale
    residual = y - X @ _weighted_least_squares(y, w, X)
    Q = scale * float((w * residual**2).sum())
    WX = w[:, None] * X
    trace = scale * float(w.sum() - np.trace(np.linalg.pinv(X.T @ WX) @ (WX.T @ WX)))
    return max(0.0, (Q - (y.size - int(np.linalg.matrix_rank(X)))) / trace)


def _weighted_least_squares(y: Numbers, w: Numbers, X: Numbers) -> Numbers:
    root = np.sqrt(w / w.max())
    return np.asarray(np.linalg.lstsq(root[:, None] * X, root * y, rcond=None)[0])
