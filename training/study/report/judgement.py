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

    @property
    def is_failed(self) -> bool:
        """Of the configurations that were run; with none of them nothing has failed yet."""
        return self.recognisers < self.needed

    @property
    def verdict(self) -> Literal["FAILED", "unfinished", "result"]:
        if self.is_failed:
            return "FAILED"
        return "unfinished" if self.unfinished else "result"

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
    return Judgement(
        configurations=configurations,
        recognisers=sum(not is_guesser(model, split.chance) for model in split.models),
        needed=-(-FEWEST_RECOGNISERS * configurations // CONFIGURATIONS),
        unfinished=len(split.unfinished),
    )
