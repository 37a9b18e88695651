"""How a model's defenses, or a group's size, go together with what groups get: Figures 2 to 5 and section 5.2.2.

Every defense's presence (0 or 1) or level (0 included) is correlated with the models' defense parity, a gap: a negative
correlation means that the defense goes with *more equal* protection.

The p-values and intervals treat the points as independent draws. The models of a study are a designed grid that shares
clips and speakers, so both are too sure; with three points or fewer they mean nothing at all, and are not given.

Source: Richards et al. 2023, section 5.1, Figures 2 to 5; section 5.2.2.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import nan

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy import stats

FEWEST_POINTS = 4
"""Fewer points describe themselves and nothing else; Fisher's z has no standard error there either."""
ROUNDING = 1e-12
"""Values whose range is at most this share of the largest are constant: what differs are the orders of sums."""
CONFIDENCE = 0.95
DESCRIPTIVE = "descriptive"
PRESENCE = {"AT": "adversarial_eps", "Tricks": "tricks", "noise": "noise_sigma"}
"""Factor of Figures 2 and 4 -> column of the models."""
LEVELS = {"AT budget": "adversarial_eps", "noise level": "noise_sigma"}
"""Factor of Figures 3 and 5 -> column of the models."""


@dataclass(frozen=True)
class Correlation:
    """Pearson's r and Spearman's rho of n points; NaN where there is none, with the reason in `note`."""

    n: int
    pearson: float
    lower: float
    """Of the interval for Pearson's r, by Fisher's z: tanh(artanh r -+ z / sqrt(n - 3))"""
    upper: float
    pearson_p: float
    spearman: float
    spearman_p: float
    note: str
    """`descriptive`, why there is no number, or nothing"""


def correlate(x: ArrayLike, y: ArrayLike) -> Correlation:
    """Both correlations of the points at which both values are finite.

    Args:
        x: float [points].
        y: float [points].

    Raises:
        ValueError: x and y of different lengths.
    """
    first, second = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
    if first.shape != second.shape or first.ndim != 1:
        raise ValueError(f"x and y have shapes {first.shape} and {second.shape}; flat ones of one length are accepted")
    is_known = np.isfinite(first) & np.isfinite(second)
    first, second = first[is_known], second[is_known]
    n = int(first.size)
    if n < 2:
        return _without(n, "too few points")
    for name, values in (("x", first), ("y", second)):
        if np.ptp(values) <= ROUNDING * np.abs(values).max():
            return _without(n, f"{name} is constant")
    pearson, spearman = stats.pearsonr(first, second), stats.spearmanr(first, second)
    r, rho = float(pearson.statistic), float(spearman.statistic)
    if n < FEWEST_POINTS:
        return Correlation(n, r, nan, nan, nan, rho, nan, DESCRIPTIVE)
    interval = pearson.confidence_interval(CONFIDENCE)
    return Correlation(
        n=n,
        pearson=r,
        lower=float(interval.low),
        upper=float(interval.high),
        pearson_p=float(pearson.pvalue),
        spearman=rho,
        spearman_p=float(spearman.pvalue),
        note="",
    )


def presence_correlations(models: pd.DataFrame, parity: pd.DataFrame) -> pd.DataFrame:
    """Figures 2 and 4: whether a defense was applied, against defense parity.

    Args:
        models: a row a model: `key`, `tricks`, `adversarial_eps`, `noise_sigma`.
        parity: a row a model and attribute: `key`, `attribute`, `gap`.

    Returns:
        A row an attribute and factor: `attribute, factor` and the fields of `Correlation`.
    """
    applied = models.assign(**{column: (models[column] > 0).astype(float) for column in PRESENCE.values()})
    return _by_attribute(applied, parity, PRESENCE)


def level_correlations(models: pd.DataFrame, parity: pd.DataFrame) -> pd.DataFrame:
    """Figures 3 and 5: a defense's level, 0 included, against defense parity; otherwise as `presence_correlations`."""
    return _by_attribute(models, parity, LEVELS)


def in_words(correlations: pd.DataFrame) -> pd.DataFrame:
    """The table as it is shown: the word in place of a p-value that would mean nothing."""
    is_descriptive = correlations["note"] == DESCRIPTIVE
    return correlations.assign(
        **{p: correlations[p].astype(object).mask(is_descriptive, DESCRIPTIVE) for p in ("pearson_p", "spearman_p")}
    )


def _by_attribute(models: pd.DataFrame, parity: pd.DataFrame, factors: dict[str, str]) -> pd.DataFrame:
    rows = []
    for attribute, gaps in parity.groupby("attribute", sort=False):
        joined = models.merge(gaps, on="key", validate="one_to_one")
        for factor, column in factors.items():
            rows.append({"attribute": attribute, "factor": factor} | vars(correlate(joined[column], joined["gap"])))
    return pd.DataFrame(rows, columns=["attribute", "factor", *Correlation.__dataclass_fields__])


def _without(n: int, why: str) -> Correlation:
    return Correlation(n, nan, nan, nan, nan, nan, nan, why)
