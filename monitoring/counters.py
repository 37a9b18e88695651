"""What a worker process counts by itself: commands, seconds, and the bundle that it serves.

What is counted by group is not here: see `monitoring.series`.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST as CONTENT_TYPE
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead

from recognizer.decision import OUTCOME_OF, Decision, Outcome, Reason

Refusal = Literal["unusable_audio", "overloaded", "failed"]
"""Why a command was answered with an error; `failed` are the records and the networks."""
REFUSALS: dict[Refusal, Outcome] = {
    "unusable_audio": Outcome.BAD_INPUT,
    "overloaded": Outcome.SERVICE,
    "failed": Outcome.SERVICE,
}
STAGES = ("read", "decode", "queue", "decide", "record")

SECONDS_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)

__all__ = ["CONTENT_TYPE", "Counters", "Refusal", "exposition", "forget_dead_workers"]


class Counters:
    """The counters of one process, which are summed over all of them."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.commands = Counter("evenvoice_commands", "Commands answered.", ("outcome", "reason"), registry=registry)
        self.decision_seconds = Histogram(
            "evenvoice_decision_seconds",
            "Seconds from the arrival of a command to its answer.",
            ("defense",),
            buckets=SECONDS_BUCKETS,
            registry=registry,
        )
        self.stage_seconds = Histogram(
            "evenvoice_stage_seconds",
            "Seconds that a stage of a decision took.",
            ("stage",),
            buckets=SECONDS_BUCKETS,
            registry=registry,
        )
        self.model_info = Gauge(
            "evenvoice_model_info",
            "1 for the bundle that is served, 0 for one that was.",
            ("version", "defense"),
            registry=registry,
            multiprocess_mode="livemax",
        )

    def serve(self, *, defenses: tuple[str, ...], version: str) -> None:
        """Begin every series of a bundle that is served from now on; those of an earlier one stay.

        Args:
            defenses: names, see `recognizer.steps`.
            version: the bundle's whole one.
        """
        for reason in Reason:
            self.commands.labels(OUTCOME_OF[reason], reason)
        for refusal, outcome in REFUSALS.items():
            self.commands.labels(outcome, refusal)
        for stage in STAGES:
            self.stage_seconds.labels(stage)
        for defense in defenses:
            self.decision_seconds.labels(defense)
            self.model_info.labels(version, defense).set(1)

    def retire(self, *, defenses: tuple[str, ...], version: str) -> None:
        """Say that a bundle is no longer served; its counts stay."""
        for defense in defenses:
            self.model_info.labels(version, defense).set(0)

    def decided(self, decision: Decision) -> None:
        """Count a decision."""
        self.commands.labels(decision.outcome, decision.reason).inc()

    def refused(self, reason: Refusal) -> None:
        """Count a command that was answered with an error, and so has no decision."""
        self.commands.labels(REFUSALS[reason], reason).inc()

    def times(self, *, defense: str, total: float, stages: Mapping[str, float]) -> None:
        """Count the seconds of a decision and of its stages."""
        self.decision_seconds.labels(defense).observe(total)
        for stage, seconds in stages.items():
            self.stage_seconds.labels(stage).observe(seconds)


def forget_dead_workers() -> None:
    """Drop the gauges of workers that were killed: what one said of the bundle that it served is no longer so."""
    folder = os.environ.get("PROMETHEUS_MULTIPROC_DIR")
    if folder is None:
        return
    for file in Path(folder).glob("gauge_live*_*.db"):
        process = int(file.stem.rpartition("_")[2])
        if not _is_alive(process):
            mark_process_dead(process)  # type: ignore[no-untyped-call]


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


def _over_workers(registry: CollectorRegistry) -> CollectorRegistry:
    """The registry, or where there are several worker processes one that sums over them."""
    if "PROMETHEUS_MULTIPROC_DIR" not in os.environ:
        return registry
    together = CollectorRegistry()
    MultiProcessCollector(together)  # type: ignore[no-untyped-call]
    return together


def exposition(registry: CollectorRegistry) -> bytes:
    """The metrics in Prometheus' text format, summed over all worker processes where there are several."""
    return generate_latest(_over_workers(registry))
