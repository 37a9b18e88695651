"""Attacked outcomes to figures: accuracy over eps, its area AUC_acc, and the gaps of that between groups."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from monitoring.audit.attacking import REJECTED, RIGHT
from monitoring.audit.evidence import ClipScores, estimates_of, gap_result
from monitoring.audit.figures import EVERYBODY
from monitoring.audit.result import (
    AttackedAttribute,
    AttackedGroup,
    AttackedResult,
    Estimate,
    HealthFinding,
)
from monitoring.measured import AuditSettings
from monitoring.scores import auc_acc


def attacked_result(
    attacked: pd.DataFrame,
    attributes: Sequence[str],
    settings: AuditSettings,
    *,
    findings: Sequence[HealthFinding],
) -> AttackedResult:
    """The figures of one defense under attack.

    Args:
        attacked: its rows; see `monitoring.audit.attacking`.
        findings: of the checks of health.
    """
    eps = np.sort(attacked["eps"].unique())
    clean = attacked[attacked["eps"] == eps[0]].reset_index(drop=True)
    right, rejected = (_grid(attacked, clean, eps, outcome) for outcome in (RIGHT, REJECTED))
    (overall,) = _groups(clean, pd.Series(EVERYBODY, index=clean.index), right, rejected, eps, settings)
    snr = [float(np.median(attacked.loc[attacked["eps"] == value, "snr_db"])) for value in eps]
    return AttackedResult(
        overall=overall,
        attributes=tuple(
            AttackedAttribute(
                attribute=attribute,
                groups=_groups(clean, clean[attribute], right, rejected, eps, settings),
                gaps=(gap_result(_scores(clean, clean[attribute], _area(right, eps)), settings, metric="auc_acc"),),
            )
            for attribute in attributes
        ),
        snr_db=tuple(value if np.isfinite(value) else None for value in snr),
        findings=tuple(findings),
    )


def _grid(attacked: pd.DataFrame, clean: pd.DataFrame, eps: np.ndarray, outcome: str) -> np.ndarray:
    """bool [levels, clips]: where the outcome is this one."""
    by_eps = attacked.assign(hit=attacked["outcome"] == outcome).pivot(index="eps", columns="clip", values="hit")
    return np.asarray(by_eps.loc[eps, clean["clip"]], dtype=np.bool_)


def _area(right: np.ndarray, eps: np.ndarray) -> np.ndarray:
    """float64 [clips]: AUC_acc over the largest eps, in [0, 1]."""
    return np.asarray(np.clip(auc_acc(right, eps.tolist()) / eps[-1], 0.0, 1.0))


def _scores(clean: pd.DataFrame, groups: pd.Series[str], score: np.ndarray) -> ClipScores:
    return ClipScores(clean["speaker"].to_numpy(dtype=str), groups.to_numpy(dtype=str), score)


def _groups(
    clean: pd.DataFrame,
    groups: pd.Series[str],
    right: np.ndarray,
    rejected: np.ndarray,
    eps: np.ndarray,
    settings: AuditSettings,
) -> tuple[AttackedGroup, ...]:
    areas = estimates_of(_scores(clean, groups, _area(right, eps)), settings)
    levels = [estimates_of(_scores(clean, groups, level.astype(np.float64)), settings) for level in right]
    return tuple(
        AttackedGroup(
            group=group,
            speakers=int(clean.loc[groups == group, "speaker"].nunique()),
            clips=int((groups == group).sum()),
            auc_acc=_scaled(areas[group], float(eps[-1])),
            accuracy=tuple(level[group] for level in levels),
            rejected=tuple(level[(groups == group).to_numpy()].mean().item() for level in rejected),
        )
        for group in areas
    )


def _scaled(estimate: Estimate, factor: float) -> Estimate:
    """An estimate in another unit; the design effect has none."""
    scaled = {
        name: None if value is None else value * factor
        for name, value in estimate.model_dump(exclude={"design_effect"}).items()
    }
    return Estimate(**scaled, design_effect=estimate.design_effect)
