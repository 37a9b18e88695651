"""Everything that a report says of one split, as tables."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from training.study.report.attacked import outcome_shares, purified_accuracy, success_gaps
from training.study.report.correlations import level_correlations, presence_correlations
from training.study.report.evidence import SplitEvidence
from training.study.report.false_rejections import (
    auc_fpr_gaps,
    auc_fpr_groups,
    draws_for_parity,
    overall_auc_fpr,
    size_correlations,
    size_summary,
)
from training.study.report.guessing import Guess, guesses
from training.study.report.judgement import Judgement, is_guesser, judge
from training.study.report.loudness import group_loudness
from training.study.report.tables import (
    accuracy_histogram,
    accuracy_over_eps,
    defense_parity,
    group_auc,
    group_sizes,
    models_table,
    tricks_accuracy,
)
from training.study.settings import StudySettings


@dataclass(frozen=True, eq=False)
class Hardening:
    """Section 5.1 of a split with at least one finished model."""

    models: pd.DataFrame
    """of `models_table`"""
    recognisers: pd.DataFrame
    """those of them that do not guess"""
    curves: pd.DataFrame
    histogram: pd.DataFrame
    groups: pd.DataFrame
    parity: pd.DataFrame
    """of the recognisers only, as are the next four"""
    presence: pd.DataFrame
    levels: pd.DataFrame
    among_compared: pd.DataFrame
    """both again, of the gaps among groups with enough speakers"""
    tricks: pd.DataFrame


@dataclass(frozen=True, eq=False)
class Rejection:
    """Section 5.2 of a split with at least one rejector measured on clean clips."""

    overall: pd.DataFrame
    groups: pd.DataFrame
    gaps: pd.DataFrame
    sizes: pd.DataFrame
    size_summary: pd.DataFrame
    draws_for_parity: pd.DataFrame


@dataclass(frozen=True, eq=False)
class UnderAttack:
    """The rejectors attacked."""

    shares: pd.DataFrame
    gaps: pd.DataFrame


@dataclass(frozen=True, eq=False)
class Analysis:
    """One split; None where nothing was measured (yet)."""

    evidence: SplitEvidence
    judgement: Judgement
    sizes: pd.DataFrame
    hardening: Hardening | None
    rejection: Rejection | None
    under_attack: UnderAttack | None
    purification: pd.DataFrame | None
    loudness: pd.DataFrame | None
    guesses: tuple[Guess, ...]


def analyse(split: SplitEvidence, settings: StudySettings) -> Analysis:
    """Compute every table of a split.

    Args:
        settings: of the study; its seed is also the intervals' bootstrap's.

    Raises:
        StudyError: groups or outcomes that make no sense.
    """
    measured = split.neural_rejection is not None or split.smoothing is not None
    attacked, purified, loudness = split.under_attack, split.purification, split.loudness
    seed = settings.seed
    return Analysis(
        evidence=split,
        judgement=judge(split),
        sizes=group_sizes(split),
        hardening=_hardening(split, seed) if split.models else None,
        rejection=_rejection(split, seed) if measured else None,
        under_attack=None
        if attacked is None
        else UnderAttack(outcome_shares(split, attacked), success_gaps(split, attacked, seed=seed)),
        purification=None if purified is None else purified_accuracy(purified, split.undefended),
        loudness=group_loudness(split, loudness, settings.eps_grid)
        if loudness is not None and split.attributes
        else None,
        guesses=tuple(guesses(split)),
    )


def _hardening(split: SplitEvidence, seed: int) -> Hardening:
    models, curves = models_table(split), accuracy_over_eps(split.models)
    recognisers = models[~models["is_guesser"]].reset_index(drop=True)
    kept = [model for model in split.models if not is_guesser(model, split.chance)]
    parity = defense_parity(split, kept, seed=seed)
    compared = parity.assign(gap=parity["gap_compared"])
    return Hardening(
        models=models,
        recognisers=recognisers,
        curves=curves,
        histogram=accuracy_histogram(curves, list(models.loc[models["is_guesser"], "key"])),
        groups=group_auc(split, split.models),
        parity=parity,
        presence=presence_correlations(recognisers, parity),
        levels=level_correlations(recognisers, parity),
        among_compared=pd.concat(
            [presence_correlations(recognisers, compared), level_correlations(recognisers, compared)], ignore_index=True
        ),
        tricks=tricks_accuracy(recognisers),
    )


def _rejection(split: SplitEvidence, seed: int) -> Rejection:
    groups, gaps = auc_fpr_groups(split), auc_fpr_gaps(split, seed=seed)
    sizes = size_correlations(split, groups)
    return Rejection(
        overall=overall_auc_fpr(split),
        groups=groups,
        gaps=gaps,
        sizes=sizes,
        size_summary=size_summary(sizes),
        draws_for_parity=draws_for_parity(gaps),
    )
