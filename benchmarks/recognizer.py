"""Accuracy on real digits of speakers that were not trained on: `python -m benchmarks.recognizer SPEECH`.

SPEECH holds `fsdd`, `kokoro20`, `speech_commands_mini` and `duke_digits`. The speakers of `duke_digits` make four
folds, spread over gender and first language; each fold's network trains on the other three and on the other corpora,
validates on 1 in 25 of the training clips, and is tested on the fold. `--sigma` trains under noise and adds what
randomized smoothing then accepts. A fold that is done is not done again; one that was killed goes on from its last
epoch.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from rich.console import Console
from rich.table import Table

from benchmarks.goals import Goal, finish
from gateway.cli.progress import bars
from monitoring.parity import SpeakerTable, group_means
from recognizer.audio import AudioFormat
from recognizer.bundle import AudioSpec
from recognizer.decision import Reason
from recognizer.manifest import Manifest, read_table
from recognizer.network import ARCHITECTURES, predict_logits
from recognizer.progress import OnProgress, Stage
from recognizer.smoothing import RandomizedSmoothing
from training.corpora.audiomnist import DIGITS
from training.corpora.folder import own_manifest
from training.dataset import load_clips
from training.hardening import Epoch, fit_network
from training.recipe import Recipe, strong_recipe

CORPORA = ("fsdd", "kokoro20", "speech_commands_mini", "duke_digits")
TESTED = "duke_digits"
FOLDS = 4
ATTRIBUTES = ("gender", "native", "age")
VALIDATES = 25  # every so manieth training clip
GOALS = {"m5": 0.95, "m5-small": 0.92}
DRAWS, ERROR_ALPHA = 100, 0.001


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("speech", type=Path)
    parser.add_argument("--architecture", choices=ARCHITECTURES, default="m5-small")
    parser.add_argument("--folds", default="0,1,2,3", help="which to train and test, with commas")
    parser.add_argument("--sigma", type=float, default=0.0, help="train under noise of this standard deviation")
    parser.add_argument("--epochs", type=int, help="the recipe's by default")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, help="torch's own choice by default")
    parser.add_argument("--out", type=Path, default=Path("runs/recognizer"))
    arguments = parser.parse_args()
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    changes = {"epochs": arguments.epochs} if arguments.epochs else {}
    recipe = strong_recipe(architecture=arguments.architecture, noise_sigma=arguments.sigma, **changes)
    folder = arguments.out / f"{recipe.architecture}-noise{recipe.noise_sigma:g}"
    manifest, is_certain = real_digits(arguments.speech)
    folds = [int(fold) for fold in arguments.folds.split(",")]
    with bars() as show:
        tables = [tested(folder, fold, manifest, is_certain, recipe, arguments.device, show) for fold in folds]
    report(recipe, pd.concat(tables, ignore_index=True), folds)


def real_digits(speech: Path) -> tuple[Manifest, dict[str, bool]]:
    """The corpora as one, and of each tested clip's path whether its cut is certain."""
    paths = [speech / name / "manifest.csv" for name in CORPORA]
    corpus = own_manifest(
        paths,
        columns={"command": "label"},
        attributes=ATTRIBUTES,
        commands=DIGITS,
        others="drop",
        native_from="native",
    )
    tested_root = (speech / TESTED).resolve()
    rows = read_table(tested_root / "manifest.csv")
    return corpus.manifest, {
        str(tested_root / p): ok == "1" for p, ok in zip(rows["path"], rows["align_ok"], strict=True)
    }


def split_of(manifest: Manifest, is_certain: dict[str, bool], fold: int) -> Manifest:
    """The fold's speakers are its test, every 25th of the other clips validates."""
    table = manifest.table.copy()
    is_tested = table["path"].isin(list(is_certain))
    speakers = table[is_tested].drop_duplicates("speaker").sort_values(["gender", "native", "speaker"])["speaker"]
    own = set(speakers.iloc[fold::FOLDS])
    is_test = is_tested & table["speaker"].isin(list(own))
    table["split"] = np.where(is_test, "test", "train")
    others = table.index[~is_test]
    table.loc[others[np.arange(len(others)) % VALIDATES == 0], "split"] = "validation"
    return Manifest(table, manifest.attributes)


def tested(
    folder: Path,
    fold: int,
    manifest: Manifest,
    is_certain: dict[str, bool],
    recipe: Recipe,
    device: str,
    show: OnProgress,
) -> pd.DataFrame:
    """One row a test clip of the fold: who said it, whether it was understood, plainly and smoothed."""
    done, said = folder / f"fold{fold}.parquet", folder / f"fold{fold}.json"
    if done.exists():
        if said.read_text(encoding="utf-8") != recipe.model_dump_json():
            raise SystemExit(f"{done} is of another recipe; remove it, or give another --out")
        return pd.read_parquet(done)
    divided = split_of(manifest, is_certain, fold)
    audio = AudioFormat(**AudioSpec().model_dump())
    training, validation, test = (load_clips(divided.split(s), DIGITS, audio) for s in ("train", "validation", "test"))

    def on_epoch(epoch: Epoch) -> None:
        note = f"validation accuracy {epoch.validation_accuracy:.3f}"
        show(
            Stage(
                f"{recipe.architecture}, sigma {recipe.noise_sigma:g}, fold {fold}", epoch.number, recipe.epochs, note
            )
        )

    fitted = fit_network(
        training,
        validation,
        len(DIGITS),
        recipe,
        sample_rate=audio.sample_rate,
        device=device,
        checkpoint=folder / f"fold{fold}.pt",
        on_epoch=on_epoch,
    )
    network = fitted.network.cpu()
    rows = test.manifest.table.assign(
        fold=fold,
        is_certain=[is_certain[path] for path in test.manifest.table["path"]],
        is_correct=(predict_logits(network, test.waveforms).argmax(dim=1) == test.targets).numpy(),
        seconds=fitted.seconds,
        epochs=recipe.epochs,
        best_epoch=fitted.best.number,
    )
    if recipe.noise_sigma:
        smoothing = RandomizedSmoothing(network, DIGITS, sigma=recipe.noise_sigma, error_alpha=ERROR_ALPHA, draws=DRAWS)
        decisions = smoothing.decide(test.waveforms, clip_ids=test.manifest.clip_ids, seed=0)
        rows["smoothed_is_correct"] = [d.command == c for d, c in zip(decisions, rows["command"], strict=True)]
        rows["smoothed_is_rejected"] = [d.reason == Reason.SMOOTHING_TIE for d in decisions]
    said.write_text(recipe.model_dump_json(), encoding="utf-8")
    unfinished = done.with_suffix(".unfinished")
    rows.drop(columns="path").to_parquet(unfinished, index=False)
    unfinished.replace(done)
    return rows


def report(recipe: Recipe, rows: pd.DataFrame, folds: list[int]) -> None:
    """Print accuracies per group and write them down."""
    scores = {"": "is_correct"}
    if recipe.noise_sigma:
        scores |= {"smoothed, ": "smoothed_is_correct", "rejected, ": "smoothed_is_rejected"}
    measures = {}
    for prefix, column in scores.items():
        scored = rows.assign(score=rows[column])
        measures |= {f"{prefix}all clips": scored, f"{prefix}certain cuts": scored[rows["is_certain"]]}
    results: dict[str, Any] = {
        "architecture": recipe.architecture,
        "noise_sigma": recipe.noise_sigma,
        "recipe": recipe.model_dump(mode="json"),
        "folds": folds,
        "training_seconds": [round(float(s), 1) for s in rows.groupby("fold")["seconds"].first()],
        "best_epoch": [int(e) for e in rows.groupby("fold")["best_epoch"].first()],
        "measures": {name: _groups(part) for name, part in measures.items()},
    }
    table = Table("group", "speakers", "clips", *measures, title=f"{recipe.architecture}, sigma {recipe.noise_sigma:g}")
    for group, row in results["measures"]["all clips"]["groups"].items():
        cells = [results["measures"][name]["groups"].get(group, {}) for name in measures]
        table.add_row(
            group, str(row["speakers"]), str(row["clips"]), *(f"{c['mean']:.3f}" if c else "-" for c in cells)
        )
    for fold, name in ((str(f), f"fold {f}") for f in folds):
        table.add_row(name, "", "", *(f"{m['folds'][fold]:.3f}" for m in results["measures"].values()))
    Console(width=110).print(table)
    goals = []
    if recipe.noise_sigma == 0 and recipe.architecture in GOALS:
        mean = float(np.mean(list(results["measures"]["certain cuts"]["folds"].values())))
        limit = 45 if recipe.architecture == "m5" else 10
        goals = [
            Goal(f"{recipe.architecture}, certain cuts, mean of {len(folds)} folds", mean, GOALS[recipe.architecture]),
            Goal("minutes of the longest training", max(results["training_seconds"]) / 60, limit, at_least=False),
        ]
    finish(f"recognizer-{recipe.architecture}-noise{recipe.noise_sigma:g}", results, goals)
    print(json.dumps({name: m["folds"] for name, m in results["measures"].items()}))


def _groups(rows: pd.DataFrame) -> dict[str, Any]:
    """Mean score of each group, with its speakers and 95 % interval, and of each fold."""
    groups = {}
    for attribute in ("everybody", *ATTRIBUTES):
        names = rows[attribute] if attribute in rows else pd.Series("everybody", index=rows.index)
        speakers = SpeakerTable.from_clips(
            speaker=rows["speaker"].to_numpy(dtype=str),
            group=names.to_numpy(dtype=str),
            score=rows["score"].to_numpy(dtype=float),
        )
        for found in group_means(speakers):
            name = found.group if attribute == "everybody" else f"{attribute} {found.group}"
            groups[name] = {
                "speakers": found.speakers,
                "clips": found.clips,
                "mean": round(found.mean, 4),
                "lower": None if np.isnan(found.lower) else round(found.lower, 4),
                "upper": None if np.isnan(found.upper) else round(found.upper, 4),
            }
    return {
        "groups": groups,
        "folds": {str(f): round(float(s), 4) for f, s in rows.groupby("fold")["score"].mean().items()},
    }


if __name__ == "__main__":
    main()
