"""How a network does on clean clips and under attack: the outcomes that AUC_acc and every table are made of."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pandas as pd
import torch
from torch import Tensor

from recognizer.attacks import Finding, Level, Misclassify, Objective, check_health, nested_sweep, paper_sweep
from recognizer.defense import finite
from recognizer.network import M5, predict_logits
from recognizer.progress import OnProgress, Stage, silent
from training.dataset import ClipSet
from training.study.settings import AttackPreset, StudySettings


@dataclass(frozen=True)
class Evaluation:
    """A network's outcomes, and whether the attack that they come from can be believed."""

    outcomes: pd.DataFrame
    """`clip, eps, is_correct, snr_db` (dB, +inf at eps 0): eps 0 for all test clips, the others for the attacked"""
    findings: tuple[Finding, ...]

    @property
    def clean_accuracy(self) -> float:
        """Over all test clips."""
        return float(self.outcomes.loc[self.outcomes["eps"] == 0, "is_correct"].mean())


def evaluate_network(
    network: M5, test: ClipSet, attacked: ClipSet, settings: StudySettings, *, on_progress: OnProgress = silent
) -> Evaluation:
    """Test a network on clean clips, and attack it on some of them over the grid of eps.

    Args:
        network: on the device that attacks are to run on.
        test: clips.
        attacked: those of them that are attacked.

    Raises:
        NetworkError: the network gave NaN or infinity.
    """
    device = next(network.parameters()).device
    objective, waveforms, labels = Misclassify(network), attacked.waveforms.to(device), attacked.targets.to(device)
    is_correct = finite(predict_logits(network, test.waveforms)).argmax(dim=1) == test.targets
    tables = [_table(test, 0.0, is_correct, torch.full_like(test.waveforms[:, 0], torch.inf))]
    levels = []
    for level in sweep(objective, attacked, settings.attack, settings.eps_grid, settings.steps):
        levels.append(level)
        on_progress(Stage("attacking", len(levels), 1 + len(settings.eps_grid), f"eps {level.eps:g}"))
        if level.eps > 0:
            tables.append(_table(attacked, level.eps, ~level.adversarial.is_broken, level.snr_db))
    findings = check_health(objective, waveforms, labels, levels, steps=settings.steps, seed=settings.seed)
    return Evaluation(pd.concat(tables, ignore_index=True), findings)


def sweep(
    objective: Objective, clips: ClipSet, attack: AttackPreset, eps_grid: tuple[float, ...], steps: int
) -> Iterator[Level]:
    """The attack of a preset, from the clean clips up; see `nested_sweep` and `paper_sweep`."""
    device = next(objective.network.parameters()).device
    run = nested_sweep if attack == "nested" else paper_sweep
    return run(objective, clips.waveforms.to(device), clips.targets.to(device), eps_grid=eps_grid, steps=steps)


def _table(clips: ClipSet, eps: float, is_correct: Tensor, snr_db: Tensor) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "clip": clips.manifest.clip_ids,
            "eps": eps,
            "is_correct": is_correct.cpu().numpy(),
            "snr_db": snr_db.cpu().numpy(),
        }
    )
