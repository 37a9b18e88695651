"""What Prometheus gets. Every series exists from the start; groups come from a closed vocabulary, one attribute each.

Sum the group series within one attribute, never over all: each command counts once in every attribute.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal, get_args

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST as CONTENT_TYPE
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead

from monitoring.scores import scored_live
from recognizer.decision import OUTCOME_OF, Outcome, Reason
from recognizer.groups import Vocabulary, all_groups

LabelResult = Literal["correct", "wrong", "rejected"]
Refusal = Literal["unusable_audio", "overloaded", "failed"]
"""Why a command was answered with an error; `failed` are the records and the networks."""
REFUSALS: dict[Refusal, Outcome] = {
    "unusable_audio": Outcome.BAD_INPUT,
    "overloaded": Outcome.SERVICE,
    "failed": Outcome.SERVICE,
}
STAGES = ("read", "decode", "queue", "decide", "record")

SCORE_BUCKETS = (0.001, 0.005, 0.01, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 1.0)
DRAWS_BUCKETS = (10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10000)
SECONDS_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)

__all__ = ["CONTENT_TYPE", "Counters", "LabelResult", "Refusal", "exposition", "forget_dead_workers", "over_workers"]


class Counters:
    """The gateway's metrics. Their series are labelled with the groups of a vocabulary and the defenses of a bundle."""

    def __init__(self, registry: CollectorRegistry) -> None:
        group = ("attribute", "group", "defense", "model")
        self.commands = Counter("evenvoice_commands", "Commands answered.", ("outcome", "reason"), registry=registry)
        self.group_commands = Counter(
            "evenvoice_group_commands",
            "Commands answered, by the speaker's group; released in lots.",
            (*group, "outcome"),
            registry=registry,
        )
        self.group_labelled = Counter(
            "evenvoice_group_labelled",
            "Commands whose true command is known, by the speaker's group; released in lots.",
            (*group, "result"),
            registry=registry,
        )
        self.rejection_score = Histogram(
            "evenvoice_rejection_score",
            "Rejection score of a command; sum / count is the live AUC_FPR. Of a combined defense, its first part's.",
            group,
            buckets=SCORE_BUCKETS,
            registry=registry,
        )
        self.smoothing_draws = Histogram(
            "evenvoice_smoothing_draws",
            "Draws that randomized smoothing took for a command, where it ran.",
            ("attribute", "group", "model"),
            buckets=DRAWS_BUCKETS,
            registry=registry,
        )
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

    def serve(self, *, vocabulary: Vocabulary, defenses: tuple[str, ...], model: str, version: str) -> None:
        """Begin every series of a bundle that is served from now on; those of an earlier one stay.

        Args:
            vocabulary: attribute -> groups.
            defenses: names, see `recognizer.steps`.
            model: the bundle's short version.
            version: the whole one.
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
        for attribute in vocabulary:
            for group in all_groups(vocabulary, attribute):
                self.smoothing_draws.labels(attribute, group, model)
                for defense in defenses:
                    labels = (attribute, group, defense, model)
                    self.rejection_score.labels(attribute, group, scored_live(defense), model)
                    for outcome in Outcome:
                        self.group_commands.labels(*labels, outcome)
                    for result in get_args(LabelResult):
                        self.group_labelled.labels(*labels, result)

    def retire(self, *, defenses: tuple[str, ...], version: str) -> None:
        """Say that a bundle is no longer served; its counts stay."""
        for defense in defenses:
            self.model_info.labels(version, defense).set(0)


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


def over_workers(registry: CollectorRegistry) -> CollectorRegistry:
    """The registry, or where there are several worker processes one that sums over them."""
    if "PROMETHEUS_MULTIPROC_DIR" not in os.environ:
        return registry
    together = CollectorRegistry()
    MultiProcessCollector(together)  # type: ignore[no-untyped-call]
    return together


def exposition(registry: CollectorRegistry) -> bytes:
    """The metrics in Prometheus' text format, summed over all worker processes where there are several."""
    return generate_latest(over_workers(registry))
