"""`evenvoice keys`."""

from __future__ import annotations

from pathlib import Path

import click
from rich.table import Table

from gateway.access.keys import add_key, read_keys, revoke_key
from gateway.access.routes import Role
from gateway.cli.options import FILE
from gateway.cli.progress import console

_FILE = click.option(
    "--file",
    "path",
    type=FILE,
    required=True,
    envvar="EVENVOICE_KEYS",
    help="The file of keys that `serve --keys` names.",
)


@click.group("keys")
def command() -> None:
    """Make, list and revoke API keys. A running gateway follows the file within a second."""


@command.command("add")
@_FILE
@click.option("--role", type=click.Choice([role.value for role in Role]), required=True)
@click.option("--name", required=True, help="A note for you; it stays in the file.")
@click.option(
    "--per-minute",
    type=click.IntRange(min=1),
    help="Requests a minute of one worker. [default: EVENVOICE_RATE_PER_MINUTE, 600]",
)
def add(path: Path, role: str, name: str, per_minute: int | None) -> None:
    """Make a key and print it, once: the file holds its hash only."""
    click.echo(add_key(path, role=Role(role), name=name, per_minute=per_minute))


@command.command("list")
@_FILE
def show(path: Path) -> None:
    """Show the keys of the file; their secrets are nowhere."""
    table = Table("id", "role", "name", "created", "per minute")
    for key in read_keys(path):
        table.add_row(key.id, key.role, key.name, key.created.isoformat(), str(key.per_minute or ""))
    console.print(table)


@command.command("revoke")
@_FILE
@click.argument("key_id")
def revoke(path: Path, key_id: str) -> None:
    """Take the key KEY_ID out of the file."""
    gone = revoke_key(path, key_id)
    console.print(f"revoked {gone.id}, {gone.role}: {gone.name}", markup=False)
