"""The exit codes of `evenvoice audit`: 0 pass, 1 disparity, 2 inconclusive, and 3 for whatever went wrong.

`run` ends with 75, EX_TEMPFAIL of <sysexits.h>, where another run is at work in its place.
"""

from __future__ import annotations

import traceback
from typing import Any

import click

from gateway.cli.errors import is_ours
from gateway.cli.lazy import LazyGroup

ERROR = 3
BUSY = 75


class VerdictGroup(LazyGroup):
    """A group whose commands' exit codes are verdicts, so that no error may end as one of them.

    Elsewhere an error ends in 1 and a mistaken option in 2: a scheduler would take them for verdicts.
    """

    def make_context(
        self, info_name: str | None, args: list[str], parent: click.Context | None = None, **extra: Any
    ) -> click.Context:
        try:
            return super().make_context(info_name, args, parent, **extra)
        except click.ClickException as error:  # an option of the group's own, or nothing at all
            error.show()
            raise click.exceptions.Exit(ERROR) from None

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except (click.exceptions.Exit, click.Abort):
            raise
        except click.ClickException as error:
            error.show()
            ctx.exit(ERROR)
        except Exception as error:  # a fault, too, must not look like a disparity
            if is_ours(error):
                click.echo(f"evenvoice: {error}", err=True)
            else:
                traceback.print_exc()
            ctx.exit(ERROR)
