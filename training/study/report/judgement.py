"""The rules that say whether a study is a result: who guesses, and how many models must not."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from training.study.report.evidence import Model, SplitEvidence

GUESSING = 1.1
"""A model guesses if its clean accuracy is at most this times chance, 1 / labels: such a model withstands anything."""
CONFIGURATIONS = 40
FEWEST_RECOGNISERS = 25
"""Of 40 models that must not guess; of fewer configurations the same share, rounded up."""
RULE = (
    f"At least {FEWEST_RECOGNISERS} of the {CONFIGURATIONS} models must beat {GUESSING}x chance on clean clips, else "
    "the study is reported as FAILED, not as a result."
)


@dataclass(frozen=True)
class Judgement:
    """Whether one split's models are worth an analysis."""

    configurations: int
    """run to their end, well or not; a configuration that failed counts as one that does not beat chance"""
    recognisers: int
    """models with a clean accuracy above 1.1 x chance"""
    needed: int
    unfinished: int
    """configurations that are to come"""
    parts_unfinished: int
    """parts other than the configurations that are to come: smoothing's network, rejection, purification"""
    parts_failed: int
    """those of them that failed"""

    @property
    def is_failed(self) -> bool:
        """Of the configurations that were run; with none of them nothing has failed yet."""
        return self.recognisers < self.needed

    @property
    def verdict(self) -> Literal["FAILED", "unfinished", "incomplete", "result"]:
        """`incomplete`: all has been tried, and a part other than a configuration failed."""
        if self.is_failed:
            return "FAILED"
        if self.unfinished or self.parts_unfinished:
            return "unfinished"
        return "incomplete" if self.parts_failed else "result"

    @property
    def words(self) -> str:
        """`RULE` as it applies here."""
        if self.configurations == 0:
            return "no configuration is finished"
        of = f"{self.recognisers} of {self.configurations} models beat {GUESSING}x chance, {self.needed} must"
        if self.configurations == CONFIGURATIONS:
            return of
        share = f"{FEWEST_RECOGNISERS}/{CONFIGURATIONS} of the {self.configurations} that were run, rounded up"
        return f"{of} ({share})"


def is_guesser(model: Model, chance: float) -> bool:
    """Whether the model is left out of correlations: clean accuracy <= 1.1 x chance, over all test clips."""
    return model.clean_accuracy <= GUESSING * chance


def judge(split: SplitEvidence) -> Judgement:
    """Apply `RULE` to a split."""
    configurations = len(split.models) + len(split.failed)
    others = [part for part in split.missing if not part.is_configuration]
    return Judgement(
        configurations=configurations,
        recognisers=sum(not is_guesser(model, split.chance) for model in split.models),
        needed=-(-FEWEST_RECOGNISERS * configurations // CONFIGURATIONS),
        unfinished=len(split.unfinished),
        parts_unfinished=sum(part.state == "to come" for part in others),
        parts_failed=sum(part.state == "failed" for part in others),
    )
