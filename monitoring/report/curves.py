"""Curves of groups over a threshold or an attack's budget: a colour, a dash and a mark each, named beneath them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import log10

from markupsafe import Markup

from monitoring.report.blocks import Panel
from monitoring.report.forest import WIDTH
from monitoring.report.numbers import Unit, counted
from monitoring.report.svg import Scale, drawing, element, ticks

STYLES = 6
"""Curves that are told apart; the page's style sheet has so many. Further ones are thin and share a name."""
_LEFT, _RIGHT, _TOP, _BOTTOM = 40.0, 350.0, 8.0, 190.0
_LEGEND_TOP, _LEGEND_LINE = 236.0, 17.0
_LEGEND_LETTERS = 44
_MARKS = 5
"""Marks on a curve of many points"""


@dataclass(frozen=True)
class Curve:
    """One group's curve."""

    name: str
    speakers: int
    values: tuple[float, ...]
    is_compared: bool


def curves(
    lines: Sequence[Curve],
    *,
    places: Sequence[float],
    positions: Sequence[float],
    labels: Sequence[str],
    highest: float,
    unit: Unit,
    name: str,
    title: str,
    x_axis: str,
    y_axis: str,
    chance: float | None = None,
) -> Panel:
    """Groups on shared axes; the largest first.

    Args:
        places: [points], where the values are taken, such as eps.
        positions: [points], their places along the axis in [0, 1].
        labels: [points], ticks; empty for none.
        highest: end of the y axis, which begins at 0.
        chance: a line at what guessing gives.

    Raises:
        ValueError: a curve of another length than the places.
    """
    if any(len(line.values) != len(places) for line in lines) or not len(places) == len(positions) == len(labels):
        raise ValueError(f"curves over {len(places)} places need a value, a position and a label at each")
    ranked = sorted(lines, key=lambda line: (-line.speakers, line.name))
    across, up = Scale(0.0, 1.0, _LEFT, _RIGHT), Scale(0.0, highest, _BOTTOM, _TOP)
    parts = [_axes(across, up, positions, labels, unit, x_axis, y_axis)]
    legend: list[Markup] = []
    if chance is not None:
        y = up(chance)
        parts.append(element("line", x1=_LEFT, x2=_RIGHT, y1=y, y2=y, class_="chance", data_value=repr(chance)))
        legend.append(_legend_line(len(legend), f"chance, {unit.value(chance)}{unit.sign}", "chance"))
    for rank, line in reversed(list(enumerate(ranked))):  # the largest group is drawn last, above the others
        parts.append(_line(line, rank, positions, places, across, up))
    for rank, line in enumerate(ranked[:STYLES]):
        weak = "" if line.is_compared else ", too few to compare"
        words = f"{line.name}, {counted(line.speakers, 'speaker')}{weak}"
        legend.append(_legend_line(len(legend), words, f"curve s{rank}", rank))
    if len(ranked) > STYLES:
        legend.append(_legend_line(len(legend), f"{len(ranked) - STYLES} smaller groups", "curve faint"))
    height = _LEGEND_TOP + _LEGEND_LINE * len(legend)
    ends = (f"{c.name} from {unit.value(c.values[0])} to {unit.value(c.values[-1])}{unit.sign}" for c in ranked)
    description = f"{y_axis} over {x_axis}, from {places[0]:g} to {places[-1]:g}: {'; '.join(ends)}."
    svg = drawing(*parts, *legend, width=WIDTH, height=height, name=name, title=title, description=description)
    return Panel(title=title, svg=svg, description=description)


def even(places: Sequence[float]) -> tuple[float, ...]:
    """Positions in proportion to the places."""
    return tuple((p - places[0]) / (places[-1] - places[0]) for p in places)


def logarithmic(places: Sequence[float]) -> tuple[float, ...]:
    """Positions of budgets that span decades, by their logarithm, and 0 a step before the first.

    The area under such a curve is not AUC_acc, of which the largest budgets are nearly all.
    """
    above = [p for p in places if p > 0]
    start, end = log10(above[0]) - (0.7 if len(above) < len(places) else 0.0), log10(above[-1])
    return tuple(((log10(p) if p > 0 else start) - start) / (end - start) for p in places)


def _line(
    line: Curve, rank: int, positions: Sequence[float], places: Sequence[float], across: Scale, up: Scale
) -> Markup:
    points = [(across(x), up(y)) for x, y in zip(positions, line.values, strict=True)]
    path = " ".join(f"{x:.2f},{y:.2f}" for x, y in points)
    is_named = rank < STYLES
    parts = [element("title", line.name), element("polyline", points=path)]
    if is_named:
        every = max(1, round(len(points) / _MARKS))
        first = (rank * every // STYLES) if every > 1 else 0
        parts += [_mark(rank, x, y) for x, y in points[first::every]]
    return element(
        "g",
        *parts,
        class_=(f"curve s{rank}" if is_named else "curve faint") + ("" if line.is_compared else " weak"),
        data_name=line.name,
        data_places=" ".join(map(repr, places)),
        data_values=" ".join(map(repr, line.values)),
    )


def _mark(rank: int, x: float, y: float) -> Markup:
    """A disc, a square, a triangle, a lozenge, a triangle upside down, or a ring."""
    r = 4.0
    outlines = {
        1: ((-r, -r), (r, -r), (r, r), (-r, r)),
        2: ((0, -r - 1), (r + 1, r), (-r - 1, r)),
        3: ((0, -r - 1.5), (r + 1.5, 0), (0, r + 1.5), (-r - 1.5, 0)),
        4: ((0, r + 1), (r + 1, -r), (-r - 1, -r)),
    }
    if rank in outlines:
        return element("polygon", points=" ".join(f"{x + a:.2f},{y + b:.2f}" for a, b in outlines[rank]), class_="dot")
    return element("circle", cx=x, cy=y, r=r, class_="dot" if rank == 0 else "dot open")


def _legend_line(place: int, words: str, class_: str, rank: int | None = None) -> Markup:
    y = _LEGEND_TOP + _LEGEND_LINE * place
    shown = words if len(words) <= _LEGEND_LETTERS else f"{words[: _LEGEND_LETTERS - 1]}…"
    sample = element("line", x1=_LEFT, x2=_LEFT + 30, y1=y - 4, y2=y - 4)
    mark = Markup("") if rank is None else _mark(rank, _LEFT + 15, y - 4)
    return Markup("").join(
        (
            element("g", sample, mark, class_=class_),
            element("text", element("title", words), shown, x=_LEFT + 38, y=y, class_="small"),
        )
    )


def _axes(
    across: Scale,
    up: Scale,
    positions: Sequence[float],
    labels: Sequence[str],
    unit: Unit,
    x_axis: str,
    y_axis: str,
) -> Markup:
    parts = []
    for value in ticks(up.low, up.high):
        y = up(value)
        parts.append(element("line", x1=_LEFT, x2=_RIGHT, y1=y, y2=y, class_="grid"))
        parts.append(
            element("text", f"{unit.factor * value:g}", x=_LEFT - 5, y=y + 4, text_anchor="end", class_="small")
        )
    for position, label in zip(positions, labels, strict=True):
        if label:
            x = across(position)
            parts.append(element("line", x1=x, x2=x, y1=_BOTTOM, y2=_BOTTOM + 4, class_="base"))
            anchor = "end" if position > 0.97 else "middle"
            parts.append(element("text", label, x=x, y=_BOTTOM + 16, text_anchor=anchor, class_="small"))
    parts.append(element("line", x1=_LEFT, x2=_RIGHT, y1=_BOTTOM, y2=_BOTTOM, class_="base"))
    parts.append(element("line", x1=_LEFT, x2=_LEFT, y1=_TOP, y2=_BOTTOM, class_="base"))
    parts.append(element("text", x_axis, x=(_LEFT + _RIGHT) / 2, y=_BOTTOM + 31, text_anchor="middle", class_="small"))
    middle = (_TOP + _BOTTOM) / 2
    parts.append(
        element(
            "text",
            y_axis,
            x=10,
            y=middle,
            text_anchor="middle",
            transform=f"rotate(-90 10 {middle:g})",
            class_="small",
        )
    )
    return element("g", *parts, class_="axis")
