"""`evenvoice serve`."""

from __future__ import annotations

import os
from pathlib import Path

import click

from gateway.cli.options import BUNDLE, FILE, FOLDER, usable_device
from gateway.serving import exec_server
from gateway.settings import check_settings


@click.command("serve")
@click.option("--bundle", type=BUNDLE, required=True, envvar="EVENVOICE_BUNDLE")
@click.option(
    "--speakers",
    type=FILE,
    envvar="EVENVOICE_SPEAKERS",
    help="Register of speakers, CSV: speaker and a column an attribute.",
)
@click.option("--host", default="127.0.0.1", show_default=True)
@click.option("--port", type=click.IntRange(1, 65535), default=3000, show_default=True)
@click.option(
    "--state",
    type=FOLDER,
    envvar="EVENVOICE_STATE",
    help="Folder for records and metrics. [default: ~/.local/state/evenvoice/PORT]",
)
@click.option(
    "--workers",
    type=click.IntRange(1, 64),
    default=1,
    show_default=True,
    envvar="EVENVOICE_WORKERS",
    help="Processes.",
)
@click.option("--device", default="cpu", show_default=True, envvar="EVENVOICE_DEVICE", callback=usable_device)
def command(
    bundle: Path, speakers: Path | None, host: str, port: int, state: Path | None, workers: int, device: str
) -> None:
    """Serve a bundle over HTTP until it is stopped. Further settings: environment variables EVENVOICE_..."""
    folder = state or Path.home() / ".local" / "state" / "evenvoice" / str(port)
    options = {
        "bundle": bundle.resolve(),
        "state": folder.resolve(),
        "workers": workers,
        "device": device,
        **({"speakers": speakers.resolve()} if speakers else {}),
    }
    check_settings(**options)
    environment = {f"EVENVOICE_{name.upper()}": str(value) for name, value in options.items()}
    exec_server({**os.environ, **environment}, state=folder, host=host, port=port)
