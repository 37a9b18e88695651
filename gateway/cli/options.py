"""Options that several commands share."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click

FILE = click.Path(path_type=Path, dir_okay=False)
FOLDER = BUNDLE = click.Path(path_type=Path, file_okay=False)


def pairs(_: click.Context, parameter: click.Parameter, values: Sequence[str]) -> dict[str, str]:
    """`a=b` options as a mapping; several may stand in one, with commas."""
    found: dict[str, str] = {}
    for text in (part for value in values for part in value.split(",")):
        left, sign, right = text.partition("=")
        if not (left.strip() and sign and right.strip()):
            raise click.BadParameter(f"{text!r} is not NAME=NAME", param=parameter)
        found[left.strip()] = right.strip()
    return found


def names(_: click.Context, __: click.Parameter, values: Sequence[str] | str | None) -> tuple[str, ...] | None:
    """Names with commas between them, or in several options; None where there are none."""
    parts = [values] if isinstance(values, str) else list(values or ())
    found = tuple(n for part in parts for n in (piece.strip() for piece in part.split(",")) if n)
    return found or None
