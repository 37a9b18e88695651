"""What the statistics of `monitoring.parity` say of one figure, as a report carries it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from monitoring.audit.result import (
    Cell,
    DeltaResult,
    Estimate,
    GapResult,
    GroupDelta,
    HolmP,
    IntersectionResult,
    Metric,
    Spread,
)
from monitoring.measured import AuditSettings, finite_or_none, gap_figures
from monitoring.parity import (
    SpeakerTable,
    design_effects,
    gap_change,
    group_means,
    permutation_test,
    shrunken_intersections,
    shrunken_means,
    spread,
)
from monitoring.parity.shrinkage import CROSS
from recognizer.groups import UNDECLARED


@dataclass(frozen=True, eq=False)
class ClipScores:
    """Scores of clips, by who says them."""

    speaker: npt.NDArray[np.str_]
    """[clips]"""
    group: npt.NDArray[np.str_]
    """[clips], of one attribute"""
    score: npt.NDArray[np.float64]
    """[clips], in [0, 1]"""

    @cached_property
    def table(self) -> SpeakerTable:
        return SpeakerTable.from_clips(speaker=self.speaker, group=self.group, score=self.score)


def estimates_of(scores: ClipScores, settings: AuditSettings) -> dict[str, Estimate]:
    """Group -> its mean with an interval, the shrunken mean and the design effect."""
    effects = {
        d.group: finite_or_none(d.effect)
        for d in design_effects(speaker=scores.speaker, group=scores.group, score=scores.score)
    }
    means = group_means(scores.table, confidence=settings.confidence)
    is_alone = sum(m.group != UNDECLARED for m in means) < 2
    shrunken = {} if is_alone else {m.group: finite_or_none(m.shrunken) for m in shrunken_means(scores.table)}
    return {
        m.group: Estimate(
            mean=m.mean,
            lower=finite_or_none(m.lower),
            upper=finite_or_none(m.upper),
            shrunken=shrunken.get(m.group),
            design_effect=effects[m.group],
        )
        for m in means
    }


def gap_result(scores: ClipScores, settings: AuditSettings, *, metric: Metric, part: str | None = None) -> GapResult:
    """The gap between groups against the metric's tolerance, whether chance explains it, and which groups make it."""
    tolerance = settings.tolerances.get(metric, settings.tolerance)
    figures = gap_figures(scores.table, settings, tolerance=tolerance)
    if len(figures.compared) < 2:
        return GapResult(metric=metric, part=part, tolerance=tolerance, **vars(figures))
    test = permutation_test(
        scores.table,
        min_speakers=settings.min_speakers,
        confidence=settings.confidence,
        permutations=settings.replicates,
        seed=settings.seed,
    )
    between = spread(
        scores.table,
        min_speakers=settings.min_speakers,
        confidence=settings.confidence,
        replicates=settings.replicates,
        seed=settings.seed,
    )
    return GapResult(
        metric=metric,
        part=part,
        tolerance=tolerance,
        **vars(figures),
        p_value=test.p_value,
        holm=tuple(
            HolmP(
                group=g.group,
                p_value=g.p_holm,
                is_named=g.p_holm <= 1 - settings.confidence,
                side="above" if g.difference > 0 else "below",
            )
            for g in test.groups
        ),
        spread=Spread(sd=between.sd, lower=between.sd_lower, upper=between.sd_upper),
    )


def delta_result(baseline: ClipScores, scores: ClipScores, settings: AuditSettings, *, metric: Metric) -> DeltaResult:
    """What a defense changes, against the baseline on the same clips."""
    change = gap_change(
        baseline.table,
        scores.table,
        tolerance=settings.tolerances.get(metric, settings.tolerance),
        min_speakers=settings.min_speakers,
        confidence=settings.confidence,
        replicates=settings.replicates,
        seed=settings.seed,
    )
    difference = finite_or_none(change.difference)
    return DeltaResult(
        metric=metric,
        groups=tuple(
            GroupDelta(
                group=g.group,
                speakers=g.speakers,
                difference=Estimate(mean=g.difference, lower=finite_or_none(g.lower), upper=finite_or_none(g.upper)),
            )
            for g in change.groups
        ),
        gap=None
        if difference is None
        else Estimate(mean=difference, lower=finite_or_none(change.lower), upper=finite_or_none(change.upper)),
        verdict=change.verdict,
    )


def intersection_result(by_attribute: Mapping[str, ClipScores], *, metric: Metric) -> IntersectionResult:
    """Every intersection of groups that somebody is in.

    Args:
        by_attribute: attribute -> the same clips by it; two or more.
    """
    groups = list(zip(*(scores.group.tolist() for scores in by_attribute.values()), strict=True))
    named = {CROSS.join(cell): cell for cell in groups}
    return IntersectionResult(
        attributes=tuple(by_attribute),
        metric=metric,
        cells=tuple(
            Cell(
                groups=named[m.group],
                speakers=m.speakers,
                clips=m.clips,
                mean=m.mean,
                fitted=finite_or_none(m.fitted),
                shrunken=finite_or_none(m.shrunken),
            )
            for m in shrunken_intersections({a: scores.table for a, scores in by_attribute.items()})
        ),
    )
