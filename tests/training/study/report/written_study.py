"""A study folder as `evenvoice study run` leaves it, with numbers from a formula in place of networks."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.random import Generator, default_rng

from recognizer.attacks import EPS_GRID
from training.study.configuration import SMOOTHING, Configuration
from training.study.folder import MachineRecord, NetworkFolder, StudyFolder, write_parquet, write_record
from training.study.hardened import DoneRecord, FindingRecord, HealthRecord, TrainingRecord
from training.study.jobs import pieces
from training.study.settings import StudyRecord, StudySettings, Versions

LABELS = ("eight", "five", "four", "nine", "one", "seven", "six", "three", "two", "zero")
ATTRIBUTES = ("gender", "age", "accent", "native")
SPEAKERS = 28
CLIPS_EACH = 3
"""Test clips of a speaker, of which the last is not attacked."""
TRAINING_EACH = 5
DRAWS = (10, 100, 1000, 10_000)
PURIFICATION_EPS = (0.001, 0.01, 0.1)
GUESSERS = 5
"""Configurations of every split that guess."""


def write_study(
    folder: Path,
    *,
    splits: tuple[str, ...] = ("closed", "open"),
    configurations: tuple[str, ...] = ("*",),
    attributes: tuple[str, ...] = ATTRIBUTES,
    guessers: int = GUESSERS,
) -> Path:
    """Write a finished study, by default of 40 configurations a split; the folder.

    Args:
        configurations: patterns of keys.
        guessers: configurations, those with the largest adversarial budgets first, that guess.
    """
    place = StudyFolder(folder)
    settings = StudySettings(
        splits=splits, configurations=configurations, epochs=12, clips=SPEAKERS * (CLIPS_EACH - 1), draws=DRAWS
    )
    record = StudyRecord(
        settings=settings,
        source="digits.csv",
        manifest="sha256:0123",
        labels=LABELS,
        attributes=attributes,
        notes=("open split: accent 'welsh' is only in test (1 speakers, 3 clips)",),
        versions=Versions.installed(),
    )
    write_record(place.study, record)
    for number, split in enumerate(settings.splits):
        rng = default_rng(number)
        clips = clips_table(rng, is_open=split == "open")
        write_parquet(place.clips(split), clips.drop(columns=[a for a in ATTRIBUTES if a not in attributes]))
        test = clips[clips["split"] == "test"].reset_index(drop=True)
        chosen = sorted(settings.chosen, key=lambda configuration: -configuration.adversarial_eps)
        for place_in_line, configuration in enumerate((*chosen, SMOOTHING)):
            home = place.network(split, configuration.key("m5-small"))
            write_network(home, configuration, test, rng, guesses=place_in_line < guessers)
        attacked = test[test["is_attacked"]]
        write_parquet(place.loudness(split), loudness_table(attacked))
        write_rejection(place.rejection(split), test, rng)
        for piece in pieces(split, settings, attacked=len(attacked)):
            piece.result(place).parent.mkdir(exist_ok=True)
            piece.result(place).touch()  # a report only looks whether they are there
    return folder


def clips_table(rng: Generator, *, is_open: bool) -> pd.DataFrame:
    """`clips.parquet`: 28 speakers in test, and in training the same ones (closed) or others (open)."""
    rows = []
    for speaker in range(SPEAKERS):
        mine = {
            "gender": ["male"] * 13 + ["female"] * 12 + ["nonbinary"] + ["undeclared"] * 2,
            "age": ["teens"] * 3 + ["twenties"] * 12 + ["thirties"] * 11 + ["undeclared"] * 2,
            "accent": ["us"] * 11 + ["indian"] * 6 + ["german"] * 5 + ["scottish"] * 2 + ["welsh"] + ["undeclared"] * 3,
            "native": ["yes"] * 14 + ["no"] * 14,
        }
        groups = {attribute: values[(speaker * 5 + 3) % SPEAKERS] for attribute, values in mine.items()}
        parts = [("train", TRAINING_EACH, "n" if is_open else ""), ("test", CLIPS_EACH, "")]
        for split, count, prefix in parts:
            for take in range(count):
                rows.append(
                    {
                        "clip": f"{split}/{prefix}s{speaker:02}/{take}.wav",
                        "speaker": f"{prefix}s{speaker:02}",
                        "command": LABELS[int(rng.integers(len(LABELS)))],
                        "split": split,
                        "is_attacked": split == "test" and take < CLIPS_EACH - 1,
                    }
                    | groups
                )
    return pd.DataFrame(rows)


def loudness_table(attacked: pd.DataFrame) -> pd.DataFrame:
    """`loudness.parquet`: men are twice as loud as women, and the first clip is silent."""
    rms = np.where(attacked["gender"] == "male", 0.1, 0.05)
    rms[0] = 0.0
    return pd.DataFrame({"clip": attacked["clip"], "rms": rms.astype("float32")})


def write_network(
    home: NetworkFolder, configuration: Configuration, test: pd.DataFrame, rng: Generator, *, guesses: bool
) -> None:
    """A network's files; better defended ones last longer, and men last longer than women."""
    budget = configuration.adversarial_eps + 0.3 * configuration.noise_sigma * (1 + configuration.tricks) + 0.0005
    accuracy = 0.1 if guesses else 0.95 - 0.15 * configuration.tricks - 2 * configuration.adversarial_eps
    limit = budget * rng.lognormal(sigma=1.0, size=len(test)) * np.where(test["gender"] == "male", 2.0, 1.0)
    is_right = np.arange(len(test)) < round(0.1 * len(test)) if guesses else rng.random(len(test)) < accuracy
    loudness = np.where(test["gender"] == "male", 32.0, 29.0) + rng.normal(scale=2, size=len(test))
    rows = []
    for eps in (0.0, *EPS_GRID):
        heard = np.ones(len(test), dtype=bool) if eps == 0 else test["is_attacked"].to_numpy()
        survives = is_right & ((limit > eps) | guesses)
        snr = np.full(len(test), np.inf) if eps == 0 else loudness - 20 * np.log10(eps / 0.001)
        rows.append(
            pd.DataFrame({"clip": test["clip"], "eps": eps, "is_correct": survives, "snr_db": snr.astype("float32")})[
                heard
            ]
        )
    write_parquet(home.outcomes, pd.concat(rows, ignore_index=True))
    findings = (FindingRecord(pitfall="constant_model", detail="one label for 99 % of clips"),) if guesses else ()
    write_record(home.health, HealthRecord(findings=findings, attack="nested", steps=100, seconds=4.0))
    write_record(home.training, training_record(configuration))
    write_record(home.done, DoneRecord(clean_accuracy=float(is_right.mean())))


def training_record(configuration: Configuration) -> TrainingRecord:
    recipe = configuration.recipe("paper", architecture="m5-small", epochs=12, seed=0)
    losses = [{"number": n, "training_loss": 2.0 / n, "validation_loss": 2.1 / n} for n in range(1, 13)]
    epochs = [loss | {"validation_accuracy": 0.5} for loss in losses]
    return TrainingRecord(
        configuration=configuration,
        recipe=recipe,
        history=tuple(epochs),
        best=epochs[-1],
        seconds=70.0,
        parameters=25_290,
    )


def write_rejection(folder: Path, test: pd.DataFrame, rng: Generator) -> None:
    """The four tables; smoothing's scores fall with N, and women's are larger."""
    is_woman = test["gender"] == "female"
    confidence = np.clip(rng.beta(8, 1 + is_woman), 0.2, 1.0)
    rejection = {"clip": test["clip"], "draws": 0, "score": 1 - confidence, "confidence": confidence}
    write_parquet(
        folder / "neural_rejection.parquet",
        pd.DataFrame(rejection | {"is_right": rng.random(len(test)) < 0.9, "seconds": 0.002}),
    )
    write_record(folder / "neural_rejection.json", MachineRecord(fitted_on="640 held-out clips of 28 speakers"))
    attacked = test[test["is_attacked"]].reset_index(drop=True)
    write_parquet(folder / "smoothing.parquet", pd.concat(list(_smoothing(attacked, rng)), ignore_index=True))
    write_parquet(folder / "under_attack.parquet", pd.concat(list(_under_attack(attacked, rng)), ignore_index=True))
    write_parquet(folder / "purification.parquet", pd.concat(list(_purification(attacked, rng)), ignore_index=True))


def _smoothing(attacked: pd.DataFrame, rng: Generator) -> Iterator[pd.DataFrame]:
    hard = rng.random(len(attacked)) * np.where(attacked["gender"] == "female", 1.5, 1.0)
    for draws in DRAWS:
        p = np.clip(hard * 3 / draws**0.6, 0, 1)
        yield pd.DataFrame(
            {
                "clip": attacked["clip"],
                "draws": draws,
                "score": np.maximum(p - 0.001, 0),
                "p_value": p,
                "is_right": rng.random(len(attacked)) < 0.85,
                "seconds": 0.0004 * draws,
            }
        )


def _under_attack(attacked: pd.DataFrame, rng: Generator) -> Iterator[pd.DataFrame]:
    for defense, limit in (("neural_rejection", 0.005), ("smoothing", 0.03)):
        for attack in ("evade", "cause_rejection"):
            own = limit * rng.lognormal(size=len(attacked)) * np.where(attacked["gender"] == "male", 2.0, 1.0)
            for eps in (0.0, *EPS_GRID):
                lost = "wrong_accepted" if attack == "evade" else "rejected"
                outcome = np.where(eps < own, "right_accepted", np.where(eps < 2 * own, "rejected", lost))
                yield pd.DataFrame(
                    {"defense": defense, "attack": attack, "eps": eps, "clip": attacked["clip"], "outcome": outcome}
                )


def _purification(attacked: pd.DataFrame, rng: Generator) -> Iterator[pd.DataFrame]:
    for purifier in ("low_pass", "quantise", "spectral_gate", "codec"):
        for attack, limit in (("oblivious", 0.02), ("adaptive", 0.001)):
            own = limit * rng.lognormal(size=len(attacked))
            for eps in (0.0, *PURIFICATION_EPS):
                rows = {"purifier": purifier, "attack": attack, "eps": eps, "clip": attacked["clip"]}
                yield pd.DataFrame(rows | {"is_correct": own > eps})
