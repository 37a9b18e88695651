"""`evenvoice audit`."""

from __future__ import annotations

import click

from gateway.cli.lazy import LazyGroup

_COMMANDS = {
    "run": ("gateway.cli.audit.run", "Run every defense over a labelled manifest."),
}


@click.group("audit", cls=LazyGroup, modules=_COMMANDS)
def command() -> None:
    """Measure whom a bundle turns away, on a labelled manifest."""
