"""The released state of fairness, read from the counters themselves: what a scrape shows, in a form for people."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import get_args

from prometheus_client.metrics_core import Metric

from monitoring.counters import LabelResult
from recognizer.decision import Outcome

Labels = tuple[str, str, str, str]
"""attribute, group, defense, model"""


@dataclass(frozen=True)
class Released:
    """What is released of one group under one defense."""

    attribute: str
    group: str
    defense: str
    model: str
    outcomes: Mapping[str, int]
    labelled: Mapping[str, int]
    scores: int
    """Commands with a rejection score."""
    score_sum: float

    @property
    def rejection_rate(self) -> float | None:
        """rejected / (accepted + rejected); None where there are none."""
        decided = self.outcomes["accepted"] + self.outcomes["rejected"]
        return self.outcomes["rejected"] / decided if decided else None

    @property
    def rejection_score(self) -> float | None:
        """Mean: the live AUC_FPR; None where there is none."""
        return self.score_sum / self.scores if self.scores else None


def released(metrics: Iterable[Metric]) -> list[Released]:
    """Every group's released state, sorted.

    Args:
        metrics: what a registry collects, summed over the worker processes.
    """
    # of a bundle that begins to be served at this moment, some series may not be there yet
    outcomes: defaultdict[Labels, dict[str, int]] = defaultdict(lambda: {o.value: 0 for o in Outcome})
    labelled: defaultdict[Labels, dict[str, int]] = defaultdict(lambda: dict.fromkeys(get_args(LabelResult), 0))
    scores: defaultdict[Labels, dict[str, float]] = defaultdict(dict)
    for metric in metrics:
        for sample in metric.samples:
            of = sample.labels.get
            key = (of("attribute", ""), of("group", ""), of("defense", ""), of("model", ""))
            match sample.name:
                case "evenvoice_group_commands_total":
                    outcomes[key][sample.labels["outcome"]] = int(sample.value)
                case "evenvoice_group_labelled_total":
                    labelled[key][sample.labels["result"]] = int(sample.value)
                case "evenvoice_rejection_score_sum" | "evenvoice_rejection_score_count":
                    of_whole = (key[0], key[1], key[2].partition("/")[0], key[3])  # scored by its first part
                    scores[of_whole][sample.name.rpartition("_")[2]] = sample.value
    return [
        Released(
            *key,
            outcomes=outcomes[key],
            labelled=labelled[key],
            scores=int(scores[key].get("count", 0)),
            score_sum=scores[key].get("sum", 0.0),
        )
        for key in sorted(outcomes)
    ]
