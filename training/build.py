"""From a manifest to a bundle: train clean and under noise, fit neural rejection, test, save."""

from __future__ import annotations

import logging
from contextlib import nullcontext
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from pydantic import BaseModel, ConfigDict, Field, model_validator

from recognizer.audio import AudioFormat
from recognizer.bundle import (
    NAME_PATTERN,
    AudioSpec,
    BundleManifest,
    DataSpec,
    DefensesSpec,
    NetworkSpec,
    NeuralRejectionSpec,
    PurifierSettings,
    SmoothingSpec,
    check_folder,
    save_bundle,
)
from recognizer.decision import UNKNOWN
from recognizer.defense import DefenseName
from recognizer.far_from_data import FAR_FROM_DATA, what_it_decides_far_from_data
from recognizer.manifest import SPLITS, Manifest
from recognizer.neural_rejection import NeuralRejection, Score
from recognizer.progress import OnProgress, Stage, silent
from recognizer.smoothing import VoteTest, check_settings
from recognizer.steps import REJECTORS, steps_of
from training.checkpoint import checkpoints_in
from training.dataset import ClipSet
from training.hardening import Epoch, Fitted, evaluate, fit_network
from training.preparation import Prepared, prepare
from training.recipe import Recipe
from training.rejection import RejectionError, fit_rejection

logger = logging.getLogger(__name__)

CLEAN, NOISE = "clean", "noise"

FEWEST_SPEAKERS = 3
"""Of a group in the bundle's vocabulary; smaller ones are `other` to the gateway."""


class BuildSettings(BaseModel):
    """What a bundle is built with."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    name: str = Field(default="evenvoice", pattern=NAME_PATTERN)
    recipe: Recipe = Recipe()
    sigma: float = Field(default=0.02, gt=0)
    """RS and its network's noise augmentation, raw amplitude."""
    error_alpha: float = Field(default=0.001, gt=0, le=1)
    draws: int = Field(default=1000, ge=1)
    """N: at most, in a sequential test."""
    test: VoteTest = VoteTest.SEQUENTIAL
    confidence_threshold: float = Field(default=0.5, ge=0, le=1)
    score: Score = Score.PROBABILITY
    """What NR compares with it."""
    allowed: tuple[str, ...] = ()
    """Names of the defenses that a request may choose, see `recognizer.steps`; the single ones where none are given."""
    purifiers: dict[str, PurifierSettings] = {}
    """Name -> settings, of those among them that are not to have their defaults."""
    default_defense: str = DefenseName.SMOOTHING.value

    @model_validator(mode="after")
    def _are_defenses(self) -> BuildSettings:
        taken = {step for name in (*self.allowed, self.default_defense) for step in steps_of(name).purifiers}
        if idle := sorted(set(self.purifiers) - taken):
            raise ValueError(f"the purifiers {', '.join(idle)} are set, and no defense that is allowed takes them")
        DefensesSpec(undefended_network=CLEAN, purifiers=self.purifiers)  # raises where they can't be set so
        singles = (DefenseName.NONE, *REJECTORS)
        if self.default_defense not in (self.allowed or singles):
            raise ValueError(
                f"the default defense {self.default_defense} is none of those allowed, "
                f"{', '.join(self.allowed or singles)}; allow it, too"
            )
        return self


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

    The noise network is selected under its noise, whatever the recipe says. Where neural rejection can't be fitted on
    the corpus, the bundle has none, and `test_results` says why.

    Args:
        checkpoints: folder that holds the state of training after each epoch: a build that was killed goes on from it.
            It is this build's alone, and is removed once the bundle is written.

    Raises:
        ManifestError: see `prepare`.
        InfeasibleSmoothing: settings under which RS rejects everything.
        BundleError: the folder holds something else.
        RejectionError: the default or an allowed defense needs neural rejection, which can't be fitted.
        CheckpointError: another build is at work with these checkpoints; or see `Checkpoint`.
        TrainingError: see `fit_network`. But for this and a disk that fills up, all are found before training.
    """
    check_settings(sigma=settings.sigma, error_alpha=settings.error_alpha, draws=settings.draws, test=settings.test)
    check_folder(folder)
    with checkpoints_in(checkpoints) if checkpoints is not None else nullcontext():
        bundle = _build(manifest, folder, settings, torch.device(device), checkpoints, on_progress)
        if checkpoints is not None:
            for name in bundle.networks:
                (checkpoints / f"{name}.pt").unlink(missing_ok=True)
    return bundle


def _build(
    manifest: Manifest,
    folder: Path,
    settings: BuildSettings,
    device: torch.device,
    checkpoints: Path | None,
    on_progress: OnProgress,
) -> BundleManifest:
    audio = AudioSpec()
    clips = prepare(manifest, AudioFormat(**audio.model_dump()), on_progress=on_progress)
    if clips.for_rejection is None:
        if DefenseName.NEURAL_REJECTION in steps_of(settings.default_defense).rejectors:
            raise RejectionError(f"{clips.rejection_note}; or take another default defense")
        if needing := [n for n in settings.allowed if DefenseName.NEURAL_REJECTION in steps_of(n).rejectors]:
            raise RejectionError(f"{clips.rejection_note}; or do not allow {', '.join(needing)}")
        logger.warning("the bundle will have no neural rejection: %s", clips.rejection_note)

    def fit(name: str, **changes: float) -> Fitted:
        recipe = settings.recipe.model_copy(update=changes)

        def on_epoch(epoch: Epoch) -> None:
            note = f"validation accuracy {epoch.validation_accuracy:.3f}"
            on_progress(Stage(f"training the {name} network", epoch.number, recipe.epochs, note))

        on_progress(Stage(f"training the {name} network", 0, recipe.epochs))
        return fit_network(
            clips.training,
            clips.validation,
            len(clips.labels),
            recipe,
            sample_rate=audio.sample_rate,
            device=device,
            checkpoint=checkpoints / f"{name}.pt" if checkpoints is not None else None,
            on_epoch=on_epoch,
        )

    fitted = {
        CLEAN: fit(CLEAN, noise_sigma=0.0),
        NOISE: fit(NOISE, noise_sigma=settings.sigma, select_under_noise=True),
    }
    tensors = {f"{name}.safetensors": result.network.state_dict() for name, result in fitted.items()}
    rejection = None
    if clips.for_rejection is not None:
        on_progress(Stage("fitting neural rejection", 0, 1))
        machine = fit_rejection(fitted[CLEAN].network, clips.for_rejection)
        tensors["neural_rejection.safetensors"] = machine.tensors()
        rejection = NeuralRejection(
            fitted[CLEAN].network,
            machine.to(device),
            clips.labels,
            confidence_threshold=settings.confidence_threshold,
            score=settings.score,
        )
        on_progress(Stage("fitting neural rejection", 1, 1, clips.rejection_note))

    bundle = BundleManifest(
        name=settings.name,
        created_at=datetime.now(UTC).replace(microsecond=0),
        evenvoice_version=version("evenvoice"),
        labels=clips.labels,
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
                score=settings.score,
                fitted_on=clips.rejection_note,
            )
            if rejection is not None
            else None,
            smoothing=SmoothingSpec(
                network=NOISE,
                sigma=settings.sigma,
                error_alpha=settings.error_alpha,
                draws=settings.draws,
                test=settings.test,
            ),
            purifiers={
                purifier: {**settings.purifiers.get(purifier, {}), "sample_rate": audio.sample_rate}
                for name in settings.allowed
                for purifier in steps_of(name).purifiers
            },
            **({"allowed": settings.allowed} if settings.allowed else {}),
            default=settings.default_defense,
        ),
        vocabulary=_vocabulary(manifest),
        data=DataSpec(
            fingerprint=clips.fingerprint,
            clips={s: int((manifest.table["split"] == s).sum()) for s in SPLITS},
            speakers={s: int(manifest.table.loc[manifest.table["split"] == s, "speaker"].nunique()) for s in SPLITS},
        ),
        training=settings.model_dump(mode="json"),
        test_results=_test_results(fitted, rejection, clips, settings.sigma),
    )
    save_bundle(folder, bundle, tensors)
    return bundle


def _vocabulary(manifest: Manifest) -> dict[str, tuple[str, ...]]:
    """Attribute -> groups of enough speakers: what only one or two declared must not become a metric's label."""
    speakers = manifest.table.drop_duplicates("speaker")
    return {
        attribute: tuple(g for g in groups if (speakers[attribute] == g).sum() >= FEWEST_SPEAKERS)
        for attribute, groups in manifest.vocabulary.items()
    }


def _test_results(
    fitted: dict[str, Fitted], rejection: NeuralRejection | None, clips: Prepared, sigma: float
) -> dict[str, Any]:
    """Accuracies of both networks, under one draw of noise, and of neural rejection; what that decides far from its
    data; audits have the rest."""
    results: dict[str, Any] = {}
    for split, part in (("validation", clips.validation), ("test", clips.test)):
        if part is None:
            continue
        results[split] = {
            "clips": len(part),
            "speakers": int(part.manifest.table["speaker"].nunique()),
            "skipped": len(part.skipped),
            "clean_accuracy": round(evaluate(fitted[CLEAN].network, part)[1], 6),
            "noise_accuracy_one_draw": round(evaluate(fitted[NOISE].network, part, noise_sigma=sigma)[1], 6),
            **(_rejection_results(rejection, part) if rejection is not None else {}),
        }
    if rejection is None:
        results["no_neural_rejection"] = {"reason": clips.rejection_note}
    else:
        results[FAR_FROM_DATA] = what_it_decides_far_from_data(rejection)
    results["best_epoch"] = {name: asdict(result.best) for name, result in fitted.items()}
    return results


def _rejection_results(rejection: NeuralRejection, clips: ClipSet) -> dict[str, float]:
    """Of the clips that are commands: the shares that are right and accepted, and rejected."""
    truth = clips.manifest.table["command"].tolist()
    decisions = rejection.decide(clips.waveforms, clip_ids=clips.manifest.clip_ids, seed=0)
    of_commands = [(d, t) for d, t in zip(decisions, truth, strict=True) if t != UNKNOWN]
    count = max(1, len(of_commands))
    return {
        "neural_rejection_correct": round(sum(d.command == t for d, t in of_commands) / count, 6),
        "neural_rejection_rejected": round(sum(not d.is_accepted for d, _ in of_commands) / count, 6),
    }
