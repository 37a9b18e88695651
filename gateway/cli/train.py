"""`evenvoice train`."""

from __future__ import annotations

import re
from pathlib import Path

import click
from pydantic import ValidationError

from gateway.cli.options import FILE, FOLDER, Number, names, pairs, usable_device
from gateway.cli.progress import bars, console
from recognizer.bundle import NAME_PATTERN, PurifierSettings, version_of
from recognizer.manifest import load_manifest
from recognizer.network import ARCHITECTURES
from recognizer.neural_rejection import Score
from recognizer.smoothing import VoteTest
from recognizer.steps import DefenseNameError, steps_of
from training.build import BuildSettings, build_bundle
from training.recipe import PRECISIONS, RECIPES, RecipeName, named_recipe

_PURIFIER_SETTING = re.compile(r"(\w+):(\w+)=(\d+(?:\.\d+)?)")


def _bundle_name(_: click.Context, parameter: click.Parameter, value: str) -> str:
    """A name that a bundle may have."""
    if not re.fullmatch(NAME_PATTERN, value):
        raise click.BadParameter(
            f"{value!r}: small letters, digits, '_', '.', '-'; it begins with a letter or digit", param=parameter
        )
    return value


def _named(_: click.Context, parameter: click.Parameter, value: Path) -> Path:
    """A folder with a name of its own, beside which the checkpoints' can lie."""
    if value.name in ("", ".."):
        raise click.BadParameter(f"{str(value)!r} names no new folder; give one such as 'bundle'", param=parameter)
    return value


def _defense(_: click.Context, parameter: click.Parameter, value: str) -> str:
    """The name of a defense; see `recognizer.steps`."""
    try:
        return steps_of(value).name
    except DefenseNameError as error:
        raise click.BadParameter(str(error), param=parameter) from None


def _defenses(context: click.Context, parameter: click.Parameter, values: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(_defense(context, parameter, value) for value in values)


def _purifiers(_: click.Context, parameter: click.Parameter, values: tuple[str, ...]) -> dict[str, PurifierSettings]:
    """Name -> settings."""
    settings: dict[str, PurifierSettings] = {}
    for value in values:
        if not (read := _PURIFIER_SETTING.fullmatch(value)):
            raise click.BadParameter(f"{value!r}; NAME:SETTING=NUMBER is accepted", param=parameter)
        name, setting, number = read.groups()
        settings.setdefault(name, {})[setting] = float(number) if "." in number else int(number)
    return settings


@click.command("train")
@click.argument("manifest", type=FILE)
@click.option("--out", type=FOLDER, required=True, callback=_named, help="Folder of the bundle.")
@click.option("--name", default="evenvoice", show_default=True, callback=_bundle_name, help="Of the bundle.")
@click.option(
    "--recipe",
    type=click.Choice(RECIPES),
    default="strong",
    show_default=True,
    help="Ours, or the paper's; the options down to --seed change single settings of it.",
)
@click.option("--architecture", type=click.Choice(ARCHITECTURES), help="[default: the recipe's]")
@click.option("--epochs", type=click.IntRange(min=1), help="[default: the recipe's]")
@click.option("--learning-rate", type=Number(0, min_open=True), help="[default: the recipe's]")
@click.option("--clips-a-speaker", type=click.IntRange(min=1), help="At most so many of each an epoch.")
@click.option(
    "--adversarial-eps",
    type=Number(0, 2),
    help="Radius of adversarial training, raw amplitude; for both networks. [default: 0, none]",
)
@click.option("--precision", type=click.Choice(PRECISIONS), help="Of a training step. [default: the recipe's]")
@click.option("--seed", type=int, default=0, show_default=True)
@click.option(
    "--sigma", type=Number(0, min_open=True), default=0.02, show_default=True, help="RS noise, raw amplitude."
)
@click.option(
    "--error-alpha",
    type=Number(0, 1, min_open=True),
    default=0.001,
    show_default=True,
    help="RS abstains when p is above it.",
)
@click.option(
    "--draws",
    type=click.IntRange(min=1),
    default=1000,
    show_default=True,
    help="N of RS: the most draws a decision takes, or with --test fixed the draws of every one.",
)
@click.option(
    "--test",
    type=click.Choice([t.value for t in VoteTest]),
    default="sequential",
    show_default=True,
    help="Whether RS stops drawing once the vote is settled.",
)
@click.option(
    "--confidence-threshold",
    type=Number(0, 1),
    default=0.5,
    show_default=True,
    help="NR abstains below it.",
)
@click.option(
    "--score",
    type=click.Choice([s.value for s in Score]),
    default="probability",
    show_default=True,
    help="What NR compares with it: calibrated, or as the machine gives it.",
)
@click.option(
    "--allow",
    "allowed",
    multiple=True,
    callback=_defenses,
    help="Defense that a request may choose, such as neural_rejection.smoothing or opus.smoothing. "
    "[default: the single ones]",
)
@click.option(
    "--purifier",
    "purifiers",
    multiple=True,
    callback=_purifiers,
    help="NAME:SETTING=VALUE, such as opus:bitrate=12000, of a purifier that an allowed defense takes.",
)
@click.option(
    "--default-defense",
    default="smoothing",
    show_default=True,
    callback=_defense,
    help="One that is allowed.",
)
@click.option("--columns", multiple=True, callback=pairs, help="OURS=THEIRS, such as command=label.")
@click.option("--attributes", multiple=True, callback=names, help="Attribute columns. [default: those there]")
@click.option("--device", default="cpu", show_default=True, callback=usable_device)
def command(
    manifest: Path,
    out: Path,
    name: str,
    recipe: RecipeName,
    seed: int,
    sigma: float,
    error_alpha: float,
    draws: int,
    test: str,
    confidence_threshold: float,
    score: str,
    allowed: tuple[str, ...],
    purifiers: dict[str, PurifierSettings],
    default_defense: str,
    columns: dict[str, str],
    attributes: tuple[str, ...] | None,
    device: str,
    **changes: object,
) -> None:
    """Train on MANIFEST (train, validation, perhaps test) and write the bundle.

    Training's state is kept in OUT.training after each epoch: the same command goes on from it where it was stopped.
    Whatever the recipe says, the noise network is selected under its noise.
    """
    try:
        settings = BuildSettings(
            name=name,
            recipe=named_recipe(recipe, seed=seed, **{k: v for k, v in changes.items() if v is not None}),
            sigma=sigma,
            error_alpha=error_alpha,
            draws=draws,
            test=VoteTest(test),
            confidence_threshold=confidence_threshold,
            score=Score(score),
            allowed=allowed,
            purifiers=purifiers,
            default_defense=default_defense,
        )
    except ValidationError as error:  # what no option shows by itself: a default that is not allowed, for one
        raise click.UsageError("; ".join(e["msg"].removeprefix("Value error, ") for e in error.errors())) from None
    loaded = load_manifest(manifest, columns=columns, attributes=attributes)
    with bars() as show:
        bundle = build_bundle(
            loaded,
            out,
            settings,
            device=device,
            checkpoints=out.with_name(f"{out.name}.training"),
            on_progress=show,
        )
    for split, result in bundle.test_results.items():
        if "clean_accuracy" in result:
            console.print(
                f"{split}: {result['clips']} clips of {result['speakers']} speakers, accuracy "
                f"{result['clean_accuracy']:.3f} clean, "
                f"{result['noise_accuracy_one_draw']:.3f} under noise of sigma = {sigma:g}"
            )
    if far := bundle.test_results.get("far_from_data"):
        console.print(far["says"])
    console.print(f"wrote {out}, {version_of(out)}")
