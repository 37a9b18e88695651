"""Known speakers against unknown ones: what the closed and the open split say differently (5.1.3 and 5.2.3)."""

from __future__ import annotations

from math import nan

import pandas as pd

CLOSED, OPEN = "closed", "open"


def correlation_contrast(closed: pd.DataFrame, opened: pd.DataFrame) -> pd.DataFrame:
    """Section 5.1.3: whether a defense goes with more equal or less equal protection in either split.

    Args:
        closed: of `presence_correlations` or `level_correlations`, or both below each other.
        opened: the same for the open split.

    Returns:
        `attribute, factor`, then `n, pearson, lower, upper` of either split, their `difference` (closed - open) and
        `reading`: whether both intervals leave 0 on the same side, on opposite sides, or at least one covers it.
    """
    fields = ["n", "pearson", "lower", "upper"]
    keys = ["attribute", "factor"]
    both = closed[keys + fields].merge(opened[keys + fields], on=keys, suffixes=(f"_{CLOSED}", f"_{OPEN}"))
    both["difference"] = both[f"pearson_{CLOSED}"] - both[f"pearson_{OPEN}"]
    both["reading"] = [
        _reading(_side(row["lower_closed"], row["upper_closed"]), _side(row["lower_open"], row["upper_open"]))
        for row in both.to_dict("records")
    ]
    return both


def rejection_contrast(closed: pd.DataFrame, opened: pd.DataFrame) -> pd.DataFrame:
    """Section 5.2.3: the gaps in AUC_FPR: `attribute, defense, draws, gap_closed, gap_open, difference`.

    Args:
        closed: of `auc_fpr_gaps`.
        opened: the same for the open split.
    """
    keys = ["attribute", "defense", "draws"]
    both = closed[[*keys, "gap"]].merge(opened[[*keys, "gap"]], on=keys, suffixes=(f"_{CLOSED}", f"_{OPEN}"))
    return both.assign(difference=both[f"gap_{CLOSED}"] - both[f"gap_{OPEN}"])


def order_of_attributes(gaps: pd.DataFrame) -> pd.DataFrame:
    """By which attribute a rejector is least equal: `defense, draws, order`, largest gap first.

    Args:
        gaps: of `auc_fpr_gaps`.
    """
    rows = []
    for (defense, draws), part in gaps.dropna(subset="gap").groupby(["defense", "draws"], sort=False):
        order = " > ".join(part.sort_values("gap", ascending=False, kind="stable")["attribute"])
        rows.append({"defense": defense, "draws": draws, "order": order})
    return pd.DataFrame(rows, columns=["defense", "draws", "order"])


def tricks_contrast(closed: pd.DataFrame, opened: pd.DataFrame) -> pd.DataFrame:
    """What Tricks do to clean accuracy in either split: `split, with, without, difference`, means over models."""
    rows = []
    for name, table in ((CLOSED, closed), (OPEN, opened)):
        means = dict(zip(table["tricks"], table["mean_clean_accuracy"], strict=True))
        has, lacks = means.get("with", nan), means.get("without", nan)
        rows.append({"split": name, "with": has, "without": lacks, "difference": has - lacks})
    return pd.DataFrame(rows)


def _side(lower: float, upper: float) -> int:
    """On which side of 0 an interval lies; 0 if it covers 0 or is none."""
    return 1 if lower > 0 else -1 if upper < 0 else 0


def _reading(closed: int, opened: int) -> str:
    if 0 in (closed, opened):
        return "unclear in closed and open" if closed == opened else f"unclear in {OPEN if closed else CLOSED}"
    if closed != opened:
        return "opposite"
    return "less equal in both" if closed > 0 else "more equal in both"
