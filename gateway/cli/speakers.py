"""`evenvoice speakers`."""

from __future__ import annotations

import json
from pathlib import Path

import click

from gateway.cli.options import BUNDLE, FILE
from gateway.cli.progress import console
from gateway.cli.stored import opened, state_option, url_of

_PAGE = 1000


@click.group("speakers")
def command() -> None:
    """Fill and look at the register of speakers that is kept beside the records."""


@command.command("import")
@click.argument("file", type=FILE)
@click.option("--bundle", type=BUNDLE, required=True, envvar="EVENVOICE_BUNDLE", help="Whose attributes are taken.")
@state_option
def import_(file: Path, bundle: Path, state: Path) -> None:
    """Enrol, or change, everybody in FILE, a CSV with `speaker` and a column an attribute; all of them or nobody."""
    from gateway.records import TableRegister, migrate
    from gateway.speakers import load_register
    from recognizer.bundle import read_manifest

    people = load_register(file, read_manifest(bundle).vocabulary)
    migrate(url_of(state))
    with opened(state) as engine:
        enrolled, changed = TableRegister(engine).put(people.list(limit=len(people.speakers)))
    console.print(f"enrolled {enrolled} speakers, changed {changed}")


@command.command("list")
@state_option
def list_(state: Path) -> None:
    """Print the register, one JSON object a speaker and line."""
    from gateway.records import TableRegister

    with opened(state) as engine:
        register = TableRegister(engine)
        after = ""
        while page := register.list(after=after, limit=_PAGE):
            for entry in page:
                times = {"enrolled_at": entry.enrolled_at, "changed_at": entry.changed_at}
                shown = {name: time.isoformat() for name, time in times.items() if time is not None}
                click.echo(json.dumps({"speaker": entry.speaker, "declared": dict(entry.declared), **shown}))
            after = page[-1].speaker
