"""`evenvoice train`."""

from __future__ import annotations

import re
from pathlib import Path

import click

from gateway.cli.options import FILE, FOLDER, names, pairs
from gateway.cli.progress import bars, console
from recognizer.bundle import NAME_PATTERN, version_of
from recognizer.defense import DefenseName
from recognizer.manifest import load_manifest
from recognizer.network import ARCHITECTURES, ArchitectureName
from training.build import BuildSettings, build_bundle
from training.hardening import Recipe


def _bundle_name(_: click.Context, parameter: click.Parameter, value: str) -> str:
    """A name that a bundle may have."""
    if not re.fullmatch(NAME_PATTERN, value):
        raise click.BadParameter(
            f"{value!r}: small letters, digits, '_', '.', '-'; it begins with a letter or digit", param=parameter
        )
    return value


@click.command("train")
@click.argument("manifest", type=FILE)
@click.option("--out", type=FOLDER, required=True, help="Folder of the bundle.")
@click.option("--name", default="evenvoice", show_default=True, callback=_bundle_name, help="Of the bundle.")
@click.option("--architecture", type=click.Choice(ARCHITECTURES), default="m5-small", show_default=True)
@click.option("--epochs", type=click.IntRange(min=1), default=Recipe().epochs, show_default=True)
@click.option(
    "--learning-rate",
    type=click.FloatRange(0, min_open=True),
    default=Recipe().learning_rate,
    show_default=True,
    help="Peak of the schedule.",
)
@click.option("--clips-a-speaker", type=click.IntRange(min=1), help="At most so many of each an epoch. [default: all]")
@click.option(
    "--sigma", type=click.FloatRange(0, min_open=True), default=0.02, show_default=True, help="RS noise, raw amplitude."
)
@click.option(
    "--error-alpha",
    type=click.FloatRange(0, 1, min_open=True),
    default=0.001,
    show_default=True,
    help="RS abstains when p is above it.",
)
@click.option("--draws", type=click.IntRange(min=1), default=100, show_default=True, help="N of RS.")
@click.option(
    "--confidence-threshold",
    type=click.FloatRange(0, 1),
    default=0.5,
    show_default=True,
    help="NR abstains below it.",
)
@click.option(
    "--default-defense", type=click.Choice([d.value for d in DefenseName]), default="smoothing", show_default=True
)
@click.option("--columns", multiple=True, callback=pairs, help="OURS=THEIRS, such as command=label.")
@click.option("--attributes", multiple=True, callback=names, help="Attribute columns. [default: those there]")
@click.option("--seed", type=int, default=0, show_default=True)
@click.option("--device", default="cpu", show_default=True)
def command(
    manifest: Path,
    out: Path,
    name: str,
    architecture: ArchitectureName,
    epochs: int,
    learning_rate: float,
    clips_a_speaker: int | None,
    sigma: float,
    error_alpha: float,
    draws: int,
    confidence_threshold: float,
    default_defense: str,
    columns: dict[str, str],
    attributes: tuple[str, ...] | None,
    seed: int,
    device: str,
) -> None:
    """Train on MANIFEST (train, validation, perhaps test) and write the bundle."""
    settings = BuildSettings(
        name=name,
        recipe=Recipe(
            architecture=architecture,
            epochs=epochs,
            learning_rate=learning_rate,
            clips_a_speaker=clips_a_speaker,
            seed=seed,
        ),
        sigma=sigma,
        error_alpha=error_alpha,
        draws=draws,
        confidence_threshold=confidence_threshold,
        default_defense=DefenseName(default_defense),
    )
    loaded = load_manifest(manifest, columns=columns, attributes=attributes)
    with bars() as show:
        bundle = build_bundle(loaded, out, settings, device=device, on_progress=show)
    for split, result in bundle.test_results.items():
        if "clean_accuracy" in result:
            console.print(
                f"{split}: {result['clips']} clips of {result['speakers']} speakers, accuracy "
                f"{result['clean_accuracy']:.3f} clean, "
                f"{result['noise_accuracy_one_draw']:.3f} under noise of sigma = {sigma:g}"
            )
    console.print(f"wrote {out}, {version_of(out)}")
