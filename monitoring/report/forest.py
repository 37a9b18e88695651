"""Forest plots: a row for every group, with its figure, its interval and what it rests on; and for every gap, with the
tolerance it is judged by.

A row's name and figure stand above its interval, so that long names and a phone's width do no harm.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from monitoring.parity import Verdict
from monitoring.report.blocks import Panel
from monitoring.report.numbers import Unit, counted
from monitoring.report.svg import Scale, drawing, element, ticks
from monitoring.report.words import VERDICT_WORDS

WIDTH = 360.0
"""Of a drawing, in its own units: a phone's page, where text is then as large as the page's."""
_LEFT, _RIGHT = 8.0, 352.0
_ROW = 44.0
_TOP = 6.0
_AXIS = 34.0
_LETTER = 6.8
"""Width of a letter, generously: a name that would run into its figure is cut, and its row's title has it whole."""


@dataclass(frozen=True)
class ForestRow:
    """One group's figure."""

    name: str
    speakers: int
    clips: int
    mean: float
    lower: float | None
    upper: float | None
    is_compared: bool
    """Its mark is filled: it has enough speakers, and a gap counts it"""


def forest(
    rows: Sequence[ForestRow],
    *,
    unit: Unit,
    domain: tuple[float, float],
    name: str,
    title: str,
    axis: str,
    overall: float | None = None,
) -> Panel:
    """Groups beneath each other on one axis.

    Args:
        domain: ends of the axis, of which panels beside each other share one.
        name: unique on the page.
        title: above the drawing, such as the defense.
        axis: what the axis measures.
        overall: a dashed line at the figure of all speakers.
    """
    height = _TOP + _ROW * len(rows) + _AXIS
    scale = Scale(*domain, start=_LEFT, end=_RIGHT)
    bottom = _TOP + _ROW * len(rows)
    parts = [_axis(scale, unit, top=_TOP, bottom=bottom, label=axis)]
    if overall is not None:
        x = scale(overall)
        parts.append(element("line", x1=x, x2=x, y1=_TOP, y2=bottom, class_="overall", data_value=repr(overall)))
    parts += [_row(row, scale, unit, _TOP + _ROW * number) for number, row in enumerate(rows)]
    described = "; ".join(_in_words(row, unit) for row in rows)
    description = f"{axis}. {described}."
    svg = drawing(*parts, width=WIDTH, height=height, name=name, title=title, description=description)
    return Panel(title=title, svg=svg, description=description)


@dataclass(frozen=True)
class GapRow:
    """One gap against its tolerance."""

    name: str
    value: float | None
    lower: float | None
    upper: float | None
    verdict: Verdict


def gap_forest(
    rows: Sequence[GapRow], *, unit: Unit, domain: tuple[float, float], tolerance: float, name: str, title: str
) -> Panel:
    """Gaps beneath each other, with a line at the tolerance."""
    height = _TOP + 14 + _ROW * len(rows) + _AXIS
    scale = Scale(*domain, start=_LEFT, end=_RIGHT)
    top, bottom = _TOP + 14, _TOP + 14 + _ROW * len(rows)
    x = scale(tolerance)
    is_left = x < WIDTH / 2
    parts = [
        _axis(scale, unit, top=top, bottom=bottom, label=f"gap{_in(unit)}"),
        element("rect", x=_LEFT, y=top, width=x - _LEFT, height=bottom - top, class_="within"),
        element("line", x1=x, x2=x, y1=top - 4, y2=bottom, class_="tolerance", data_value=repr(tolerance)),
        element(
            "text",
            f"tolerance {unit.value(tolerance)}{unit.sign}",
            x=x + (4 if is_left else -4),
            y=_TOP + 8,
            text_anchor="start" if is_left else "end",
            class_="small",
        ),
    ]
    for number, row in enumerate(rows):
        parts.append(_gap_row(row, scale, unit, top + _ROW * number))
    described = "; ".join(
        f"{row.name}: {unit.estimate(row.value, row.lower, row.upper)}, {VERDICT_WORDS[row.verdict]}" for row in rows
    )
    description = f"Gaps with a tolerance of {unit.value(tolerance)}{unit.sign}. {described}."
    svg = drawing(*parts, width=WIDTH, height=height, name=name, title=title, description=description)
    return Panel(title=title, svg=svg, description=description)


def _row(row: ForestRow, scale: Scale, unit: Unit, top: float) -> Markup:
    note = counted(row.speakers, "speaker")
    figure = unit.estimate(row.mean, row.lower, row.upper)
    return element(
        "g",
        element("title", f"{row.name}: {_in_words(row, unit)}"),
        element(
            "text",
            element("tspan", _cut(row.name, f"{note}  {figure}"), class_="name"),
            element("tspan", note, dx=6, class_="small"),
            x=_LEFT,
            y=top + 15,
        ),
        element(
            "text",
            figure,
            x=_RIGHT,
            y=top + 15,
            text_anchor="end",
            class_="figure",
        ),
        _interval(scale, row.lower, row.upper, top + 29, is_firm=row.is_compared),
        _dot(scale(row.mean), top + 29, is_firm=row.is_compared),
        class_="row",
        data_name=row.name,
        data_mean=repr(row.mean),
        data_lower=None if row.lower is None else repr(row.lower),
        data_upper=None if row.upper is None else repr(row.upper),
    )


def _gap_row(row: GapRow, scale: Scale, unit: Unit, top: float) -> Markup:
    y = top + 29
    is_known = row.verdict is not Verdict.INSUFFICIENT
    figure = unit.estimate(row.value, row.lower, row.upper) if is_known else VERDICT_WORDS[row.verdict]
    marks = [_interval(scale, row.lower, row.upper, y, is_firm=True)]
    if row.value is not None:
        marks.append(_verdict_mark(scale(row.value), y, row.verdict))
    return element(
        "g",
        element("title", f"{row.name}: {figure}"),
        element("text", _cut(row.name, figure), x=_LEFT, y=top + 15, class_="name"),
        element("text", figure, x=_RIGHT, y=top + 15, text_anchor="end", class_="figure"),
        *marks,
        class_=f"row {row.verdict.value}",
        data_name=row.name,
        data_value=None if row.value is None else repr(row.value),
        data_lower=None if row.lower is None else repr(row.lower),
        data_upper=None if row.upper is None else repr(row.upper),
    )


def _interval(scale: Scale, lower: float | None, upper: float | None, y: float, *, is_firm: bool) -> Markup:
    if lower is None or upper is None:
        return Markup("")
    left, right = scale(lower), scale(upper)
    return element(
        "g",
        element("line", x1=left, x2=right, y1=y, y2=y),
        element("line", x1=left, x2=left, y1=y - 4, y2=y + 4, class_="cap"),
        element("line", x1=right, x2=right, y1=y - 4, y2=y + 4, class_="cap"),
        class_="interval" if is_firm else "interval weak",
    )


def _dot(x: float, y: float, *, is_firm: bool) -> Markup:
    return element("circle", cx=x, cy=y, r=5, class_="mark firm" if is_firm else "mark weak")


def _verdict_mark(x: float, y: float, verdict: Verdict) -> Markup:
    """A triangle, a disc, a lozenge or a ring: told apart without colour."""
    if verdict is Verdict.DISPARITY:
        points = f"{x:.2f},{y - 7:.2f} {x + 6.5:.2f},{y + 5:.2f} {x - 6.5:.2f},{y + 5:.2f}"
        return element("polygon", points=points, class_="mark disparity")
    if verdict is Verdict.INCONCLUSIVE:
        points = f"{x:.2f},{y - 6.5:.2f} {x + 6.5:.2f},{y:.2f} {x:.2f},{y + 6.5:.2f} {x - 6.5:.2f},{y:.2f}"
        return element("polygon", points=points, class_="mark weak")
    return _dot(x, y, is_firm=verdict is Verdict.EQUIVALENT)


def _axis(scale: Scale, unit: Unit, *, top: float, bottom: float, label: str) -> Markup:
    marks = []
    for value in ticks(scale.low, scale.high):
        x = scale(value)
        anchor = "start" if x < scale.start + 12 else "end" if x > scale.end - 12 else "middle"
        marks.append(
            element(
                "g",
                element("line", x1=x, x2=x, y1=top, y2=bottom, class_="grid"),
                element("text", f"{unit.factor * value:g}", x=x, y=bottom + 13, text_anchor=anchor, class_="small"),
                class_="tick",
                data_value=repr(value),
            )
        )
    base = element("line", x1=scale.start, x2=scale.end, y1=bottom, y2=bottom, class_="base")
    words = element("text", label, x=(scale.start + scale.end) / 2, y=bottom + 28, text_anchor="middle", class_="small")
    return element("g", *marks, base, words, class_="axis")


def _in_words(row: ForestRow, unit: Unit) -> str:
    interval = f", interval {unit.interval(row.lower, row.upper)}" if row.lower is not None else ", no interval"
    counts = f"{counted(row.speakers, 'speaker')}, {counted(row.clips, 'clip')}"
    compared = "" if row.is_compared else ", not compared"
    return f"{row.name} {unit.value(row.mean)}{unit.sign}{interval}, {counts}{compared}"


def _in(unit: Unit) -> str:
    return f",{unit.gap_sign}" if unit.gap_sign else ""


def _cut(name: str, beside: str) -> str:
    """As much of a name as stands on a line with what is beside it."""
    letters = max(6, int((_RIGHT - _LEFT) / _LETTER) - len(beside) - 1)
    return name if len(name) <= letters else f"{name[: letters - 1]}…"
