"""Views as HTML: templates that escape whatever they are given, and how numbers are written."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from math import exp, log
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from gateway.pages.fairness import DAY_FLOOR, FairnessView
from gateway.pages.proportion import Proportion
from gateway.pages.style import STYLE
from monitoring.promql import TRAFFIC_FLOOR

_SPARK_HEIGHT = 40
_DAY_WIDTH = 2


def fairness_page(view: FairnessView, *, refresh: int | None, now: datetime) -> str:
    """The page at /fairness.

    Args:
        refresh: seconds after which a browser asks again; None where the reader does.
    """
    return _TEMPLATES.get_template("fairness.html").render(
        view=view,
        refresh=refresh,
        now=now.astimezone(UTC),
        style=Markup(STYLE),  # as it was hashed
        floor=TRAFFIC_FLOOR,
        day_floor=DAY_FLOOR,
    )


def console_panels(view: FairnessView) -> str:
    """The panels at /console/panels: they hold no time, so that the same figures are the same text."""
    template = _TEMPLATES.get_template("console_panels.html")
    return template.render(view=view, floor=TRAFFIC_FLOOR, day_floor=DAY_FLOOR)


def percent(share: float) -> str:
    """A share of 0.1234 as `12.3 %`; one that is not 0 never reads as 0, nor one below 1 as 100."""
    if 0 < share < 0.0005:
        return "<\xa00.1\xa0%"
    if 0.9995 <= share < 1:
        return ">\xa099.9\xa0%"
    return f"{100 * share:.1f}\xa0%" if 0 < share < 1 else f"{100 * share:.0f}\xa0%"


def interval(share: Proportion) -> str:
    """95 %, as `10.1–15.0 %`."""
    return f"{100 * share.lower:.1f}–{100 * share.upper:.1f}\xa0%"


def count(number: float) -> str:
    """1234 as `1,234`."""
    return f"{number:,.0f}"


def bare(share: float) -> str:
    """A share of 0.1234 as `12.3`, one of 0.12 as `12`."""
    return f"{round(100 * share, 1):g}"


def points(difference: float) -> str:
    """A difference of shares in points of percent: 0.1234 as `12.3`."""
    return f"{100 * difference:.1f}"


def plural(number: int, name: str) -> str:
    """`1 speaker`, `1,234 speakers`."""
    return f"{count(number)} {name}" + ("" if number == 1 else "s")


def wealth(log_wealth: float) -> str:
    """What a gambler has of the 1 that they began with: two figures where it is little, whole numbers above 10."""
    if log_wealth >= log(1e6):
        return "over a million"
    value = exp(log_wealth)
    return count(value) if value >= 10 else f"{value:.2g}" if value >= 0.01 else "under 0.01"


def duration(seconds: int) -> str:
    """`1 day`, `6 hours`, `90 seconds`: in the largest unit that fits a whole number of times."""
    for unit, name in ((86_400, "day"), (3_600, "hour"), (60, "minute")):
        if seconds >= unit and seconds % unit == 0:
            return plural(seconds // unit, name)
    return plural(seconds, "second")


def position(value: float, top: float) -> str:
    """Where a value lies on a horizontal axis from 0 to `top`: an SVG length."""
    return f"{100 * value / top:.2f}%"


def spark_dots(days: Sequence[Proportion | None], top: float) -> str:
    """An SVG path of a point a day: strokes of no length, which round caps make dots."""
    return "".join(f"M{x} {y}h0" for x, y in _points(days, top))


def spark_line(days: Sequence[Proportion | None], top: float) -> str:
    """An SVG path through the points; over days without commands it is broken."""
    path, before = "", -1
    points = iter(_points(days, top))
    for i, day in enumerate(days):
        if day is not None:
            x, y = next(points)
            path += f"{'L' if i == before + 1 and path else 'M'}{x} {y}"
            before = i
    return path


def _points(days: Sequence[Proportion | None], top: float) -> list[tuple[int, int]]:
    """Whole units, to keep the page small: a row is 28 pixels high."""
    return [
        (_DAY_WIDTH * i + _DAY_WIDTH // 2, round(_SPARK_HEIGHT * (1 - day.value / top)))
        for i, day in enumerate(days)
        if day is not None
    ]


_TEMPLATES = Environment(
    loader=FileSystemLoader(Path(__file__).parent),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
_TEMPLATES.filters |= {
    f.__name__: f
    for f in (percent, interval, bare, points, count, plural, wealth, duration, position, spark_dots, spark_line)
}
