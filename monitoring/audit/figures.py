"""Outcomes to figures: of every group its accuracy, false rejections and AUC_FPR, and the gaps between groups."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from typing import NamedTuple

import numpy as np
import pandas as pd

from monitoring.audit.curves import rejection_curve
from monitoring.audit.evidence import ClipScores, delta_result, estimates_of, gap_result, intersection_result
from monitoring.audit.outcomes import PART
from monitoring.audit.result import (
    AttributeResult,
    DefenseResult,
    Estimate,
    FalseAcceptance,
    GroupResult,
    IntersectionResult,
    Metric,
    PartScore,
    RejectionCurve,
)
from monitoring.measured import AuditSettings
from recognizer.decision import UNKNOWN, Outcome
from recognizer.manifest import SOUND
from recognizer.steps import steps_of

COMPARED: tuple[Metric, ...] = ("rejection", "accuracy")
"""What every defense has: those that intersections and comparisons with the baseline are made of."""
EVERYBODY = "all"
"""The group of the overall figures."""


class Figure(NamedTuple):
    """A metric, and of a combined defense's AUC_FPR the part that it is of."""

    metric: Metric
    part: str | None = None


def defense_result(
    outcomes: pd.DataFrame,
    defense: str,
    attributes: Sequence[str],
    settings: AuditSettings,
    *,
    baseline: pd.DataFrame | None = None,
) -> DefenseResult:
    """The figures of one defense.

    Args:
        outcomes: of this defense; see `monitoring.audit.outcomes`.
        baseline: of the defense that it is compared with, on the same clips in the same order.
    """
    (overall,) = _group_results(outcomes, pd.Series(EVERYBODY, index=outcomes.index), defense, settings)
    crossings = [*combinations(attributes, 2), *([tuple(attributes)] if len(attributes) > 2 else [])]
    return DefenseResult(
        defense=defense,
        overall=overall,
        attributes=tuple(_attribute_result(outcomes, a, defense, settings, baseline) for a in attributes),
        sounds=_false_acceptances(outcomes[outcomes["command"] == UNKNOWN]),
        intersections=tuple(_intersection(outcomes, c, m) for c in crossings for m in COMPARED),
    )


def scores_of(outcomes: pd.DataFrame, groups: pd.Series[str]) -> dict[Figure, ClipScores]:
    """The scores, over clips of commands, of each figure that this defense has."""
    is_command = outcomes["command"] != UNKNOWN
    commands, groups = outcomes[is_command], groups[is_command]
    parts = [c.removeprefix(PART) for c in map(str, commands.columns) if c.startswith(PART)]
    scores = {
        Figure("auc_fpr"): np.asarray(commands["score"], dtype=np.float64),
        **{Figure("auc_fpr", part): np.asarray(commands[f"{PART}{part}"], dtype=np.float64) for part in parts},
        Figure("rejection"): np.asarray(commands["outcome"] == Outcome.REJECTED, dtype=np.float64),
        Figure("accuracy"): np.asarray(commands["correct"], dtype=np.float64),
    }
    speaker, group = commands["speaker"].to_numpy(dtype=str), groups.to_numpy(dtype=str)
    return {
        figure: ClipScores(speaker=speaker, group=group, score=score)
        for figure, score in scores.items()
        if not np.isnan(score).any()
    }


def _attribute_result(
    outcomes: pd.DataFrame, attribute: str, defense: str, settings: AuditSettings, baseline: pd.DataFrame | None
) -> AttributeResult:
    figures = scores_of(outcomes, outcomes[attribute])
    before = {} if baseline is None else scores_of(baseline, baseline[attribute])
    return AttributeResult(
        attribute=attribute,
        groups=_group_results(outcomes, outcomes[attribute], defense, settings),
        gaps=tuple(gap_result(s, settings, metric=f.metric, part=f.part) for f, s in figures.items()),
        deltas=tuple(
            delta_result(before[Figure(metric)], figures[Figure(metric)], settings, metric=metric)
            for metric in COMPARED
            if before
        ),
    )


def _intersection(outcomes: pd.DataFrame, attributes: Sequence[str], metric: Metric) -> IntersectionResult:
    by_attribute = {a: scores_of(outcomes, outcomes[a])[Figure(metric)] for a in attributes}
    return intersection_result(by_attribute, metric=metric)


def _false_acceptances(others: pd.DataFrame) -> dict[str, FalseAcceptance]:
    """By what the clips are, of those of which the manifest says it."""
    is_accepted = (others["outcome"] == Outcome.ACCEPTED).groupby(others[SOUND])
    return {
        str(sound): FalseAcceptance(clips=len(part), accepted=int(part.sum())) for sound, part in is_accepted if sound
    }


def _group_results(
    outcomes: pd.DataFrame, groups: pd.Series[str], defense: str, settings: AuditSettings
) -> tuple[GroupResult, ...]:
    """A result for every group that has clips of commands."""
    scores = scores_of(outcomes, groups)
    estimates = {figure: estimates_of(of_figure, settings) for figure, of_figure in scores.items()}
    is_other = outcomes["command"] == UNKNOWN
    is_accepted = outcomes["outcome"] == Outcome.ACCEPTED
    parts = [figure for figure in scores if figure.part is not None]

    def estimate(figure: Figure, group: str) -> Estimate:
        return estimates[figure][group]

    def false_acceptance(group: str) -> FalseAcceptance | None:
        others = is_accepted[is_other & (groups == group)]
        return FalseAcceptance(clips=len(others), accepted=int(others.sum())) if len(others) else None

    def curve(figure: Figure, group: str) -> RejectionCurve:
        column = "score" if figure.part is None else f"{PART}{figure.part}"
        rows = outcomes.loc[~is_other & (groups == group), column]
        rejector = figure.part or steps_of(defense).rejectors[0].value
        return RejectionCurve(part=figure.part, rejection=rejection_curve(np.asarray(rows, dtype=np.float64), rejector))

    speakers = scores[Figure("accuracy")].table
    counted = {
        str(name): (int((speakers.group == name).sum()), int(speakers.clips[speakers.group == name].sum()))
        for name in np.unique(speakers.group)
    }
    swept = [figure for figure in (Figure("auc_fpr"), *parts) if figure in scores]
    return tuple(
        GroupResult(
            group=group,
            speakers=counted[group][0],
            clips=counted[group][1],
            accuracy=estimate(Figure("accuracy"), group),
            rejection=estimate(Figure("rejection"), group),
            auc_fpr=estimate(Figure("auc_fpr"), group) if Figure("auc_fpr") in scores else None,
            parts=tuple(PartScore(part=str(f.part), auc_fpr=estimate(f, group)) for f in parts),
            not_commands=false_acceptance(group),
            curves=tuple(curve(f, group) for f in swept),
        )
        for group in counted
    )
