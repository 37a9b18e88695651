"""`summary.json`: a report's main numbers for programs."""

from __future__ import annotations

from collections.abc import Sequence
from math import isfinite
from typing import Any, Literal

import pandas as pd
from pydantic import BaseModel, ConfigDict, Field

from training.corpora.splits import SplitKind
from training.study.report.analysis import Analysis
from training.study.report.judgement import RULE


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class CorrelationSummary(_Model):
    """A defense against defense parity; numbers are null where they can't be computed or would mean nothing."""

    attribute: str
    factor: str
    n: int
    pearson: float | None
    lower: float | None
    upper: float | None
    pearson_p: float | None
    spearman: float | None
    spearman_p: float | None
    note: str


class GapSummary(_Model):
    """A rejector's gap in AUC_FPR; the interval is null where too few groups have 10 speakers."""

    defense: str
    draws: int
    attribute: str
    gap: float | None
    gap_compared: float | None
    lower: float | None
    upper: float | None
    note: str


class TricksSummary(_Model):
    """Clean accuracy over models."""

    tricks: Literal["with", "without"]
    models: int
    mean_clean_accuracy: float
    sd_clean_accuracy: float | None


class RejectionSummary(_Model):
    """A rejector over everyone."""

    defense: str
    draws: int
    auc_fpr: float
    accuracy: float
    """Of its leading command, accepted or not"""
    is_guesser: bool
    """Whether it, or its network, guesses: its gaps say nothing then"""
    seconds_per_clip: float


class SplitSummary(_Model):
    """One split."""

    split: SplitKind
    is_failed: bool
    verdict: str
    """In words"""
    configurations: int
    recognisers: int
    needed: int
    unfinished: tuple[str, ...]
    """Configurations and all other parts that are to come"""
    failed: dict[str, str]
    """Configuration, or other part -> why it failed"""
    chance: float
    guessers: tuple[str, ...]
    tricks: tuple[TricksSummary, ...]
    presence: tuple[CorrelationSummary, ...]
    levels: tuple[CorrelationSummary, ...]
    rejection: tuple[RejectionSummary, ...]
    gaps: tuple[GapSummary, ...]


class Summary(_Model):
    """The file."""

    schema_: Literal["evenvoice.study/1"] = Field(default="evenvoice.study/1", alias="schema")
    is_failed: bool
    """Whether the study is no result: some split's models guess too often"""
    is_finished: bool
    """Whether every part of every split was run: all configurations, smoothing's network, rejection, purification"""
    rule: str
    splits: tuple[SplitSummary, ...]


def summarise(analyses: Sequence[Analysis], *, not_begun: Sequence[SplitKind]) -> Summary:
    """The main numbers of the splits that were run, and whether others are to come."""
    splits = tuple(_split(analysis) for analysis in analyses)
    return Summary(
        is_failed=any(split.is_failed for split in splits),
        is_finished=not not_begun and not any(split.unfinished for split in splits),
        rule=RULE,
        splits=splits,
    )


def _split(analysis: Analysis) -> SplitSummary:
    split, judgement, hardening, rejection = (
        analysis.evidence,
        analysis.judgement,
        analysis.hardening,
        analysis.rejection,
    )
    guessers = () if hardening is None else hardening.models.loc[hardening.models["is_guesser"], "key"]
    return SplitSummary(
        split=split.name,
        is_failed=judgement.is_failed,
        verdict=judgement.words,
        configurations=judgement.configurations,
        recognisers=judgement.recognisers,
        needed=judgement.needed,
        unfinished=tuple(missing.part for missing in split.missing if missing.state == "to come"),
        failed={missing.part: missing.reason for missing in split.missing if missing.state == "failed"},
        chance=split.chance,
        guessers=tuple(guessers),
        tricks=_records(TricksSummary, None if hardening is None else hardening.tricks),
        presence=_records(CorrelationSummary, None if hardening is None else hardening.presence),
        levels=_records(CorrelationSummary, None if hardening is None else hardening.levels),
        rejection=_records(RejectionSummary, None if rejection is None else rejection.overall),
        gaps=_records(GapSummary, None if rejection is None else rejection.gaps),
    )


def _records(kind: type[Any], table: pd.DataFrame | None) -> tuple[Any, ...]:
    """A table's rows as models; NaN is null."""
    if table is None:
        return ()
    fields = list(kind.model_fields)
    return tuple(
        kind(
            **{name: None if isinstance(row[name], float) and not isfinite(row[name]) else row[name] for name in fields}
        )
        for row in table.to_dict("records")
    )
