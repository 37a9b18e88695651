"""One network of a study: trained, attacked, and its files written."""

from __future__ import annotations

import hashlib
import time
from dataclasses import asdict
from typing import Any

import torch
from pydantic import BaseModel, ConfigDict

from recognizer.attacks import Finding
from recognizer.network import parameters_of
from recognizer.progress import OnProgress, Stage, silent
from training.corpora.splits import SplitKind
from training.hardening import Epoch, fit_network
from training.recipe import Recipe
from training.study.clips import SplitClips
from training.study.configuration import Configuration
from training.study.evaluation import evaluate_network
from training.study.folder import NetworkFolder, write_parquet, write_record, write_tensors
from training.study.settings import AttackPreset, StudySettings


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class TrainingRecord(_Record):
    """`training.json`."""

    configuration: Configuration
    recipe: Recipe
    history: tuple[dict[str, Any], ...]
    """One an epoch: number, training_loss, validation_loss (nats), validation_accuracy"""
    best: dict[str, Any]
    """The one whose weights were kept"""
    seconds: float
    """Of training and validation, over all goes"""
    parameters: int


class FindingRecord(_Record):
    """One pitfall of the attack."""

    pitfall: str
    detail: str


class HealthRecord(_Record):
    """`health.json`."""

    findings: tuple[FindingRecord, ...]
    attack: AttackPreset
    steps: int
    seconds: float


class DoneRecord(_Record):
    """`done.json`: everything else is there."""

    clean_accuracy: float


def seed_of(settings: StudySettings, split: SplitKind, key: str) -> int:
    """Of a network's training: each its own, so that the networks are independent draws of what their recipes give."""
    digest = hashlib.blake2b(f"{settings.seed}\0{split}\0{key}".encode(), digest_size=4).digest()
    return int.from_bytes(digest, "big") >> 1


def harden(
    configuration: Configuration,
    clips: SplitClips,
    place: NetworkFolder,
    settings: StudySettings,
    *,
    split: SplitKind,
    device: torch.device,
    on_progress: OnProgress = silent,
) -> float:
    """Train a network, or go on where a killed run left it, attack it, and write its files.

    Returns:
        Its accuracy on clean test clips.

    Raises:
        TrainingError, NetworkError: this configuration gives no network.
        CheckpointError, StudyError: a file that can't be read or written.
    """
    key = configuration.key(settings.architecture)
    recipe = configuration.recipe(
        settings.recipe,
        architecture=settings.architecture,
        epochs=settings.epochs,
        seed=seed_of(settings, split, key),
    )

    def on_epoch(epoch: Epoch) -> None:
        note = f"{key}, validation accuracy {epoch.validation_accuracy:.3f}"
        on_progress(Stage("training", epoch.number, recipe.epochs, note))

    on_progress(Stage("training", 0, recipe.epochs, key))
    fitted = fit_network(
        clips.training,
        clips.validation,
        len(clips.labels),
        recipe,
        sample_rate=clips.sample_rate,
        device=device,
        checkpoint=place.checkpoint,
        on_epoch=on_epoch,
    )
    write_tensors(place.weights, fitted.network.state_dict())
    write_record(
        place.training,
        TrainingRecord(
            configuration=configuration,
            recipe=recipe,
            history=tuple(asdict(epoch) for epoch in fitted.history),
            best=asdict(fitted.best),
            seconds=fitted.seconds,
            parameters=parameters_of(fitted.network),
        ),
    )
    started = time.perf_counter()
    evaluation = evaluate_network(fitted.network, clips.test, clips.attacked, settings, on_progress=on_progress)
    write_parquet(place.outcomes, evaluation.outcomes)
    write_record(
        place.health,
        HealthRecord(
            findings=tuple(_record_of(finding) for finding in evaluation.findings),
            attack=settings.attack,
            steps=settings.steps,
            seconds=time.perf_counter() - started,
        ),
    )
    write_record(place.done, DoneRecord(clean_accuracy=evaluation.clean_accuracy))
    place.failed.unlink(missing_ok=True)
    place.checkpoint.unlink(missing_ok=True)
    return evaluation.clean_accuracy


def _record_of(finding: Finding) -> FindingRecord:
    return FindingRecord(pitfall=finding.pitfall, detail=finding.detail)
