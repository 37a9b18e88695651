"""From a manifest to a bundle: train clean and under noise, fit neural rejection, test, save."""

from __future__ import annotations

import logging
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from pydantic import BaseModel, ConfigDict, Field

from recognizer.audio import AudioFormat
from recognizer.bundle import (
    NAME_PATTERN,
    AudioSpec,
    BundleManifest,
    DataSpec,
    DefensesSpec,
    NetworkSpec,
    NeuralRejectionSpec,
    SmoothingSpec,
    check_folder,
    save_bundle,
)
from recognizer.decision import UNKNOWN
from recognizer.defense import DefenseName
from recognizer.manifest import SPLITS, Manifest
from recognizer.neural_rejection import NeuralRejection
from recognizer.progress import OnProgress, Stage, silent
from recognizer.smoothing import check_settings
from training.dataset import ClipSet, load_clips
from training.hardening import Epoch, Fitted, evaluate, fit_network
from training.recipe import Recipe
from training.rejection import choose_clips, fit_rejection

logger = logging.getLogger(__name__)

CLEAN, NOISE = "clean", "noise"

FEWEST_SPEAKERS = 3
"""Of a group in the bundle's vocabulary; smaller ones are `other` to the gateway."""


class BuildSettings(BaseModel):
    """What a bundle is built with."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(default="evenvoice", pattern=NAME_PATTERN)
    recipe: Recipe = Recipe()
    sigma: float = Field(default=0.02, gt=0)
    """RS and its network's noise augmentation, raw amplitude."""
    error_alpha: float = Field(default=0.001, gt=0, le=1)
    draws: int = Field(default=100, ge=1)
    confidence_threshold: float = Field(default=0.5, ge=0, le=1)
    default_defense: DefenseName = DefenseName.SMOOTHING


def build_bundle(
    manifest: Manifest,
    folder: Path,
    settings: BuildSettings,
    *,
    device: torch.device | str = "cpu",
    checkpoints: Path | None = None,
    on_progress: OnProgress = silent,
) -> BundleManifest:
    """Train on `train`, select on `validation`, test on `test` (where there is one), and write the bundle.

    Args:
        checkpoints: folder that holds the state of training after each epoch: a build that was killed goes on from it.
            It is removed once the bundle is written.

    Raises:
        ManifestError: no training or validation clips, or a command of the test split that training lacks.
        InfeasibleSmoothing: settings under which RS rejects everything; found before training.
        BundleError: the folder holds something else; found before training.
        TrainingError, CheckpointError, RejectionError: see there.
    """
    check_settings(sigma=settings.sigma, error_alpha=settings.error_alpha, draws=settings.draws)
    check_folder(folder)
    audio = AudioSpec()
    training_part, validation_part = manifest.split("train"), manifest.split("validation")
    commands = training_part.commands
    has_unknown = UNKNOWN in set(training_part.table["command"])
    labels = (*commands, UNKNOWN) if has_unknown else commands
    waveform_format = AudioFormat(**audio.model_dump())

    def load(part: Manifest, name: str) -> ClipSet:
        clips = load_clips(part, labels, waveform_format, name=name, on_progress=on_progress)
        for line in clips.skipped:
            logger.warning("skipped: %s", line)
        return clips

    training, validation = load(training_part, "training"), load(validation_part, "validation")
    test = load(manifest.split("test"), "test") if "test" in set(manifest.table["split"]) else None

    def fit(name: str, sigma: float) -> Fitted:
        recipe = settings.recipe.model_copy(update={"noise_sigma": sigma})

        def on_epoch(epoch: Epoch) -> None:
            note = f"validation accuracy {epoch.validation_accuracy:.3f}"
            on_progress(Stage(f"training the {name} network", epoch.number, recipe.epochs, note))

        on_progress(Stage(f"training the {name} network", 0, recipe.epochs))
        return fit_network(
            training,
            validation,
            len(labels),
            recipe,
            sample_rate=audio.sample_rate,
            device=device,
            checkpoint=checkpoints / f"{name}.pt" if checkpoints is not None else None,
            on_epoch=on_epoch,
        )

    fitted = {CLEAN: fit(CLEAN, 0.0), NOISE: fit(NOISE, settings.sigma)}
    on_progress(Stage("fitting neural rejection", 0, 1))
    clips, fitted_on = choose_clips(training, validation, len(labels))
    machine = fit_rejection(fitted[CLEAN].network, clips)
    rejection = NeuralRejection(
        fitted[CLEAN].network,
        machine.to(torch.device(device)),
        labels,
        confidence_threshold=settings.confidence_threshold,
    )
    on_progress(Stage("fitting neural rejection", 1, 1, fitted_on))

    bundle = BundleManifest(
        name=settings.name,
        created_at=datetime.now(UTC).replace(microsecond=0),
        evenvoice_version=version("evenvoice"),
        labels=labels,
        audio=audio,
        networks={
            name: NetworkSpec(
                architecture=result.network.config,
                file=f"{name}.safetensors",
                noise_sigma=settings.sigma if name == NOISE else 0.0,
            )
            for name, result in fitted.items()
        },
        defenses=DefensesSpec(
            undefended_network=CLEAN,
            neural_rejection=NeuralRejectionSpec(
                network=CLEAN,
                file="neural_rejection.safetensors",
                confidence_threshold=settings.confidence_threshold,
                fitted_on=fitted_on,
            ),
            smoothing=SmoothingSpec(
                network=NOISE, sigma=settings.sigma, error_alpha=settings.error_alpha, draws=settings.draws
            ),
            default=settings.default_defense,
        ),
        vocabulary=_vocabulary(manifest),
        data=DataSpec(
            fingerprint=manifest.fingerprint(),
            clips={s: int((manifest.table["split"] == s).sum()) for s in SPLITS},
            speakers={s: int(manifest.table.loc[manifest.table["split"] == s, "speaker"].nunique()) for s in SPLITS},
        ),
        training=settings.model_dump(mode="json"),
        test_results=_test_results(fitted, rejection, validation, test, settings.sigma),
    )
    tensors = {f"{name}.safetensors": result.network.state_dict() for name, result in fitted.items()}
    save_bundle(folder, bundle, {**tensors, "neural_rejection.safetensors": machine.tensors()})
    if checkpoints is not None:
        for name in fitted:
            (checkpoints / f"{name}.pt").unlink()
        checkpoints.rmdir()
    return bundle


def _vocabulary(manifest: Manifest) -> dict[str, tuple[str, ...]]:
    """Attribute -> groups of enough speakers: what only one or two declared must not become a metric's label."""
    speakers = manifest.table.drop_duplicates("speaker")
    return {
        attribute: tuple(g for g in groups if (speakers[attribute] == g).sum() >= FEWEST_SPEAKERS)
        for attribute, groups in manifest.vocabulary.items()
    }


def _test_results(
    fitted: dict[str, Fitted], rejection: NeuralRejection, validation: ClipSet, test: ClipSet | None, sigma: float
) -> dict[str, Any]:
    """Accuracies of both networks, under one draw of noise, and of neural rejection; audits have the rest."""
    results: dict[str, Any] = {}
    for split, clips in (("validation", validation), ("test", test)):
        if clips is None:
            continue
        truth = clips.manifest.table["command"].tolist()
        decisions = rejection.decide(clips.waveforms, clip_ids=clips.manifest.clip_ids, seed=0)
        of_commands = [(d, t) for d, t in zip(decisions, truth, strict=True) if t != UNKNOWN]
        count = max(1, len(of_commands))
        results[split] = {
            "clips": len(clips),
            "speakers": int(clips.manifest.table["speaker"].nunique()),
            "skipped": len(clips.skipped),
            "clean_accuracy": round(evaluate(fitted[CLEAN].network, clips)[1], 6),
            "noise_accuracy_one_draw": round(evaluate(fitted[NOISE].network, clips, noise_sigma=sigma)[1], 6),
            "neural_rejection_correct": round(sum(d.command == t for d, t in of_commands) / count, 6),
            "neural_rejection_rejected": round(sum(not d.is_accepted for d, _ in of_commands) / count, 6),
        }
    results["best_epoch"] = {name: asdict(result.best) for name, result in fitted.items()}
    return results
