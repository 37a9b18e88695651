"""`evenvoice study`."""

from __future__ import annotations

import signal
import sys
from pathlib import Path
from typing import Any

import click
from pydantic import ValidationError

from gateway.cli.engines import cluster_of, device_of_engine, engine_options
from gateway.cli.options import FILE, FOLDER, names, pairs
from gateway.cli.progress import bars, console, notes
from recognizer.manifest import load_manifest
from recognizer.progress import Stage
from training.recipe import RECIPES, RecipeName, named_recipe
from training.study.configuration import STUDY_ARCHITECTURES, StudyArchitecture
from training.study.jobs import Finished
from training.study.run import run_study
from training.study.settings import ATTACKS, AttackPreset, StudySettings

INCOMPLETE = 2
"""Exit code of a study some part of which has no result."""

DEFAULT = StudySettings()


@click.group("study")
def command() -> None:
    """The paper's study on a corpus: harden, attack, reject, compare groups."""


@command.command("run")
@click.argument("manifest", type=FILE)
@click.option("--out", type=FOLDER, required=True, help="Folder of the study; one that was begun is gone on with.")
@click.option("--splits", multiple=True, callback=names, help="closed, open or both. [default: both]")
@click.option("--architecture", type=click.Choice(STUDY_ARCHITECTURES), default=DEFAULT.architecture, show_default=True)
@click.option("--recipe", type=click.Choice(RECIPES), default=DEFAULT.recipe, show_default=True)
@click.option("--epochs", type=click.IntRange(min=1), help="[default: the recipe's]")
@click.option(
    "--clips",
    type=click.IntRange(min=1),
    default=DEFAULT.clips,
    show_default=True,
    help="Test clips attacked, at most.",
)
@click.option("--training-clips", type=click.IntRange(min=10), help="At most; validation in proportion. [default: all]")
@click.option("--configurations", multiple=True, callback=names, help="Keys or patterns of the 40. [default: all]")
@click.option("--attack", type=click.Choice(ATTACKS), default=DEFAULT.attack, show_default=True)
@click.option("--steps", type=click.IntRange(min=1), default=DEFAULT.steps, show_default=True, help="Of PGD, each eps.")
@click.option("--draws", multiple=True, callback=names, help="N of smoothing. [default: 10,100,1000,10000]")
@click.option("--workers", type=click.IntRange(min=1), default=1, show_default=True, help="Processes side by side.")
@click.option("--columns", multiple=True, callback=pairs, help="OURS=THEIRS, such as command=label.")
@click.option("--attributes", multiple=True, callback=names, help="Attribute columns. [default: those there]")
@click.option("--seed", type=click.IntRange(min=0), default=DEFAULT.seed, show_default=True)
@engine_options
@click.option("--device", default="cpu", show_default=True, callback=device_of_engine)
@click.pass_context
def run(
    ctx: click.Context,
    /,
    manifest: Path,
    out: Path,
    splits: tuple[str, ...] | None,
    architecture: StudyArchitecture,
    recipe: RecipeName,
    epochs: int | None,
    clips: int,
    training_clips: int | None,
    configurations: tuple[str, ...] | None,
    attack: AttackPreset,
    steps: int,
    draws: tuple[str, ...] | None,
    workers: int,
    columns: dict[str, str],
    attributes: tuple[str, ...] | None,
    seed: int,
    device: str,
    **engine: Any,
) -> None:
    """Run the study on MANIFEST, whose own split is ignored, or go on with it; exit code 2 if a part has no result."""
    given = {
        "splits": splits,
        "architecture": architecture,
        "recipe": recipe,
        "epochs": epochs or named_recipe(recipe, architecture=architecture).epochs,
        "clips": clips,
        "training_clips": training_clips,
        "configurations": configurations,
        "attack": attack,
        "steps": steps,
        "draws": draws,
        "seed": seed,
    }
    settings = _settings({name: value for name, value in given.items() if value is not None})
    loaded = load_manifest(manifest, columns=columns, attributes=attributes, default_split="test")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # the workers end with this process
    with cluster_of(workers=workers, device=device, **engine) as cluster, bars() as show:
        outcome = run_study(
            loaded,
            out,
            settings,
            source=manifest.name,
            workers=workers,
            cluster=cluster,
            device=device,
            on_progress=show,
            on_finished=_tell,
        )
    console.print(f"{outcome.done} parts of the study in {out} are done, {len(outcome.failed)} have no result")
    for name, error in outcome.failed.items():
        console.print(f"{name}: {error}")
    if outcome.failed:
        ctx.exit(INCOMPLETE)


@command.command("report")
@click.argument("folder", type=FOLDER)
@click.option("--out", type=FOLDER, help="Folder of the report. [default: FOLDER/report]")
def report(folder: Path, out: Path | None) -> None:
    """Write the tables, figures and page of the study in FOLDER, finished or not."""
    from training.study.report import write_report

    console.print(f"wrote {write_report(folder, out or folder / 'report')}")


def _settings(given: dict[str, object]) -> StudySettings:
    """The settings, or a usage error that names the option."""
    try:
        return StudySettings.model_validate(given)
    except ValidationError as error:
        first = error.errors()[0]
        option = str(first["loc"][0]).replace("_", "-") if first["loc"] else "configurations"
        raise click.BadParameter(first["msg"].removeprefix("Value error, "), param_hint=f"--{option}") from error


def _tell(finished: Finished, study: Stage) -> None:
    """A line for the log of each part that ends: how, and how far the study is with it."""
    far = f"{study.done} of {study.total}" + (f", {study.note}" if study.note else "")
    notes.print(f"{finished.job.name}: {finished.error or finished.note}, {finished.seconds:.0f} s ({far})")
