"""The canvas every figure of a report is drawn on: the only module that needs matplotlib, and only when it draws."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from io import BytesIO
from typing import TYPE_CHECKING

from training.study.folder import StudyError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
"""Okabe and Ito's, told apart by colour-blind readers; without yellow, which is lost on white."""
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
FAINT = "#9A9A9A"
"""For the lines that a reader need not tell apart."""
_WIDTH = 9.0
"""Inches: 900 pixels of a page at 100 dots per inch, where the text is as large as the page's."""
_DPI = 140
_SMALLEST_EPS = 1e-4
"""Where the eps axis turns from logarithmic to linear, down to 0."""


@dataclass(frozen=True)
class LineStyle:
    """How one group's line is told from the others."""

    colour: str
    marker: str
    dash: str
    label: str | None
    """None leaves it out of the legend"""


def check_matplotlib() -> None:
    """Find out before any work is done.

    Raises:
        StudyError: matplotlib is not installed.
    """
    try:
        import matplotlib  # noqa: F401
    except ImportError as error:
        raise StudyError(
            "the report draws with matplotlib, which is not installed; run: pip install 'evenvoice[study]'"
        ) from error


def panels(rows: int, columns: int, *, height: float, share_y: bool = False) -> tuple[Figure, list[Axes]]:
    """A figure of rows x columns panels, row by row, each `height` inches high; drawn by Agg, without global state."""
    check_matplotlib()
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(_WIDTH, height * rows), layout="constrained", facecolor="white")
    FigureCanvasAgg(figure)
    axes = figure.subplots(rows, columns, squeeze=False, sharey="row" if share_y else False)
    for axis in axes.flat:
        axis.grid(True, color="#E3E3E3", linewidth=0.8)
        axis.set_axisbelow(True)
        axis.spines[["top", "right"]].set_visible(False)
    return figure, list(axes.flat)


def to_png(figure: Figure) -> bytes:
    """The drawing; the same figure gives the same bytes."""
    buffer = BytesIO()
    figure.savefig(buffer, format="png", dpi=_DPI, metadata={"Software": None})
    return buffer.getvalue()


def eps_axis(axis: Axes, levels: Sequence[float], *, label: str = "attack budget eps (amplitude)") -> None:
    """A logarithmic axis that has 0 on it."""
    above = sorted(eps for eps in levels if eps > 0)
    smallest = above[0] if above else _SMALLEST_EPS
    axis.set_xscale("symlog", linthresh=smallest, linscale=0.6)
    kept: list[float] = [eps for eps in levels if eps == 0]
    for eps in above:  # a label too close to the last one, or to the end, would overlap it
        if eps == above[-1] or (eps < above[-1] / 2.5 and (not kept or eps >= 2.5 * kept[-1])):
            kept.append(eps)
    axis.set_xticks(kept, [f"{eps:g}" for eps in kept])
    axis.minorticks_off()
    axis.set_xlim(-0.3 * smallest if kept[0] == 0 else 0.8 * smallest, 1.4 * max(levels))
    axis.set_xlabel(label)


def hide(axes: Sequence[Axes]) -> None:
    """Panels that have nothing to show."""
    for axis in axes:
        axis.set_visible(False)


def legend_below(figure: Figure, axis: Axes, *, columns: int = 4) -> None:
    """One legend for all panels, under them."""
    handles, labels = axis.get_legend_handles_labels()
    if handles:
        figure.legend(handles, labels, loc="outside lower center", ncols=min(columns, len(handles)), frameon=False)


def styles(speakers: dict[str, int], *, fewest: int) -> Iterator[tuple[str, LineStyle]]:
    """A line style for every group, the largest first; groups under `fewest` speakers are dotted, most of them faint.

    Args:
        speakers: group -> its speakers.
    """
    for place, (group, number) in enumerate(sorted(speakers.items(), key=lambda item: (-item[1], item[0]))):
        dash = ":" if number < fewest else "-"
        if place < len(COLOURS):
            yield group, LineStyle(COLOURS[place], MARKERS[place], dash, f"{group} ({number} speakers)")
        else:
            rest = len(speakers) - len(COLOURS)
            first = place == len(COLOURS)
            yield group, LineStyle(FAINT, ".", dash, f"{rest} smaller groups" if first else None)
