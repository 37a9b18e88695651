"""An audit as Prometheus metrics: gauges of a corpus' last audit, for the textfile collector or the Pushgateway.

The series are made when they are collected, from the report alone. None of them is a counter of this process: nothing
is added to what a multiprocess gateway counts, even where PROMETHEUS_MULTIPROC_DIR is set.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from monitoring.audit import ERROR, AuditReport, DefenseResult, Estimate, GapResult

JOB = "evenvoice_audit"
"""Of what is pushed; the other half of the grouping key is `corpus`."""

SUCCESS = "evenvoice_audit_last_success_timestamp_seconds"
DURATION = "evenvoice_audit_duration_seconds"
EXIT_CODE = "evenvoice_audit_exit_code"

_FIGURES = {
    "auc_fpr": "False rejections over all thresholds (eq. 2): a group's mean over its clips of commands.",
    "auc_acc": "Accuracy over all attack strengths (eq. 1, not normalised): a group's mean over its attacked clips.",
    "accuracy": "Accepted with the right command, of a group's clips of commands.",
    "rejection": "Abstained, of a group's clips of commands.",
}
_GROUP = ("corpus", "defense", "attribute", "group")
_GAP = ("corpus", "defense", "attribute", "metric")


class AuditCollector(Collector):
    """What one audit gives Prometheus."""

    def __init__(self, corpus: str, report: AuditReport) -> None:
        """
        Args:
            corpus: tells the audits of this manifest from those of others.
        """
        self._corpus = corpus
        self._report = report

    def collect(self) -> Iterator[Metric]:
        corpus, report = self._corpus, self._report
        estimates = [found for result in report.defenses for found in _estimates(corpus, result)]
        for figure, help_text in _FIGURES.items():
            of_figure = [(labels, estimate) for name, labels, estimate in estimates if name == figure]
            means = [(labels, estimate.mean, estimate.lower, estimate.upper) for labels, estimate in of_figure]
            yield from _bounded(f"evenvoice_audit_{figure}", help_text, _GROUP, means)
        speakers = _family("evenvoice_audit_speakers", "Speakers of heard clips of commands.", _GROUP)
        for result in report.defenses:
            for attribute in result.attributes:
                for group in attribute.groups:
                    labels = (corpus, result.defense, attribute.attribute, group.group)
                    speakers.add_metric(labels, group.speakers)
        yield speakers
        yield from _of_gaps([found for result in report.defenses for found in _gaps(corpus, result)])
        # when it was measured, not when it is exported: an old report does not become a fresh audit
        made = report.created_at.timestamp()
        yield _single(SUCCESS, "When the audit was made whose figures these are.", corpus, made)
        yield from _of_run(corpus, report.judgement.exit_code, report.runtime.seconds)


class FailureCollector(Collector):
    """What an audit that failed gives Prometheus: that it did. The figures of the last one stay what they are."""

    def __init__(self, corpus: str, *, seconds: float) -> None:
        """
        Args:
            seconds: until it failed.
        """
        self._corpus = corpus
        self._seconds = seconds

    def collect(self) -> Iterator[Metric]:
        yield from _of_run(self._corpus, ERROR, self._seconds)


def part_name(defense: str, part: str | None) -> str:
    """The `defense` of a figure: its own name or, of one part of a combined one, `NAME/PART`, as on live traffic."""
    return defense if part is None else f"{defense}/{part}"


def _estimates(corpus: str, result: DefenseResult) -> Iterator[tuple[str, tuple[str, ...], Estimate]]:
    """Figure, labels and estimate of every group."""
    for attribute in result.attributes:
        for group in attribute.groups:
            labels = (corpus, result.defense, attribute.attribute, group.group)
            yield "accuracy", labels, group.accuracy
            yield "rejection", labels, group.rejection
            if group.auc_fpr is not None:
                yield "auc_fpr", labels, group.auc_fpr
            for part in group.parts:
                of_part = (corpus, part_name(result.defense, part.part), attribute.attribute, group.group)
                yield "auc_fpr", of_part, part.auc_fpr
    for attacked in result.attacked.attributes if result.attacked else ():
        for under_attack in attacked.groups:
            labels = (corpus, result.defense, attacked.attribute, under_attack.group)
            yield "auc_acc", labels, under_attack.auc_acc


def _gaps(corpus: str, result: DefenseResult) -> Iterator[tuple[tuple[str, ...], GapResult]]:
    """Labels and gap of every attribute and metric."""
    found = [(attribute.attribute, gap) for attribute in result.attributes for gap in attribute.gaps]
    if result.attacked is not None:
        found += [(attribute.attribute, gap) for attribute in result.attacked.attributes for gap in attribute.gaps]
    for name, gap in found:
        yield (corpus, part_name(result.defense, gap.part), name, gap.metric), gap


def _of_gaps(gaps: Sequence[tuple[tuple[str, ...], GapResult]]) -> Iterator[Metric]:
    """Gaps between the compared groups, which alone have an interval; the verdict also where none are compared."""
    compared = [(labels, gap.value_compared, gap.lower, gap.upper) for labels, gap in gaps]
    help_text = "Largest less smallest group mean, over groups with enough speakers; of auc_acc over the largest eps."
    yield from _bounded("evenvoice_audit_gap", help_text, _GAP, compared)
    verdicts = _family(
        "evenvoice_audit_verdict", "1 at the verdict on a gap; the others have no series.", (*_GAP, "verdict")
    )
    for labels, gap in gaps:
        verdicts.add_metric((*labels, gap.verdict.value), 1.0)
    yield verdicts


def _of_run(corpus: str, exit_code: int, seconds: float) -> Iterator[Metric]:
    yield _single(EXIT_CODE, "Of the last audit: 0 pass, 1 disparity, 2 inconclusive, 3 error.", corpus, exit_code)
    yield _single(DURATION, "Of the last audit.", corpus, seconds)


def _bounded(
    name: str,
    help_text: str,
    labelnames: Sequence[str],
    figures: Sequence[tuple[Sequence[str], float | None, float | None, float | None]],
) -> Iterator[Metric]:
    """A gauge and those of its bounds; what there is none of, such as bounds of one speaker, has no series."""
    for place, (suffix, words) in enumerate((("", ""), ("_lower", "Lower bound. "), ("_upper", "Upper bound. "))):
        family = _family(f"{name}{suffix}", words + help_text, labelnames)
        for labels, *values in figures:
            if (value := values[place]) is not None:
                family.add_metric(labels, value)
        yield family


def _single(name: str, help_text: str, corpus: str, value: float) -> GaugeMetricFamily:
    family = _family(name, help_text, ("corpus",))
    family.add_metric((corpus,), value)
    return family


def _family(name: str, help_text: str, labelnames: Sequence[str]) -> GaugeMetricFamily:
    return GaugeMetricFamily(name, help_text, None, labelnames)
