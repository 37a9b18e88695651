"""Purifiers before the undefended network, under an attacker who does not know of them, and one who does."""

from __future__ import annotations

import pandas as pd
import torch
from torch import Tensor

from recognizer.attacks import Misclassify
from recognizer.network import M5, predict_logits
from recognizer.progress import OnProgress, Stage, silent
from recognizer.purification import Purified, Purifier, attackable
from training.dataset import ClipSet
from training.study.evaluation import sweep
from training.study.settings import StudySettings


def attack_purified(
    network: M5, purifier: Purifier, clips: ClipSet, settings: StudySettings, *, on_progress: OnProgress = silent
) -> pd.DataFrame:
    """Attack a network behind a purifier.

    The oblivious attacker attacks the network alone, each eps with all its steps, for an attack that stopped at the
    first success would be undone by any change. The adaptive one climbs through the purifier (by BPDA where it has no
    gradient), and also has what the oblivious one found: a clip is right if it survives both.

    Returns:
        `purifier, attack` (oblivious, adaptive)`, eps, clip, is_correct`; eps 0 are the clean clips.
    """
    defended = Purified(network, purifier).eval()
    grid, steps = settings.purification_eps, settings.steps_on_purified
    oblivious = sweep(Misclassify(network), clips, "paper", grid, steps)
    adaptive = sweep(Misclassify(network, purify=attackable(purifier)), clips, "nested", grid, steps)
    tables = []
    for done, (unknowing, knowing) in enumerate(zip(oblivious, adaptive, strict=True), start=1):
        survives = _is_correct(defended, unknowing.adversarial.waveforms, clips)
        both = survives & _is_correct(defended, knowing.adversarial.waveforms, clips)
        for attack, is_correct in (("oblivious", survives), ("adaptive", both)):
            tables.append(
                pd.DataFrame(
                    {
                        "purifier": purifier.name,
                        "attack": attack,
                        "eps": unknowing.eps,
                        "clip": clips.manifest.clip_ids,
                        "is_correct": is_correct.numpy(),
                    }
                )
            )
        on_progress(Stage("attacking purification", done, 1 + len(grid), purifier.name))
    return pd.concat(tables, ignore_index=True)


def _is_correct(network: Purified, waveforms: Tensor, clips: ClipSet) -> Tensor:
    """bool [clips], on the CPU."""
    with torch.inference_mode():
        leaders = predict_logits(network, waveforms).argmax(dim=1)
    return leaders == clips.targets
