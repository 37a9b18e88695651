"""`evenvoice dashboards`."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path

import click

from gateway.cli.options import FILE, FOLDER
from gateway.cli.progress import console

_TOKEN = "EVENVOICE_GRAFANA_TOKEN"


@click.group("dashboards")
def command() -> None:
    """Write the Grafana dashboards, or push them to a Grafana."""
    missing = [name for name in ("grafana_foundation_sdk", "grafana_client") if not importlib.util.find_spec(name)]
    if missing:
        raise click.ClickException("the dashboards need more packages; install them: pip install 'evenvoice[grafana]'")


@command.command("write")
@click.option(
    "--out",
    type=FOLDER,
    default=Path("deploy/grafana"),
    show_default=True,
    help="Folder that gets dashboards/, provisioning/ and kustomization.yaml.",
)
def write(out: Path) -> None:
    """Write the files from which Grafana provisions itself."""
    from monitoring.dashboards.writing import write_grafana

    for path in write_grafana(out):
        console.print(f"wrote {path}")


@command.command("push")
@click.option("--url", required=True, envvar="EVENVOICE_GRAFANA_URL", help="Such as https://grafana.example:3000.")
@click.option(
    "--token-file",
    type=FILE,
    help=f"File that holds the token of a service account with the role Editor; otherwise {_TOKEN} does.",
)
@click.option("--dry-run", "is_dry", is_flag=True, help="Say what would be done, and change nothing.")
def push(url: str, token_file: Path | None, is_dry: bool) -> None:
    """Create or overwrite the dashboards in Grafana's folder `evenvoice`."""
    from monitoring.dashboards.pushing import push as push_all

    # never an option: the arguments of a process are seen by everyone on the machine
    token = token_file.read_text(encoding="utf-8") if token_file else os.environ.get(_TOKEN, "")
    if not token.strip():
        raise click.UsageError(f"no token: set {_TOKEN}, or name a file that holds one with --token-file")
    for pushed in push_all(url, token.strip(), is_dry=is_dry):
        done = f"would be {pushed.action}" if is_dry and pushed.action != "unchanged" else pushed.action
        console.print(f"{pushed.name}: {done}, {url.rstrip('/')}{pushed.path}")
