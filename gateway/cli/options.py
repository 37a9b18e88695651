"""Options that several commands share."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

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


class Number(click.FloatRange):
    """A range of finite numbers: click's own lets `nan` pass any bounds, and `inf` those that are open above."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        number = super().convert(value, param, ctx)
        if not math.isfinite(number):
            self.fail(f"{value!r} is not a finite number.", param, ctx)
        return number


def usable_device(_: click.Context, parameter: click.Parameter, value: str) -> str:
    """The name of a device that can be computed on, tried before a command reads anything."""
    if value == "cpu":
        return value
    import torch  # takes seconds, and `serve` needs it in its workers only

    try:
        torch.zeros(1, device=value).item()
    except Exception as error:  # a device's backend raises what it likes
        reason = str(error).strip().partition("\n")[0]
        raise click.BadParameter(f"{value!r} can't be used here: {reason}", param=parameter) from error
    return value
