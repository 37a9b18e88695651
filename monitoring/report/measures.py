"""Which figures a report has: a metric each, and of a combined defense's AUC_FPR the part that it is of."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from monitoring.audit import METRICS, AttributeResult, AuditReport, Estimate, GapResult, GroupResult, Metric
from monitoring.report.words import metric_words

_ORDER: tuple[Metric, ...] = ("rejection", "accuracy", "auc_fpr")
"""Whom it turns away comes first."""


class Measure(NamedTuple):
    """One figure of a group."""

    metric: Metric
    part: str | None = None

    @property
    def words(self) -> str:
        return metric_words(self.metric, self.part)


def measures(report: AuditReport) -> tuple[Measure, ...]:
    """All that some defense of the report has, on clean clips."""
    parts = dict.fromkeys(p.part for result in report.defenses for p in result.overall.parts)
    has_single = any(result.overall.auc_fpr is not None for result in report.defenses)
    found: list[Measure] = []
    for metric in sorted(METRICS, key=_ORDER.index):
        if metric != "auc_fpr" or has_single:
            found.append(Measure(metric))
        if metric == "auc_fpr":
            found += [Measure(metric, part) for part in parts]
    return tuple(found)


def estimate_of(group: GroupResult, measure: Measure) -> Estimate | None:
    """None where the group's defense has no such figure."""
    if measure.part is not None:
        return next((p.auc_fpr for p in group.parts if p.part == measure.part), None)
    found: dict[Metric, Estimate | None] = {
        "accuracy": group.accuracy,
        "rejection": group.rejection,
        "auc_fpr": group.auc_fpr,
    }
    return found[measure.metric]


def gap_of(attribute: AttributeResult, measure: Measure) -> GapResult | None:
    return next((g for g in attribute.gaps if (g.metric, g.part) == measure), None)


def attributes_of(report: AuditReport) -> tuple[str, ...]:
    return tuple(a.attribute for a in report.defenses[0].attributes)


def by_defense(report: AuditReport, attribute: str) -> Iterator[tuple[str, AttributeResult]]:
    """Every defense's results of one attribute."""
    for result in report.defenses:
        for found in result.attributes:
            if found.attribute == attribute:
                yield result.defense, found
