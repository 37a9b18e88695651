"""What the figures of an audit are called on the page, and what each of them says in a sentence."""

from __future__ import annotations

from dataclasses import dataclass

from monitoring.parity import Change, Verdict
from monitoring.report.blocks import Cell, Kind
from monitoring.report.numbers import PER_CENT, SCORE, SCORE_DRAWN, Unit
from recognizer.defense import DefenseName
from recognizer.groups import OTHER, UNDECLARED
from recognizer.steps import steps_of


@dataclass(frozen=True)
class MetricWords:
    """One metric as the page speaks of it."""

    name: str
    """In a heading"""
    short: str
    """In a narrow column"""
    meaning: str
    unit: Unit
    is_low_good: bool
    highest: float
    """The largest value there can be"""

    @property
    def drawn(self) -> Unit:
        """In a drawing."""
        return SCORE_DRAWN if self.unit is SCORE else self.unit

    @property
    def heading(self) -> str:
        """Of a column or a row of its values."""
        return self.unit.named(self.name)


METRIC_WORDS: dict[str, MetricWords] = {
    "rejection": MetricWords(
        "False rejections",
        "rejected",
        "commands that the defense turned away, of all commands that were spoken",
        PER_CENT,
        is_low_good=True,
        highest=1.0,
    ),
    "accuracy": MetricWords(
        "Accuracy",
        "correct",
        "commands accepted as what they are, of all commands that were spoken",
        PER_CENT,
        is_low_good=False,
        highest=1.0,
    ),
    "auc_fpr": MetricWords(
        "AUC_FPR",
        "AUC_FPR",
        "false rejections averaged over every threshold that the defense could be set to (eq. 2)",
        SCORE,
        is_low_good=True,
        highest=1.0,
    ),
    "auc_acc": MetricWords(
        "AUC_acc",
        "AUC_acc",
        "accuracy under attack, its area over the attack's budgets (eq. 1; 0.3 would be perfect)",
        SCORE,
        is_low_good=False,
        highest=0.3,
    ),
}

VERDICT_WORDS: dict[Verdict, str] = {
    Verdict.DISPARITY: "disparity",
    Verdict.EQUIVALENT: "equivalent",
    Verdict.INCONCLUSIVE: "inconclusive",
    Verdict.INSUFFICIENT: "too few speakers",
}
SIGNS: dict[Kind, str] = {
    "disparity": "▲",
    "equivalent": "✓",
    "pass": "✓",
    "inconclusive": "?",
    "insufficient": "○",
    "note": "i",
}
"""What stands before a verdict's word, so that it is told without its colour."""

_CHANGES: dict[Change, tuple[str, Kind]] = {
    Change.WIDER: ("wider", "disparity"),
    Change.NARROWER: ("narrower", "pass"),
    Change.EQUIVALENT: ("no change that matters", "equivalent"),
    Change.INCONCLUSIVE: ("inconclusive", "inconclusive"),
    Change.INSUFFICIENT: ("too few speakers", "insufficient"),
}
_STEP_WORDS: dict[str, str] = {
    DefenseName.NEURAL_REJECTION: "neural rejection",
    DefenseName.SMOOTHING: "randomized smoothing",
}


def defense_words(defense: str) -> str:
    """`no defense`, `neural rejection`, `opus, then randomized smoothing`."""
    steps = steps_of(defense)
    words = [name.replace("_", " ") for name in steps.purifiers]
    words += [_STEP_WORDS[rejector] for rejector in steps.rejectors]
    return ", then ".join(words) or "no defense"


def metric_words(metric: str, part: str | None = None) -> str:
    """The metric, and of a combined defense the part that it is of."""
    return METRIC_WORDS[metric].name + (f" of {defense_words(part)}" if part else "")


def verdict_cell(verdict: Verdict) -> Cell:
    return Cell(VERDICT_WORDS[verdict], kind=verdict.value)


def change_cell(change: Change) -> Cell:
    return Cell(*_CHANGES[change])


def group_words(group: str) -> str:
    """A group as a row names it."""
    notes = {UNDECLARED: "undeclared (in no gap)", OTHER: "other (all else)"}
    return notes.get(group, group)
