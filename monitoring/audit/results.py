"""Outcomes of every defense to the results of a report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd

from monitoring.audit.attacked_figures import attacked_result
from monitoring.audit.figures import defense_result
from monitoring.audit.result import DefenseResult, HealthFinding
from monitoring.measured import AuditSettings
from recognizer.defense import DefenseName
from recognizer.progress import OnProgress, Stage, silent


def results_of(
    outcomes: pd.DataFrame,
    attacked: pd.DataFrame | None,
    *,
    defenses: Sequence[str],
    attributes: Sequence[str],
    settings: AuditSettings,
    findings: Mapping[str, Sequence[HealthFinding]],
    on_progress: OnProgress = silent,
) -> tuple[DefenseResult, ...]:
    """The results of each defense.

    Args:
        outcomes: of all of them, each on the same clips in the same order; see `monitoring.audit.outcomes`.
        attacked: likewise; see `monitoring.audit.attacking`. None where nothing was attacked.
        findings: defense -> what the checks of the attack's health found.
    """
    results = []
    by_defense = {d: outcomes[outcomes["defense"] == d].reset_index(drop=True) for d in defenses}
    for number, (defense, own) in enumerate(by_defense.items(), start=1):
        baseline = None if defense == DefenseName.NONE else by_defense.get(DefenseName.NONE.value)
        result = defense_result(own, defense, attributes, settings, baseline=baseline)
        if attacked is not None:
            under_attack = attacked_result(
                attacked[attacked["defense"] == defense], attributes, settings, findings=findings.get(defense, ())
            )
            result = result.model_copy(update={"attacked": under_attack})
        results.append(result)
        on_progress(Stage("comparing groups", number, len(defenses)))
    return tuple(results)
