"""Whom neural rejection and randomized smoothing turn away for nothing: Figures 6 and 7, section 5.2, and the cost.

AUC_FPR (eq. 2) is the mean of a per-clip score on clean test clips; neural rejection has one, randomized smoothing one
for every number of draws N, nested in one stream.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from math import nan
from typing import NamedTuple

import pandas as pd

from monitoring.parity import FEWEST_SPEAKERS
from recognizer.groups import UNDECLARED
from training.study.report.correlations import DESCRIPTIVE, Correlation, correlate
from training.study.report.evidence import SplitEvidence
from training.study.report.judgement import GUESSING, is_guesser
from training.study.report.parities import group_gaps, group_scores, with_first

NEURAL_REJECTION, SMOOTHING = "NR", "RS"
NEURAL_REJECTION_ON_ALL = "NR, all clips"
"""Smoothing is measured on the attacked test clips; `NR` is on the same ones, to be compared, and this on all."""
OVERALL = "overall"
POOLED = "attributes pooled"
"""Every speaker is in a group of each, so the points are no independent draws of anything: no p, no interval."""
ALL_GROUPS, COMPARED_GROUPS = "all groups", f"{FEWEST_SPEAKERS}+ speakers"


class Setting(NamedTuple):
    """One rejector over the clean test clips."""

    defense: str
    draws: int
    """0 for neural rejection"""
    scores: pd.Series
    """float [clips], indexed by clip, in [0, 1]"""
    accuracy: float
    """how often the leading command, accepted or not, is right"""
    seconds: float
    """a clip, on average"""


def settings(split: SplitEvidence) -> Iterator[Setting]:
    """Neural rejection, then smoothing by N; nothing for a rejector without a file."""
    rejection, smoothing = split.neural_rejection, split.smoothing
    if rejection is not None:
        is_shared = rejection["clip"].isin(rejection["clip"] if smoothing is None else smoothing["clip"])
        yield _setting(NEURAL_REJECTION, 0, rejection[is_shared])
        if not is_shared.all():
            yield _setting(NEURAL_REJECTION_ON_ALL, 0, rejection)
    if smoothing is not None:
        for draws, rows in smoothing.groupby("draws"):
            yield _setting(SMOOTHING, int(str(draws)), rows)


def _setting(defense: str, draws: int, rows: pd.DataFrame) -> Setting:
    scores = rows.set_index("clip")["score"]
    return Setting(defense, draws, scores, float(rows["is_right"].mean()), float(rows["seconds"].mean()))


def overall_auc_fpr(split: SplitEvidence) -> pd.DataFrame:
    """AUC_FPR over all clips, and how often the leading command is right, without which it says nothing.

    Returns:
        `defense, draws, auc_fpr, lower, upper, accuracy, is_guesser, speakers, clips, seconds_per_clip`; a guesser's
        accuracy, or its network's on clean clips, is at most 1.1 x chance.
    """
    rows = []
    everyone = split.clips.assign(**{OVERALL: "everyone"})
    for setting in settings(split):
        found = group_scores(everyone, setting.scores, attributes=(OVERALL,)).iloc[0]
        rows.append(
            {
                "defense": setting.defense,
                "draws": setting.draws,
                "auc_fpr": found["mean"],
                "lower": found["lower"],
                "upper": found["upper"],
                "accuracy": setting.accuracy,
                "is_guesser": setting.accuracy <= GUESSING * split.chance or _sits_on_guesser(split, setting.defense),
                "speakers": found["speakers"],
                "clips": found["clips"],
                "seconds_per_clip": setting.seconds,
            }
        )
    estimate = ["auc_fpr", "lower", "upper", "accuracy", "is_guesser"]
    return pd.DataFrame(rows, columns=["defense", "draws", *estimate, "speakers", "clips", "seconds_per_clip"])


def _sits_on_guesser(split: SplitEvidence, defense: str) -> bool:
    network = split.smoothing_network if defense == SMOOTHING else split.undefended
    return network is not None and is_guesser(network, split.chance)


def auc_fpr_groups(split: SplitEvidence) -> pd.DataFrame:
    """Every group's AUC_FPR: `defense, draws` and the columns of `group_scores`."""
    return _each(split, lambda scores: group_scores(split.clips, scores, attributes=split.attributes))


def auc_fpr_gaps(split: SplitEvidence, *, seed: int) -> pd.DataFrame:
    """Figures 6 and 7, and the cost of parity: `defense, draws, seconds_per_clip` and the columns of `group_gaps`."""
    return _each(split, lambda scores: group_gaps(split.clips, scores, attributes=split.attributes, seed=seed))


def size_correlations(split: SplitEvidence, groups: pd.DataFrame) -> pd.DataFrame:
    """Section 5.2.2: a declared group's training clips |X_train,s| against its AUC_FPR.

    Args:
        groups: of `auc_fpr_groups`.

    Returns:
        `defense, draws, attribute` and the fields of `Correlation`; the attribute `overall` is all groups together,
        without p and interval.
    """
    training = split.part("train")
    sizes = {(a, g): n for a in split.attributes for g, n in training[a].value_counts().items()}
    declared = groups[groups["group"] != UNDECLARED]
    rows = []
    for (defense, draws), points in declared.groupby(["defense", "draws"], sort=False):
        parts = [(a, points[points["attribute"] == a]) for a in split.attributes]
        for attribute, part in [*parts, (OVERALL, points)]:
            clips = [sizes.get(key, 0) for key in zip(part["attribute"], part["group"], strict=True)]
            found = correlate(clips, part["mean"])
            if attribute == OVERALL:
                found = replace(found, lower=nan, upper=nan, pearson_p=nan, spearman_p=nan, note=found.note or POOLED)
            rows.append({"defense": defense, "draws": draws, "attribute": attribute} | vars(found))
    return pd.DataFrame(rows, columns=["defense", "draws", "attribute", *Correlation.__dataclass_fields__])


def size_summary(correlations: pd.DataFrame) -> pd.DataFrame:
    """The same as the paper reports it: NR's correlation, and RS's as mean +- standard deviation (n - 1) over N.

    Returns:
        `defense, attribute, groups, pearson, pearson_sd, pearson_p, spearman, spearman_sd, note`; no p for smoothing,
        whose draws share one stream and one network.
    """
    rows = []
    for (defense, attribute), part in correlations.groupby(["defense", "attribute"], sort=False):
        is_single = defense != SMOOTHING
        note, n = str(part["note"].iloc[0]), part["pearson"].count()
        notes = [note, "" if is_single else f"mean over {n} values of N"]
        rows.append(
            {
                "defense": defense,
                "attribute": attribute,
                "groups": int(part["n"].iloc[0]),
                "pearson": float(part["pearson"].mean()),
                "pearson_sd": None if is_single else float(part["pearson"].std(ddof=1)),
                "pearson_p": DESCRIPTIVE if note == DESCRIPTIVE else part["pearson_p"].iloc[0] if is_single else None,
                "spearman": float(part["spearman"].mean()),
                "spearman_sd": None if is_single else float(part["spearman"].std(ddof=1)),
                "note": ", ".join(filter(None, notes)),
            }
        )
    return pd.DataFrame(rows)


def draws_for_parity(gaps: pd.DataFrame) -> pd.DataFrame:
    """How many draws make smoothing as equal as neural rejection.

    Args:
        gaps: of `auc_fpr_gaps`.

    Returns:
        `attribute, among, gap_NR, draws, gap_RS, seconds_per_clip, note`: the fewest draws at which RS's gap is no
        larger than NR's, over all declared groups and among those of at least 10 speakers; all NaN where none is, or
        where one of the two was not measured. The note is the gaps' own.
    """
    rows = []
    for attribute, part in gaps.groupby("attribute", sort=False):
        rejection = part[part["defense"] == NEURAL_REJECTION]
        if rejection.empty:
            continue
        for among, gap in ((ALL_GROUPS, "gap"), (COMPARED_GROUPS, "gap_compared")):
            equal = part[(part["defense"] == SMOOTHING) & (part[gap] <= rejection[gap].iloc[0])].sort_values("draws")
            first = equal.iloc[0] if len(equal) else None
            rows.append(
                {
                    "attribute": attribute,
                    "among": among,
                    "gap_NR": rejection[gap].iloc[0],
                    "draws": None if first is None else int(first["draws"]),
                    "gap_RS": None if first is None else first[gap],
                    "seconds_per_clip": None if first is None else first["seconds_per_clip"],
                    "note": rejection["note"].iloc[0],
                }
            )
    columns = ["attribute", "among", "gap_NR", "draws", "gap_RS", "seconds_per_clip", "note"]
    return pd.DataFrame(rows, columns=columns).astype({"draws": "Int64"})


def _each(split: SplitEvidence, tabulate: Callable[[pd.Series], pd.DataFrame]) -> pd.DataFrame:
    parts = [
        tabulate(each.scores).assign(defense=each.defense, draws=each.draws, seconds_per_clip=each.seconds)
        for each in settings(split)
    ]
    return with_first(pd.concat(parts, ignore_index=True), "defense", "draws", "seconds_per_clip")
