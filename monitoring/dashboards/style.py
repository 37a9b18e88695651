"""What all panels share: the datasource, colours, and the four kinds of panel that the dashboards are made of.

A figure is never told by colour alone: a line has a dash and a name of its own, a state is a word, and where there are
as many groups as a corpus has, each has a panel of its own instead of a colour.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from string import ascii_uppercase
from typing import Literal, TypeVar

from grafana_foundation_sdk.builders import common as ui
from grafana_foundation_sdk.builders import dashboard as board
from grafana_foundation_sdk.builders import heatmap, prometheus, stat, table, text, timeseries
from grafana_foundation_sdk.models import common, units
from grafana_foundation_sdk.models.dashboard import (
    DashboardCursorSync,
    DashboardLinkType,
    DataSourceRef,
    DataTransformerConfig,
    DynamicConfigValue,
    FieldColorModeId,
    ValueMap,
    ValueMappingResult,
)
from grafana_foundation_sdk.models.heatmap import HeatmapColorMode
from grafana_foundation_sdk.models.prometheus import PromQueryFormat, QueryEditorMode

DATASOURCE = DataSourceRef(type_val="prometheus", uid="${datasource}")
TAG = "evenvoice"
NOTHING = "nothing measured yet"
WIDTH = 24  # of Grafana's grid


class Unit(StrEnum):
    """What a figure is counted in, by Grafana's names."""

    SHARE = units.PercentUnit
    COUNT = units.Short
    SECONDS = units.Seconds
    PER_SECOND = units.OpsPerSecond
    NUMBER = units.NoUnit
    LOG = "suffix: nat"
    """Natural logarithm."""


class Colour(StrEnum):
    """Okabe & Ito 2008, told apart with any colour vision; those of them that are seen on light and on dark."""

    ORANGE = "#E69F00"
    SKY = "#56B4E9"
    GREEN = "#009E73"
    VERMILLION = "#D55E00"
    PURPLE = "#CC79A7"
    GREY = "#999999"


Dash = Literal["solid", "long", "short", "dots"]
_DASHES: dict[Dash, list[float] | None] = {"solid": None, "long": [14, 6], "short": [6, 6], "dots": [1, 6]}


@dataclass(frozen=True)
class Stroke:
    """How a line is drawn; the pair of colour and dash is a line's own in its panel."""

    colour: Colour
    dash: Dash = "solid"
    band_down_to: str | None = None
    """The line to which the area below this one is shaded."""


@dataclass(frozen=True)
class Line:
    """A query over time."""

    legend: str
    """Its name, with `{{label}}` where it gives several lines."""
    expr: str


@dataclass(frozen=True)
class Column:
    """A query whose newest values are a column of a table."""

    name: str
    expr: str
    unit: Unit
    decimals: int = 1
    words: Mapping[str, str] = field(default_factory=dict)
    """Of a state: value -> what it means."""


def dashboard(*, uid: str, title: str, description: str, since: str) -> board.Dashboard:
    """An empty dashboard with links to its siblings."""
    siblings = (
        board.DashboardLink("evenvoice")
        .type(DashboardLinkType.DASHBOARDS)
        .tags([TAG])
        .as_dropdown(True)
        .include_vars(True)
        .keep_time(True)
    )
    return (
        board.Dashboard(title)
        .uid(uid)
        .description(description)
        .tags([TAG])
        .readonly()
        .time(since, "now")
        .refresh("1m")
        .timezone("browser")
        .tooltip(DashboardCursorSync.CROSSHAIR)
        .link(siblings)
    )


def note(title: str, markdown: str, *, height: int = 4) -> text.Panel:
    """Words across the dashboard."""
    return text.Panel().title(title).description(title).content(markdown).transparent(True).height(height).span(WIDTH)


def over_time(
    title: str,
    description: str,
    *,
    unit: Unit,
    lines: Sequence[Line],
    strokes: Mapping[str, Stroke],
    width: int = 12,
    height: int = 8,
    bottom: float | None = 0.0,
    top: float | None = None,
) -> timeseries.Panel:
    """Lines over time.

    Args:
        strokes: of each line, by the name that it has in the legend.
        bottom: beginning of the axis; None fits it to the lines.
        top: its end.
    """
    legend = (
        ui.VizLegendOptions()
        .show_legend(True)
        .display_mode(common.LegendDisplayMode.TABLE)
        .placement(common.LegendPlacement.BOTTOM)
        .calcs(["lastNotNull"])
    )
    panel = (
        timeseries.Panel()
        .title(title)
        .description(description)
        .datasource(DATASOURCE)
        .unit(unit)
        .no_value(NOTHING)
        .span(width)
        .height(height)
        .line_width(2)
        .fill_opacity(0)
        .show_points(common.VisibilityMode.AUTO)
        .span_nulls(False)
        .color_scheme(board.FieldColor().mode(FieldColorModeId.FIXED).fixed_color(Colour.GREY))
        .legend(legend)
        .tooltip(ui.VizTooltipOptions().mode(common.TooltipDisplayMode.MULTI).sort(common.SortOrder.DESCENDING))
    )
    if bottom is not None:
        panel.min(bottom)
    if top is not None:
        panel.max(top)
    for ref, line in zip(ascii_uppercase, lines, strict=False):
        panel.with_target(_query(line.expr, ref).range().legend_format(line.legend))
    for name, stroke in strokes.items():
        panel.override_by_name(name, _drawn(stroke))
    return panel


Repeated = TypeVar("Repeated", timeseries.Panel, heatmap.Panel)


def of_each_group(panel: Repeated) -> Repeated:
    """The panel once for each group that the variable `group` takes."""
    return panel.repeat("group").repeat_direction("h").max_per_row(4).span(6)


def figures(
    title: str,
    description: str,
    *,
    columns: Sequence[Column],
    by: Sequence[str],
    hide: Sequence[str] = (),
    width: int = WIDTH,
    height: int = 9,
) -> table.Panel:
    """A table of the newest values, a row a combination of labels.

    Args:
        by: labels that are columns, in order; every query has them.
        hide: further labels of the queries, the same in all.
    """
    panel = (
        table.Panel()
        .title(title)
        .description(description)
        .datasource(DATASOURCE)
        .unit(Unit.NUMBER)
        .no_value(NOTHING)
        .span(width)
        .height(height)
        .filterable(True)
    )
    fields = (
        ["Value"] if len(columns) == 1 else [f"Value #{ref}" for ref, _ in zip(ascii_uppercase, columns, strict=False)]
    )
    for ref, column in zip(ascii_uppercase, columns, strict=False):
        panel.with_target(_query(column.expr, ref).instant().format(PromQueryFormat.TABLE))
        panel.override_by_name(column.name, _shown(column))
    organized: dict[str, object] = {
        "excludeByName": dict.fromkeys(("Time", *hide), True),
        "indexByName": {name: place for place, name in enumerate((*by, *fields))},
        "renameByName": {field: column.name for field, column in zip(fields, columns, strict=True)},
    }
    panel.with_transformation(DataTransformerConfig(id_val="merge", options={}))
    return panel.with_transformation(DataTransformerConfig(id_val="organize", options=organized))


def number(
    title: str,
    description: str,
    *,
    unit: Unit,
    expr: str,
    legend: str,
    words: Mapping[str, str] | None = None,
    width: int = 6,
) -> stat.Panel:
    """One figure a series, with its name beside it, or the word for it."""
    panel = (
        stat.Panel()
        .title(title)
        .description(description)
        .datasource(DATASOURCE)
        .unit(unit)
        .no_value(NOTHING)
        .span(width)
        .height(5)
        .graph_mode(common.BigValueGraphMode.NONE)
        .color_mode(common.BigValueColorMode.NONE)
        .text_mode(common.BigValueTextMode.VALUE_AND_NAME)
        .reduce_options(ui.ReduceDataOptions().calcs(["lastNotNull"]).values(False))
        .with_target(_query(expr, "A").instant().legend_format(legend))
    )
    return panel.mappings([_mapped(words)]) if words else panel


def spread(title: str, description: str, *, unit: Unit, expr: str, width: int = 12, height: int = 8) -> heatmap.Panel:
    """A histogram over time, from its buckets by `le`; one hue, more is darker, and the count is in the tooltip."""
    colours = heatmap.HeatmapColorOptions().mode(HeatmapColorMode.SCHEME).scheme("Blues").steps(32)
    return (
        heatmap.Panel()
        .title(title)
        .description(description)
        .datasource(DATASOURCE)
        .unit(Unit.COUNT)
        .no_value(NOTHING)
        .span(width)
        .height(height)
        .calculate(False)
        .color(colours)
        .y_axis(heatmap.YAxisConfig().unit(unit))
        .show_legend()
        .mode(common.TooltipDisplayMode.SINGLE)
        .with_target(_query(expr, "A").range().format(PromQueryFormat.HEATMAP).legend_format("{{le}}"))
    )


def _query(expr: str, ref: str) -> prometheus.Dataquery:
    query = prometheus.Dataquery().expr(expr).ref_id(ref).datasource(DATASOURCE)
    return query.editor_mode(QueryEditorMode.CODE).interval("1m")


def _drawn(stroke: Stroke) -> list[DynamicConfigValue]:
    dash = _DASHES[stroke.dash]
    drawn = [
        DynamicConfigValue("color", {"mode": "fixed", "fixedColor": stroke.colour}),
        DynamicConfigValue("custom.lineStyle", {"fill": "dash", "dash": dash} if dash else {"fill": "solid"}),
    ]
    if stroke.band_down_to is not None:
        drawn.append(DynamicConfigValue("custom.fillBelowTo", stroke.band_down_to))
        drawn.append(DynamicConfigValue("custom.fillOpacity", 15))
    return drawn


def _shown(column: Column) -> list[DynamicConfigValue]:
    shown = [DynamicConfigValue("unit", column.unit), DynamicConfigValue("decimals", column.decimals)]
    if column.words:
        shown.append(DynamicConfigValue("mappings", [_mapped(column.words)]))
    return shown


def _mapped(words: Mapping[str, str]) -> ValueMap:
    return ValueMap(options={value: ValueMappingResult(text=word) for value, word in words.items()})
