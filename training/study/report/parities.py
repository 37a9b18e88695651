"""Groups' mean scores and the gaps between them, with intervals over speakers, as rows of tables."""

from __future__ import annotations

from collections.abc import Sequence
from math import isnan

import pandas as pd

from monitoring.parity import FEWEST_SPEAKERS, Gap, SpeakerTable, gap, group_means
from recognizer.groups import UNDECLARED
from training.study.folder import StudyError

GROUP_COLUMNS = ("attribute", "group", "speakers", "clips", "mean", "lower", "upper", "note")
GAP_COLUMNS = ("attribute", "groups", "gap", "gap_compared", "lower", "upper", "groups_compared", "note")
CONFIDENCE = 0.95
REPLICATES = 2000
TOO_FEW = "too few speakers"
"""A gap without two groups of at least `FEWEST_SPEAKERS` speakers: its value only, no interval."""


def group_scores(
    clips: pd.DataFrame, scores: pd.Series, *, attributes: Sequence[str], full_scale: float = 1.0
) -> pd.DataFrame:
    """Every group's mean score, `undeclared` included and noted.

    Args:
        clips: a row a clip, indexed by clip: `speaker` and the attributes.
        scores: float [clips], indexed by clip, in [0, full_scale].
        full_scale: the largest score there can be.

    Returns:
        `attribute, group, speakers, clips, mean, lower, upper, note`; the interval is over speakers.

    Raises:
        StudyError: a speaker who is in two groups of an attribute.
    """
    rows = [
        {
            "attribute": attribute,
            "group": mean.group,
            "speakers": mean.speakers,
            "clips": mean.clips,
            "mean": full_scale * mean.mean,
            "lower": full_scale * mean.lower,
            "upper": full_scale * mean.upper,
            "note": group_note(mean.group, mean.speakers),
        }
        for attribute in attributes
        for mean in group_means(_speakers(clips, scores, attribute, full_scale), confidence=CONFIDENCE)
    ]
    return pd.DataFrame(rows, columns=list(GROUP_COLUMNS))


def group_gaps(
    clips: pd.DataFrame, scores: pd.Series, *, attributes: Sequence[str], seed: int, full_scale: float = 1.0
) -> pd.DataFrame:
    """Every attribute's gap, the largest minus the smallest mean of its declared groups; arguments as `group_scores`.

    Returns:
        `attribute, groups, gap, gap_compared, lower, upper, groups_compared, note`: `gap` is over all declared groups
        (the paper's parity, biased upward by small ones), `gap_compared` and its simultaneous interval over those with
        at least 10 speakers.

    Raises:
        StudyError: a speaker who is in two groups of an attribute.
    """
    rows = []
    for attribute in attributes:
        table = _speakers(clips, scores, attribute, full_scale)
        found = gap(
            table,
            tolerance=0.0,
            min_speakers=FEWEST_SPEAKERS,
            confidence=CONFIDENCE,
            replicates=REPLICATES,
            seed=seed,
        )
        rows.append(
            {
                "attribute": attribute,
                "groups": len(found.compared) + len(found.too_small),
                "gap": full_scale * found.value,
                "gap_compared": full_scale * found.value_compared,
                "lower": full_scale * found.lower,
                "upper": full_scale * found.upper,
                "groups_compared": len(found.compared),
                "note": _gap_note(found),
            }
        )
    return pd.DataFrame(rows, columns=list(GAP_COLUMNS))


def with_first(table: pd.DataFrame, *columns: str) -> pd.DataFrame:
    """The table with these columns in front of the others."""
    return table[[*columns, *(column for column in table.columns if column not in columns)]]


def group_note(group: str, speakers: int) -> str:
    """What a reader must know of a group before comparing it."""
    if group == UNDECLARED:
        return "in no gap"
    return f"under {FEWEST_SPEAKERS} speakers" if speakers < FEWEST_SPEAKERS else ""


def _gap_note(found: Gap) -> str:
    if isnan(found.value):
        return "fewer than two declared groups"
    if len(found.compared) < 2:
        return TOO_FEW
    small = len(found.too_small)
    return f"groups under {FEWEST_SPEAKERS} speakers: {small}" if small else ""


def _speakers(clips: pd.DataFrame, scores: pd.Series, attribute: str, full_scale: float) -> SpeakerTable:
    rows = clips.loc[scores.index]
    try:
        return SpeakerTable.from_clips(
            speaker=rows["speaker"].to_numpy(dtype=str),
            group=rows[attribute].to_numpy(dtype=str),
            score=(scores.to_numpy(dtype=float) / full_scale).clip(0.0, 1.0),
        )
    except ValueError as error:
        raise StudyError(f"the groups of {attribute!r} can't be compared: {error}") from error
