"""`evenvoice bundle`."""

from __future__ import annotations

from pathlib import Path

import click

from gateway.cli.options import BUNDLE
from gateway.cli.progress import console
from recognizer.bundle import load_bundle, read_manifest, version_of


@click.group("bundle")
def command() -> None:
    """Look at, check, store and fetch bundles."""


@command.command("show")
@click.argument("bundle", type=BUNDLE)
def show(bundle: Path) -> None:
    """Print a bundle's manifest and version, after checking its hashes."""
    manifest = read_manifest(bundle)
    click.echo(manifest.to_json(), nl=False)
    console.print(version_of(bundle))


@command.command("check")
@click.argument("bundle", type=BUNDLE)
def check(bundle: Path) -> None:
    """Check every hash and load the bundle as the gateway would."""
    recognizer = load_bundle(bundle)
    console.print(
        f"{bundle} is whole: {recognizer.name}, {len(recognizer.labels)} labels, {', '.join(recognizer.defenses)}"
    )


@command.command("import")
@click.argument("bundle", type=BUNDLE)
def import_(bundle: Path) -> None:
    """Put a bundle into BentoML's model store."""
    from gateway.model_store import import_bundle

    console.print(f"stored as {import_bundle(bundle)}")


@command.command("export")
@click.argument("tag")
@click.argument("folder", type=BUNDLE)
def export(tag: str, folder: Path) -> None:
    """Take the bundle TAG out of BentoML's model store into FOLDER."""
    from gateway.model_store import export_bundle

    export_bundle(tag, folder)
    console.print(f"wrote {folder}, {version_of(folder)}")
