"""What adversarial training, noise and tricks give whom: Tables 1 and 2, defense parity, and section 5.1's means."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from monitoring.scores import auc_acc
from recognizer.groups import UNDECLARED
from training.study.report.evidence import Model, SplitEvidence
from training.study.report.judgement import is_guesser
from training.study.report.parities import GAP_COLUMNS, group_gaps, group_note, group_scores, with_first

BINS = 20
"""Of accuracy, in Figures 8 and 9."""


def clip_auc(model: Model) -> pd.Series:
    """Eq. 1, clip by clip: float [attacked clips], indexed by clip, in [0, largest eps]."""
    correct = model.correct_by_eps
    scores = auc_acc(correct.to_numpy(dtype=bool).T, [float(eps) for eps in correct.columns])
    return pd.Series(scores, index=correct.index, name="auc_acc")


def models_table(split: SplitEvidence) -> pd.DataFrame:
    """Tables 1 and 2: every model, ordered by clean accuracy as in the paper.

    Returns:
        `key, model, adversarial_eps, noise_sigma, tricks, clean_accuracy` (all test clips)`, auc_acc` (attacked
        clips)`, attack_health` (the pitfalls found)`, is_guesser, training_seconds`.
    """
    rows = [
        {
            "key": model.key,
            "model": model.name,
            "adversarial_eps": model.configuration.adversarial_eps,
            "noise_sigma": model.configuration.noise_sigma,
            "tricks": model.configuration.tricks,
            "clean_accuracy": model.clean_accuracy,
            "auc_acc": float(clip_auc(model).mean()),
            "attack_health": model.findings_in_short,
            "is_guesser": is_guesser(model, split.chance),
            "training_seconds": model.training_seconds,
        }
        for model in split.models
    ]
    return pd.DataFrame(rows).sort_values(["clean_accuracy", "key"], ignore_index=True)


def accuracy_over_eps(models: Sequence[Model]) -> pd.DataFrame:
    """Every model's curve over its attacked clips, the same at every budget: `key, eps, accuracy, clips`."""
    parts = []
    for model in models:
        correct = model.correct_by_eps
        accuracy = {"eps": correct.columns.astype(float), "accuracy": correct.mean().to_numpy(), "clips": len(correct)}
        parts.append(pd.DataFrame({"key": model.key} | accuracy))
    return pd.concat(parts, ignore_index=True)


def group_auc(split: SplitEvidence, models: Sequence[Model]) -> pd.DataFrame:
    """Every group's AUC_acc under every model: `key` and the columns of `group_scores`."""
    parts = [
        group_scores(split.clips, clip_auc(model), attributes=split.attributes, full_scale=model.eps[-1]).assign(
            key=model.key
        )
        for model in models
    ]
    return with_first(pd.concat(parts, ignore_index=True), "key")


def defense_parity(split: SplitEvidence, models: Sequence[Model], *, seed: int) -> pd.DataFrame:
    """Defense Parity of every model, max - min of its groups' AUC_acc: `key` and the columns of `group_gaps`."""
    parts = [
        group_gaps(
            split.clips, clip_auc(model), attributes=split.attributes, full_scale=model.eps[-1], seed=seed
        ).assign(key=model.key)
        for model in models
    ]
    if not parts:
        return pd.DataFrame(columns=["key", *GAP_COLUMNS])
    return with_first(pd.concat(parts, ignore_index=True), "key")


def group_sizes(split: SplitEvidence) -> pd.DataFrame:
    """Who is in the split: `attribute, group`, the speakers and clips of each part, and `note` by the attacked ones."""
    parts = {"training": split.part("train"), "test": split.part("test"), "attacked": split.attacked}
    rows = []
    for attribute in split.attributes:
        for group in sorted(split.clips[attribute].unique()):
            row: dict[str, object] = {"attribute": attribute, "group": group}
            for name, part in parts.items():
                own = part[part[attribute] == group]
                row |= {f"{name}_speakers": own["speaker"].nunique(), f"{name}_clips": len(own)}
            row["note"] = group_note(group, int(str(row["attacked_speakers"])))
            rows.append(row)
    counts = [f"{name}_{what}" for name in parts for what in ("speakers", "clips")]
    return pd.DataFrame(rows, columns=["attribute", "group", *counts, "note"])


def speakers_unheard(split: SplitEvidence) -> list[str]:
    """Test speakers without a clip in training."""
    return sorted(set(split.part("test")["speaker"]) - set(split.part("train")["speaker"]))


def groups_untested(split: SplitEvidence) -> dict[str, list[str]]:
    """Attribute -> its declared groups that are in training and not in test; attributes without any are left out."""
    train, test = split.part("train"), split.part("test")
    found = {a: sorted(set(train[a]) - set(test[a]) - {UNDECLARED}) for a in split.attributes}
    return {attribute: groups for attribute, groups in found.items() if groups}


def tricks_accuracy(models: pd.DataFrame) -> pd.DataFrame:
    """Mean and standard deviation (n - 1) of clean accuracy with and without Tricks, as in sections 5.1.1 and 5.1.2.

    Args:
        models: rows of `models_table`, without the guessers.
    """
    rows = []
    for has_tricks, part in models.groupby("tricks"):
        accuracy = part["clean_accuracy"]
        rows.append(
            {
                "tricks": "with" if has_tricks else "without",
                "models": len(part),
                "mean_clean_accuracy": float(accuracy.mean()),
                "sd_clean_accuracy": float(accuracy.std(ddof=1)),
                "mean_auc_acc": float(part["auc_acc"].mean()),
                "sd_auc_acc": float(part["auc_acc"].std(ddof=1)),
            }
        )
    columns = ["tricks", "models", "mean_clean_accuracy", "sd_clean_accuracy", "mean_auc_acc", "sd_auc_acc"]
    return pd.DataFrame(rows, columns=columns)


def accuracy_histogram(curves: pd.DataFrame, guessers: Sequence[str]) -> pd.DataFrame:
    """Figures 8 and 9: models by accuracy at every budget: `eps, from, to, models, guessers`.

    Args:
        curves: of `accuracy_over_eps`.
        guessers: keys of the models that guess; counted apart from the others.
    """
    edges = np.linspace(0.0, 1.0, BINS + 1)
    parts = []
    for eps, level in curves.groupby("eps"):
        guesses = level["key"].isin(list(guessers))
        parts.append(
            pd.DataFrame(
                {
                    "eps": eps,
                    "from": edges[:-1],
                    "to": edges[1:],
                    "models": np.histogram(level.loc[~guesses, "accuracy"], edges)[0],
                    "guessers": np.histogram(level.loc[guesses, "accuracy"], edges)[0],
                }
            )
        )
    return pd.concat(parts, ignore_index=True)
