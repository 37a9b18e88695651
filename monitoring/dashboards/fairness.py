"""The dashboard `fairness`: who is turned away, on live traffic."""

from __future__ import annotations

from grafana_foundation_sdk.builders import dashboard as board
from grafana_foundation_sdk.builders import table, text, timeseries

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
)
from monitoring.evidence import FEW_SPEAKERS

_OF_ALL = (chosen.ATTRIBUTE, chosen.DEFENSE, chosen.MODEL)
_BY = ("group",)
_SAME = ("attribute", "defense", "model")


def build() -> board.Dashboard:
    """The whole dashboard."""
    made = dashboard(
        uid="evenvoice-fairness",
        title="evenvoice: fairness",
        description="Who is turned away: rejection and accuracy by group, with what stands behind each figure.",
        since="now-7d",
    )
    for variable in (
        chosen.datasource(), chosen.attribute(), chosen.defense(), chosen.model(), chosen.group(), chosen.window(),
        chosen.floor(), chosen.tolerance(), chosen.resolution(),
    ):  # fmt: skip
        made.with_variable(variable)
    made.with_panel(_how_to_read())
    made.with_row(board.Row("Who is turned away"))
    made.with_panel(_turned_away())
    made.with_panel(of_each_group(_rejection_of_group()))
    made.with_row(board.Row("Is it a difference between groups?"))
    made.with_panel(_gap())
    made.with_panel(_undeclared())
    made.with_panel(_evidence())
    made.with_panel(of_each_group(_evidence_of_group()))
    made.with_row(board.Row("Where the true command is known"))
    made.with_panel(_accuracy())
    made.with_panel(_labelled_share())
    return made


def _decided(*matchers: str) -> str:
    return promql.decided(*_OF_ALL, *matchers, window=chosen.WINDOW, by=_BY, resolution=chosen.RESOLUTION)


def _rejected(*matchers: str) -> str:
    return promql.rejected(*_OF_ALL, *matchers, window=chosen.WINDOW, by=_BY, resolution=chosen.RESOLUTION)


def _labelled(*matchers: str) -> str:
    return promql.labelled(*_OF_ALL, *matchers, window=chosen.WINDOW, by=_BY, resolution=chosen.RESOLUTION)


def _how_to_read() -> text.Panel:
    words = (
        "A command is **turned away** when a defense abstains. Bad audio and missed deadlines are not counted here: "
        "they say nothing of a defense. Counts appear in lots (of 10 commands from 3 speakers, unless set "
        "otherwise), so that no one person's outcome can be read off.\n\n"
        "The **intervals** take every command for independent. One speaker's commands resemble each other, so the "
        "intervals are too narrow: a gap here is a reason to look, the **evidence** further down is what holds "
        "however often one looks, and an [audit](/d/evenvoice-audits) is what decides."
    )
    return note("How to read this", words)


def _turned_away() -> table.Panel:
    n, hits = _decided(), _rejected()
    return figures(
        "Turned away, by group",
        "Share of the decided commands that the defense turned away, with Wilson's 95 % interval, over the window "
        "chosen above. The interval ignores that one speaker's commands resemble each other, so it is too narrow. A "
        "group with few commands is shown, and marked; do not compare it. Undeclared: speakers who gave no value; "
        "never part of a gap.",
        columns=(
            Column("turned away", promql.ratio(hits, n), Unit.SHARE),
            Column("at least", promql.wilson_lower(hits, n), Unit.SHARE),
            Column("at most", promql.wilson_upper(hits, n), Unit.SHARE),
            Column("commands", n, Unit.COUNT, decimals=0),
            Column(
                "enough to compare",
                f"{n} >= bool {chosen.FLOOR}",
                Unit.NUMBER,
                decimals=0,
                words={"1": "yes", "0": "no, too few commands"},
            ),
        ),
        by=_BY,
    )


def _rejection_of_group() -> timeseries.Panel:
    n, hits = _decided(chosen.ONE_GROUP), _rejected(chosen.ONE_GROUP)
    return over_time(
        "Turned away: $group",
        "Share of this group's decided commands that were turned away, counted over the window before each moment, and "
        "Wilson's 95 % interval around it. Nothing is drawn while the group has fewer commands than needed. All groups "
        "share one axis.",
        unit=Unit.SHARE,
        lines=(
            Line("at most", promql.with_traffic(promql.wilson_upper(hits, n), n, chosen.FLOOR)),
            Line("turned away", promql.with_traffic(promql.ratio(hits, n), n, chosen.FLOOR)),
            Line("at least", promql.with_traffic(promql.wilson_lower(hits, n), n, chosen.FLOOR)),
        ),
        strokes={
            "at most": Stroke(Colour.SKY, "dots", band_down_to="at least"),
            "turned away": Stroke(Colour.ORANGE),
            "at least": Stroke(Colour.SKY, "short"),
        },
        top=1.0,
    )


def _gap() -> timeseries.Panel:
    n, hits = _decided(promql.DECLARED), _rejected(promql.DECLARED)
    rates = promql.with_traffic(promql.ratio(hits, n), n, chosen.FLOOR)
    lower = promql.with_traffic(promql.wilson_lower(hits, n), n, chosen.FLOOR)
    upper = promql.with_traffic(promql.wilson_upper(hits, n), n, chosen.FLOOR)
    found = promql.gap(rates, by=())
    return over_time(
        "Gap between groups",
        "The highest share turned away less the lowest, over declared groups with enough commands; low is good. The "
        "plain gap is never 0: of many small groups one is always the unluckiest, so read the line `beyond the "
        "intervals`, what of it the groups' intervals do not explain. It too ignores that one speaker's commands "
        "resemble each other.",
        unit=Unit.SHARE,
        lines=(
            Line("gap", found),
            Line("beyond the intervals", promql.gap_lower(lower, upper, by=())),
            Line("tolerance", f"0 * ({found}) + {chosen.TOLERANCE}"),
        ),
        strokes={
            "gap": Stroke(Colour.ORANGE),
            "beyond the intervals": Stroke(Colour.VERMILLION, "long"),
            "tolerance": Stroke(Colour.GREY, "dots"),
        },
    )


def _undeclared() -> table.Panel:
    by = ("attribute",)
    share = promql.undeclared_share(
        chosen.DEFENSE, chosen.MODEL, window=chosen.WINDOW, by=by, resolution=chosen.RESOLUTION
    )
    other = promql.decided(
        chosen.DEFENSE, chosen.MODEL, 'group="other"', window=chosen.WINDOW, by=by, resolution=chosen.RESOLUTION
    )
    n = promql.decided(chosen.DEFENSE, chosen.MODEL, window=chosen.WINDOW, by=by, resolution=chosen.RESOLUTION)
    return figures(
        "Who is not in any group",
        "Of each attribute, the share of decided commands whose speakers declared nothing, or something outside the "
        "vocabulary (other). Where most declared nothing, the other figures speak of the few who did, who may differ.",
        columns=(
            Column("undeclared", share, Unit.SHARE),
            Column("other", promql.ratio(other, n), Unit.SHARE),
            Column("commands", n, Unit.COUNT, decimals=0),
        ),
        by=by,
        width=12,
        height=8,
    )


def _evidence() -> table.Panel:
    evidence, level = promql.log_evidence(*_OF_ALL), promql.alarm_level(chosen.MODEL)
    more, less = (promql.log_evidence(*_OF_ALL, f'side="{side}"') for side in ("more", "less"))
    speakers = promql.over_ledgers("evenvoice_fairness_speakers", *_OF_ALL)
    return figures(
        "Evidence that a group fares differently from the rest",
        "A gambler bets that the group is turned away more, or less, than the rest by more than the tolerance. The "
        "natural logarithm of what became of a stake of 1: near or below 0 there is no evidence; at `alarm at` a false "
        "alarm in any group at any time has at most the probability alpha. Sessions, a speaker's day each, are what "
        "counts, not commands. Speakers are those of the group, or of the rest where they are fewer: under 20 it says "
        "that these people fare differently, and nothing of the group.",
        columns=(
            Column("evidence", evidence, Unit.LOG, decimals=2),
            Column("alarm at", f"0 * {evidence} + on (model) group_left () {level}", Unit.LOG, decimals=2),
            Column(
                "alarm",
                f"{evidence} >= bool on (model) group_left () {level}",
                Unit.NUMBER,
                decimals=0,
                words={"1": "ALARM", "0": "no"},
            ),
            Column(
                "it leans to",
                f"{more} > bool {less}",
                Unit.NUMBER,
                decimals=0,
                words={"1": "turned away more", "0": "not more, or less"},
            ),
            Column("sessions", promql.over_ledgers("evenvoice_fairness_sessions", *_OF_ALL), Unit.COUNT, decimals=0),
            Column("speakers", speakers, Unit.COUNT, decimals=0),
            Column(
                "it speaks of",
                f"{speakers} >= bool {FEW_SPEAKERS}",
                Unit.NUMBER,
                decimals=0,
                words={"1": "the group", "0": "these speakers only"},
            ),
        ),
        by=_BY,
        hide=_SAME,
    )


def _evidence_of_group() -> timeseries.Panel:
    evidence = promql.log_evidence(*_OF_ALL, chosen.ONE_GROUP)
    return over_time(
        "Evidence: $group",
        "The gambler's wealth (natural logarithm) on this group over time, and the level at which it is an alarm. It "
        "may fall again; once it was above, the alarm stands: its guarantee holds for the highest point.",
        unit=Unit.LOG,
        lines=(
            Line("evidence", evidence),
            Line("alarm", f"0 * {evidence} + on (model) group_left () {promql.alarm_level(chosen.MODEL)}"),
        ),
        strokes={"evidence": Stroke(Colour.ORANGE), "alarm": Stroke(Colour.GREY, "dots")},
        height=6,
        bottom=None,
    )


def _accuracy() -> table.Panel:
    n = _labelled()
    correct, wrong, turned_away = (_labelled(f'result="{result}"') for result in ("correct", "wrong", "rejected"))
    return figures(
        "Right, wrong and turned away, by group",
        "Of the commands whose true command was told afterwards: right (accepted as the true one, or turned away "
        "where it was none), wrong, and turned away although it was a command; Wilson's 95 % interval of the right "
        "ones. Who is labelled is not chosen by lot: if labels come after complaints, this shows complaints. Believe "
        "an audit first.",
        columns=(
            Column("right", promql.ratio(correct, n), Unit.SHARE),
            Column("at least", promql.wilson_lower(correct, n), Unit.SHARE),
            Column("at most", promql.wilson_upper(correct, n), Unit.SHARE),
            Column("wrong", promql.ratio(wrong, n), Unit.SHARE),
            Column("turned away", promql.ratio(turned_away, n), Unit.SHARE),
            Column("labelled commands", n, Unit.COUNT, decimals=0),
        ),
        by=_BY,
        width=16,
    )


def _labelled_share() -> table.Panel:
    return figures(
        "How many are labelled, by group",
        "Labels that came in the window for each command decided in it. Where it differs between groups, accuracies of "
        "groups are not comparable. Above 100 % labels of earlier commands came in.",
        columns=(Column("labels for each command", promql.ratio(_labelled(), _decided()), Unit.SHARE),),
        by=_BY,
        width=8,
    )
