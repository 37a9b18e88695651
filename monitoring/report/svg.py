"""Drawing by hand: SVG elements as escaped text, and the straight or logarithmic scale that data are placed by.

Colours and fonts are the page's: an element has a class, never a style, so that a drawing follows the reader's light or
dark and prints in black and white.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

_STEPS = (1.0, 2.0, 2.5, 5.0, 10.0)
"""Mantissas of round steps between ticks."""


def element(name: str, *children: str | Markup, **attributes: str | float | None) -> Markup:
    """`<name ...>children</name>`; strings are escaped, Markup is not.

    Args:
        attributes: `class_` and `text_anchor` become `class` and `text-anchor`; numbers are rounded to 0.01; those
            that are None are left out.
    """
    written = "".join(
        f' {escape(key.rstrip("_").replace("_", "-"))}="{escape(_text(value))}"'
        for key, value in attributes.items()
        if value is not None
    )
    inner = Markup("").join(escape(child) for child in children)
    return Markup(f"<{name}{written}>{inner}</{name}>")


def drawing(
    *parts: Markup, width: float, height: float, name: str, title: str, description: str, class_: str = "plot"
) -> Markup:
    """A whole SVG that a screen reader reads as one picture.

    Args:
        name: unique on the page; the ids of title and description start with it.
        title: what it is.
        description: what a reader who can't see it needs to know.
    """
    return element(
        "svg",
        element("title", title, id=f"{name}-title"),
        element("desc", description, id=f"{name}-desc"),
        *parts,
        viewBox=f"0 0 {width:g} {height:g}",
        role="img",
        aria_labelledby=f"{name}-title {name}-desc",
        class_=class_,
    )


@dataclass(frozen=True)
class Scale:
    """From a value to a coordinate, straight; values outside the domain land on its ends."""

    low: float
    high: float
    start: float
    """Coordinate of `low`"""
    end: float

    def __call__(self, value: float) -> float:
        inside = min(max(value, self.low), self.high)
        return self.start + (inside - self.low) / (self.high - self.low) * (self.end - self.start)


def ticks(low: float, high: float, *, about: int = 5) -> tuple[float, ...]:
    """Round numbers from `low` to `high`, about so many.

    Raises:
        ValueError: the interval is empty or not finite.
    """
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        raise ValueError(f"an axis from {low} to {high} has no ticks; a finite interval low < high is accepted")
    rough = (high - low) / about
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(s * power for s in _STEPS if s * power >= rough * (1 - 1e-9))
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return tuple(round(i * step, 12) for i in range(first, last + 1))


def around(values: Sequence[float], *, low: float = 0.0, high: float = 1.0, least: float = 0.1) -> tuple[float, float]:
    """Round ends of an axis that holds all values, within [low, high] and at least `least` long."""
    bottom, top = min(values), max(values)
    if top - bottom < least:
        top = min(high, bottom + least)
        bottom = max(low, top - least)
    step = 10.0 ** math.floor(math.log10(top - bottom)) / 2
    return (
        max(low, round(math.floor(bottom / step + 1e-9) * step, 12)),
        min(high, round(math.ceil(top / step - 1e-9) * step, 12)),
    )


def _text(value: str | float | None) -> str:
    if isinstance(value, str):
        return value
    number = float(value or 0.0)
    return f"{round(number, 2):g}" if abs(number) < 10_000 else f"{number:.0f}"
