"""Prometheus metrics, from the collectors that export them, with a bundle and an audit of nothing."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

from prometheus_client import CollectorRegistry
from prometheus_client.metrics_core import Metric

from docs.generator.markdown import code, table, whole_page
from monitoring.audit import AuditReport, Judgement, Runtime
from monitoring.audit_metrics import AuditCollector
from monitoring.counters import Counters
from monitoring.fairness import Bundle, Snapshot
from monitoring.live import LiveSettings
from monitoring.series import GroupSeries

_DEFENSES = ("neural_rejection", "smoothing")


def page() -> str:
    return whole_page(
        "The metrics",
        "[Metrics](../metrics.md) says how to read them, and what is held back of a group; every series exists from "
        "the start.",
        "## Of each gateway",
        "`GET /metrics`, summed over its worker processes.",
        _table(of_process()),
        "## Of each ledger",
        "`GET /metrics`, the same from every gateway on one database: take the largest of a `ledger` first.",
        _table(of_groups()),
        "## Of each audit",
        "Gauges of a corpus' last audit, for the textfile collector or the Pushgateway: "
        "[audit tools](../audit-tools.md). The bounds of a figure have its name with `_lower` and `_upper`.",
        _table(of_audit()),
    )


def of_process() -> list[Metric]:
    """Metrics that a worker process counts by itself."""
    registry = CollectorRegistry()
    Counters(registry).serve(defenses=_DEFENSES, version="sha256:...")
    return list(registry.collect())


def of_groups() -> list[Metric]:
    """Metrics of what the ledger has released."""
    bundle = Bundle("model", {"gender": ("female", "male")}, _DEFENSES)
    return list(GroupSeries(Snapshot("ledger", 0.0, LiveSettings(), (bundle,), {}, {})).collect())


def of_audit() -> list[Metric]:
    """Metrics of an audit."""
    judged: dict[str, Any] = {"exit_code": 0}
    ran: dict[str, Any] = {"seconds": 0.0}
    reported: dict[str, Any] = {
        "defenses": (),
        "created_at": datetime(2026, 1, 1, tzinfo=UTC),
        "judgement": Judgement.model_construct(**judged),
        "runtime": Runtime.model_construct(**ran),
    }
    return list(AuditCollector("corpus", AuditReport.model_construct(**reported)).collect())


def exported_name(metric: Metric) -> str:
    """The name of a metric's series: a counter's ends in `_total`."""
    return f"{metric.name}_total" if metric.type == "counter" else metric.name


def labels_of(metric: Metric) -> tuple[str, ...]:
    """Names of the labels, in order; those of the parts of a histogram left out."""
    if metric.samples:
        return tuple(name for name in metric.samples[0].labels if name != "le")
    names: tuple[str, ...] = metric._labelnames  # type: ignore[attr-defined]  # nothing else has them without a sample
    return names


def _table(metrics: Iterable[Metric]) -> str:
    return table(
        ("metric", "type", "labels", "what"),
        (
            (code(exported_name(m)), m.type, ", ".join(labels_of(m)), m.documentation)
            for m in metrics
            if not m.name.endswith(("_lower", "_upper"))
        ),
    )
