"""The dashboard `defenses`: what each defense turns away, of whom, and what it costs."""

from __future__ import annotations

from grafana_foundation_sdk.builders import dashboard as board
from grafana_foundation_sdk.builders import heatmap, table, text, timeseries

from monitoring import promql
from monitoring.dashboards import variables as chosen
from monitoring.dashboards.style import (
    Colour,
    Column,
    Line,
    Stroke,
    Unit,
    dashboard,
    figures,
    note,
    of_each_group,
    over_time,
    spread,
)

_SCORE = "evenvoice_rejection_score"
_DRAWS = "evenvoice_smoothing_draws"
_OF_ALL = (chosen.ATTRIBUTE, chosen.MODEL)
_BY_DEFENSE = ("defense",)
_SCORED = 'defense=~"$defense(/.*)?"'
"""A combined defense has the score of its first part, named NAME/PART."""


def build() -> board.Dashboard:
    """The whole dashboard."""
    made = dashboard(
        uid="evenvoice-defenses",
        title="evenvoice: defenses",
        description="Neural rejection and randomized smoothing side by side: what they turn away, and what it costs.",
        since="now-7d",
    )
    for variable in (
        chosen.datasource(), chosen.attribute(), chosen.defense(), chosen.model(), chosen.group(), chosen.window(),
        chosen.resolution(),
    ):  # fmt: skip
        made.with_variable(variable)
    made.with_panel(_how_to_read())
    made.with_row(board.Row("Side by side"))
    made.with_panel(_side_by_side())
    made.with_panel(_rejection_by_group())
    made.with_row(board.Row("Rejection score"))
    made.with_panel(_score_by_group())
    made.with_panel(_score_gap())
    made.with_panel(of_each_group(_scores_of_group()))
    made.with_row(board.Row("Draws of randomized smoothing"))
    made.with_panel(_draws_by_group())
    made.with_panel(_draws_ratio())
    made.with_panel(of_each_group(_draws_of_group()))
    return made


def _how_to_read() -> text.Panel:
    words = (
        "Live traffic carries no label *clean*, so what is averaged here is a **rejection score**, not a rate of false "
        "rejections: 1 - confidence for neural rejection, the test's p-value for smoothing. On clean clips its mean is "
        "AUC_FPR (eq. 2 of the paper); [audits](/d/evenvoice-audits) measure that. Scores of two defenses are on two "
        "scales: compare groups within a defense, and defenses by their gaps."
    )
    return note("How to read this", words)


def _mean(histogram: str, *matchers: str, by: tuple[str, ...]) -> str:
    return promql.mean(histogram, *matchers, window=chosen.WINDOW, by=by, resolution=chosen.RESOLUTION)


def _count(of: str, *matchers: str, by: tuple[str, ...]) -> str:
    return promql.group_increase(of, *matchers, window=chosen.WINDOW, by=by, resolution=chosen.RESOLUTION)


def _side_by_side() -> table.Panel:
    n = promql.decided(*_OF_ALL, window=chosen.WINDOW, by=_BY_DEFENSE, resolution=chosen.RESOLUTION)
    hits = promql.rejected(*_OF_ALL, window=chosen.WINDOW, by=_BY_DEFENSE, resolution=chosen.RESOLUTION)
    total, count = (
        f"sum by (defense) (increase(evenvoice_decision_seconds_{end}[{chosen.WINDOW}]))" for end in ("sum", "count")
    )
    whole = 'label_replace({}, "defense", "$1", "defense", "([^/]+)/.*")'
    return figures(
        "Neural rejection, randomized smoothing and the rest",
        "Of each defense the commands it decided in the window, the share turned away with Wilson's 95 % interval, "
        "the mean rejection score and the mean time to answer (of all bundles). Defenses decide different commands "
        "unless traffic is split by lot: a difference may be the traffic's.",
        columns=(
            Column("turned away", promql.ratio(hits, n), Unit.SHARE),
            Column("at least", promql.wilson_lower(hits, n), Unit.SHARE),
            Column("at most", promql.wilson_upper(hits, n), Unit.SHARE),
            Column("mean score", whole.format(_mean(_SCORE, *_OF_ALL, by=_BY_DEFENSE)), Unit.NUMBER, decimals=4),
            Column("time to answer", promql.ratio(total, count), Unit.SECONDS, decimals=3),
            Column("commands", f"{n} > 0", Unit.COUNT, decimals=0),
        ),
        by=_BY_DEFENSE,
    )


def _rejection_by_group() -> table.Panel:
    by = ("defense", "group")
    n = promql.decided(*_OF_ALL, window=chosen.WINDOW, by=by, resolution=chosen.RESOLUTION)
    hits = promql.rejected(*_OF_ALL, window=chosen.WINDOW, by=by, resolution=chosen.RESOLUTION)
    return figures(
        "Turned away, by defense and group",
        "Whether one defense turns away a group that another does not. Wilson's 95 % interval, which ignores that one "
        "speaker's commands resemble each other; with few commands it is wide, and then there is nothing to compare.",
        columns=(
            Column("turned away", promql.ratio(hits, n), Unit.SHARE),
            Column("at least", promql.wilson_lower(hits, n), Unit.SHARE),
            Column("at most", promql.wilson_upper(hits, n), Unit.SHARE),
            Column("commands", f"{n} > 0", Unit.COUNT, decimals=0),
        ),
        by=by,
    )


def _score_by_group() -> table.Panel:
    by = ("group",)
    count = _count(f"{_SCORE}_count", *_OF_ALL, _SCORED, by=by)
    return figures(
        "Mean rejection score, by group",
        "0 to 1, low is good: how near this group's commands are to being turned away, wherever the threshold is "
        "set. Of a combined defense it is the first part's score, since the later parts hear only what that lets "
        "through.",
        columns=(
            Column("mean score", _mean(_SCORE, *_OF_ALL, _SCORED, by=by), Unit.NUMBER, decimals=4),
            Column("scored commands", f"{count} > 0", Unit.COUNT, decimals=0),
        ),
        by=by,
        width=12,
        height=8,
    )


def _score_gap() -> timeseries.Panel:
    means = _mean(_SCORE, *_OF_ALL, _SCORED, promql.DECLARED, by=("group",))
    return over_time(
        "Gap of the mean rejection score",
        "The highest mean score of a declared group less the lowest. It has no interval, and is never 0 by chance "
        "alone: use it to see a change, and an audit to judge one.",
        unit=Unit.NUMBER,
        lines=(Line("gap", promql.gap(means, by=())),),
        strokes={"gap": Stroke(Colour.ORANGE)},
    )


def _scores_of_group() -> heatmap.Panel:
    return spread(
        "Scores: $group",
        "Commands by rejection score over time, darker where there are more. A second dark band far up is a kind of "
        "command or voice that the defense finds hard.",
        unit=Unit.NUMBER,
        expr=_count(f"{_SCORE}_bucket", *_OF_ALL, _SCORED, chosen.ONE_GROUP, by=("le",)),
    )


def _draws_by_group() -> table.Panel:
    by = ("group",)
    count = _count(f"{_DRAWS}_count", *_OF_ALL, by=by)
    return figures(
        "Mean draws, by group",
        "Noisy copies of a command that randomized smoothing voted on before it was sure. A group that takes more "
        "draws waits longer: a gap in latency is a gap. After another defense in a combination only what that let "
        "through counts.",
        columns=(
            Column("mean draws", _mean(_DRAWS, *_OF_ALL, by=by), Unit.COUNT),
            Column("commands voted on", f"{count} > 0", Unit.COUNT, decimals=0),
        ),
        by=by,
        width=12,
        height=8,
    )


def _draws_ratio() -> timeseries.Panel:
    means = _mean(_DRAWS, *_OF_ALL, promql.DECLARED, by=("group",))
    return over_time(
        "Draws of the costliest group, per draw of the cheapest",
        "1 means that no declared group waits longer than another. It is never 1 by chance alone, and with few "
        "commands it jumps: look at the number of commands beside it.",
        unit=Unit.NUMBER,
        lines=(Line("ratio", f"max({means}) / min({means}) and count({means}) > 1"),),
        strokes={"ratio": Stroke(Colour.ORANGE)},
    )


def _draws_of_group() -> heatmap.Panel:
    return spread(
        "Draws: $group",
        "Commands by the draws they took, over time, darker where there are more.",
        unit=Unit.COUNT,
        expr=_count(f"{_DRAWS}_bucket", *_OF_ALL, chosen.ONE_GROUP, by=("le",)),
    )
