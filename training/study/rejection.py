"""The two rejectors of a study: whom they turn away on clean clips, and what gets past them under attack.

Source: Richards et al. 2023, sections 3.2 and 4.3.
"""

from __future__ import annotations

import time
from itertools import pairwise
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
import torch
from safetensors.torch import load_file
from torch import Tensor

from monitoring.scores import auc_fpr_neural_rejection, auc_fpr_smoothing
from recognizer.attacks import CauseRejection, Confirm, Objective, evade, nested_sweep
from recognizer.decision import Decision
from recognizer.network import M5
from recognizer.neural_rejection import NeuralRejection, SupportVectorMachine
from recognizer.progress import OnProgress, Stage, silent
from recognizer.smoothing import RandomizedSmoothing, p_value
from training.dataset import ClipSet
from training.rejection import choose_clips, fit_rejection
from training.study.clips import SplitClips
from training.study.configuration import SMOOTHING_SIGMA
from training.study.folder import MachineRecord, write_record, write_tensors
from training.study.settings import StudySettings

RejectionAttack = Literal["evade", "cause_rejection"]
REJECTION_ATTACKS: tuple[RejectionAttack, ...] = ("evade", "cause_rejection")


def neural_rejection_of(network: M5, clips: SplitClips, settings: StudySettings, machine_file: Path) -> NeuralRejection:
    """Neural rejection on a network, its machine from the file or, the first time, fitted and written there.

    Raises:
        RejectionError: clips that no machine can be fitted on.
        StudyError: the file can't be written.
    """
    if not machine_file.exists():
        fitting, fitted_on = choose_clips(clips.training, clips.validation, len(clips.labels))
        write_record(machine_file.with_suffix(".json"), MachineRecord(fitted_on=fitted_on))
        write_tensors(machine_file, fit_rejection(network, fitting).tensors())
    machine = SupportVectorMachine(**load_file(machine_file)).to(next(network.parameters()).device)
    return NeuralRejection(network, machine, clips.labels, confidence_threshold=settings.confidence_threshold)


def smoothing_of(network: M5, labels: tuple[str, ...], settings: StudySettings) -> RandomizedSmoothing:
    """Randomized smoothing on a network, as it decides on attacked clips."""
    return RandomizedSmoothing(
        network, labels, sigma=SMOOTHING_SIGMA, error_alpha=settings.error_alpha, draws=settings.verdict_draws
    )


def score_neural_rejection(rejection: NeuralRejection, clips: ClipSet) -> pd.DataFrame:
    """`clip, draws` (0), `score` (AUC_FPR's part)`, confidence, is_right` (the leading label)`, seconds` (a clip)."""
    started = time.perf_counter()
    decisions = rejection.decide(clips.waveforms, clip_ids=clips.manifest.clip_ids, seed=0)
    seconds = (time.perf_counter() - started) / len(clips)
    confidence = [decision.top[0].share for decision in decisions]
    return pd.DataFrame(
        {
            "clip": clips.manifest.clip_ids,
            "draws": 0,
            "score": auc_fpr_neural_rejection(confidence),
            "confidence": confidence,
            "is_right": [d.top[0].command == truth for d, truth in zip(decisions, _truths(clips), strict=True)],
            "seconds": seconds,
        }
    )


def score_smoothing(
    smoothing: RandomizedSmoothing, clips: ClipSet, settings: StudySettings, *, on_progress: OnProgress = silent
) -> pd.DataFrame:
    """`clip, draws` (N)`, score` (AUC_FPR's part)`, p_value, is_right` (the plurality)`, seconds` (of all N draws).

    The draws of a smaller N are the first of a larger one's. N that can't reach any error_alpha in use have their
    p-values too, since eq. 2 runs over all of them.
    """
    rows = []
    for done, (waveform, target, clip) in enumerate(
        zip(clips.waveforms, clips.targets.tolist(), clips.manifest.clip_ids, strict=True), start=1
    ):
        counts, seconds = np.zeros(len(smoothing.labels), dtype=np.int64), 0.0
        for first, draws in pairwise((0, *settings.draws)):
            started = time.perf_counter()
            counts += smoothing.votes(waveform, clip_id=clip, seed=settings.seed, draws=draws - first, first=first)
            p = float(p_value(counts))
            seconds += time.perf_counter() - started
            rows.append((clip, draws, float(auc_fpr_smoothing(p)), p, int(counts.argmax()) == target, seconds))
        on_progress(Stage("smoothing", done, len(clips)))
    return pd.DataFrame(rows, columns=["clip", "draws", "score", "p_value", "is_right", "seconds"])


def attack_rejector(
    defense: NeuralRejection | RandomizedSmoothing,
    attack: RejectionAttack,
    clips: ClipSet,
    settings: StudySettings,
    *,
    on_progress: OnProgress = silent,
) -> pd.DataFrame:
    """What the defense itself decides on the clips of a nested sweep; its draws are none of the attacker's.

    The attacker of smoothing tries what he has found on a smoothing of his own, with other draws, and goes on with what
    fails there.

    Returns:
        `defense, attack, eps, clip, outcome` (right_accepted, rejected, wrong_accepted); eps 0 are the clean clips.
    """
    clip_ids, truths = clips.manifest.clip_ids, _truths(clips)
    heard = clips.waveforms.to(next(defense.network.parameters()).device)
    decisions = defense.decide(heard, clip_ids=clip_ids, seed=settings.seed)
    steps = settings.steps_on_smoothing if isinstance(defense, RandomizedSmoothing) else settings.steps
    rows = []
    levels = nested_sweep(
        _objective(defense, attack, clip_ids, settings),
        clips.waveforms.to(heard.device),
        clips.targets.to(heard.device),
        eps_grid=settings.eps_grid,
        steps=steps,
        confirm=_rehearsal(defense, attack, clips, settings) if isinstance(defense, RandomizedSmoothing) else None,
    )
    for done, level in enumerate(levels, start=1):
        waveforms = level.adversarial.waveforms
        changed = (waveforms != heard).any(dim=1).nonzero()[:, 0].tolist()  # a verdict on the others would be the same
        if changed:
            names = [clip_ids[i] for i in changed]
            again = defense.decide(waveforms[changed], clip_ids=names, seed=settings.seed)
            for i, decision in zip(changed, again, strict=True):
                decisions[i] = decision
        heard = waveforms
        rows += [
            (defense.name.value, attack, level.eps, clip, outcome_of(decision, truth))
            for clip, decision, truth in zip(clip_ids, decisions, truths, strict=True)
        ]
        on_progress(Stage(f"attacking {defense.name.value}", done, 1 + len(settings.eps_grid), f"eps {level.eps:g}"))
    return pd.DataFrame(rows, columns=["defense", "attack", "eps", "clip", "outcome"])


def outcome_of(decision: Decision, truth: str) -> Literal["right_accepted", "rejected", "wrong_accepted"]:
    """What a decision is worth on a clip that may be attacked."""
    if not decision.is_accepted:
        return "rejected"
    return "right_accepted" if decision.command == truth else "wrong_accepted"


def _objective(
    defense: NeuralRejection | RandomizedSmoothing,
    attack: RejectionAttack,
    clip_ids: list[str],
    settings: StudySettings,
) -> Objective:
    if attack == "cause_rejection":
        return CauseRejection(defense, clip_ids=clip_ids, seed=settings.seed, draws=settings.eot_draws)
    return evade(defense, clip_ids=clip_ids, seed=settings.seed, draws=settings.eot_draws)


def _rehearsal(
    defense: RandomizedSmoothing, attack: RejectionAttack, clips: ClipSet, settings: StudySettings
) -> Confirm:
    """Whether the attack succeeds against the defense with draws of the attacker's, whose clips bear other names."""
    clip_ids, truths = clips.manifest.clip_ids, _truths(clips)
    success = "rejected" if attack == "cause_rejection" else "wrong_accepted"

    def succeeds(waveforms: Tensor, labels: Tensor, rows: Tensor) -> Tensor:
        del labels
        places = rows.tolist()
        names = [f"rehearsal\x00{clip_ids[i]}" for i in places]
        decisions = defense.decide(waveforms, clip_ids=names, seed=settings.seed)
        return torch.tensor([outcome_of(d, truths[i]) == success for d, i in zip(decisions, places, strict=True)])

    return succeeds


def _truths(clips: ClipSet) -> list[str]:
    commands: list[str] = clips.manifest.table["command"].tolist()
    return commands
