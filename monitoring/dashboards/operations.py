"""The dashboard `operations`: does the gateway answer, in time, with the bundle that it should."""

from __future__ import annotations

from grafana_foundation_sdk.builders import dashboard as board
from grafana_foundation_sdk.builders import stat, table, timeseries

from monitoring import promql
from monitoring.dashboards import variables as chosen
from monitoring.dashboards.style import Colour, Column, Line, Stroke, Unit, dashboard, figures, number, over_time

_COMMANDS = "evenvoice_commands_total"
_OUTCOMES = {
    "accepted": Stroke(Colour.GREEN),
    "rejected": Stroke(Colour.ORANGE, "long"),
    "bad_input": Stroke(Colour.PURPLE, "short"),
    "service": Stroke(Colour.VERMILLION, "dots"),
}
_STAGES = {
    "read": Stroke(Colour.SKY),
    "decode": Stroke(Colour.PURPLE, "short"),
    "queue": Stroke(Colour.VERMILLION, "dots"),
    "decide": Stroke(Colour.ORANGE),
    "record": Stroke(Colour.GREEN, "long"),
}
_REFUSED = {
    "deadline": Stroke(Colour.VERMILLION),
    "overloaded": Stroke(Colour.ORANGE, "long"),
    "not_ready": Stroke(Colour.SKY, "short"),
    "failed": Stroke(Colour.PURPLE, "dots"),
}


def build() -> board.Dashboard:
    """The whole dashboard."""
    made = dashboard(
        uid="evenvoice-operations",
        title="evenvoice: operations",
        description="Traffic, outcomes, latency and what is served.",
        since="now-6h",
    )
    for variable in (chosen.datasource(), chosen.job(), chosen.window()):
        made.with_variable(variable)
    made.with_row(board.Row("Is it there?"))
    for stat_panel in (_up(), _answered(), _refused_share(), _ledger_age()):
        made.with_panel(stat_panel)
    made.with_panel(_served())
    made.with_row(board.Row("What is asked of it"))
    for panel in (_outcomes(), _refused()):
        made.with_panel(panel)
    made.with_panel(_reasons())
    made.with_row(board.Row("How long it takes"))
    for panel in (_latency(), _stages()):
        made.with_panel(panel)
    made.with_panel(_latency_by_defense())
    return made


def _up() -> stat.Panel:
    return number(
        "Gateways",
        "Whether Prometheus reaches each gateway. A gateway that is removed on purpose disappears after a while.",
        unit=Unit.NUMBER,
        expr=f"max by (instance) ({promql.selector('up', chosen.JOB)})",
        legend="{{instance}}",
        words={"1": "up", "0": "DOWN"},
    )


def _answered() -> stat.Panel:
    return number(
        "Commands answered",
        "Commands that got an answer in the window, whatever it was; one that never arrived is not counted.",
        unit=Unit.COUNT,
        expr=f"sum(increase({promql.selector(_COMMANDS, chosen.JOB)}[{chosen.WINDOW}]))",
        legend="commands",
    )


def _refused_share() -> stat.Panel:
    service, everything = (
        f"sum(increase({promql.selector(_COMMANDS, chosen.JOB, *outcome)}[{chosen.WINDOW}]))"
        for outcome in (('outcome="service"',), ())
    )
    return number(
        "Not decided, the gateway's fault",
        "Share of commands in the window that were abstained on for a missed deadline, an overload or a failure. The "
        "speaker's audio has no part in it. With few commands one of them is a large share: look at their number.",
        unit=Unit.SHARE,
        expr=promql.ratio(service, everything),
        legend="of all commands",
    )


def _ledger_age() -> stat.Panel:
    passed = promql.selector("evenvoice_ledger_last_pass_timestamp_seconds", chosen.JOB)
    return number(
        "Age of the group counts",
        "Seconds since decisions were last counted into the group series, by ledger (a records database). It should "
        "be a few seconds; if it grows, the fairness dashboard shows the past.",
        unit=Unit.SECONDS,
        expr=promql.age(passed, by=("ledger",)),
        legend="{{ledger}}",
    )


def _served() -> table.Panel:
    model = promql.selector("evenvoice_model_info", chosen.JOB)
    return figures(
        "What is served",
        "The bundle and the defenses of each gateway. Two bundles at once are right only while one is being replaced.",
        columns=(
            Column(
                "served",
                f"max by (instance, version, defense) ({model}) == 1",
                Unit.NUMBER,
                decimals=0,
                words={"1": "yes"},
            ),
        ),
        by=("instance", "version", "defense"),
        height=6,
    )


def _outcomes() -> timeseries.Panel:
    return over_time(
        "Commands by outcome",
        "Commands a second. Rejected: a defense abstained. Bad input: silence, clipping, too long. Service: the "
        "gateway was too slow, too busy or failed.",
        unit=Unit.PER_SECOND,
        lines=(
            Line(
                "{{outcome}}",
                f"sum by (outcome) (rate({promql.selector(_COMMANDS, chosen.JOB)}[$__rate_interval]))",
            ),
        ),
        strokes=_OUTCOMES,
    )


def _refused() -> timeseries.Panel:
    refused = promql.selector(_COMMANDS, chosen.JOB, 'outcome="service"')
    return over_time(
        "Late, overloaded, failed",
        "Commands a second that the gateway abstained on by its own fault. Deadline: decided too late. Overloaded: "
        "too many were waiting. Failed: the network or the records.",
        unit=Unit.PER_SECOND,
        lines=(Line("{{reason}}", f"sum by (reason) (rate({refused}[$__rate_interval]))"),),
        strokes=_REFUSED,
    )


def _reasons() -> table.Panel:
    commands = promql.selector(_COMMANDS, chosen.JOB)
    n = f"sum by (outcome, reason) (increase({commands}[{chosen.WINDOW}]))"
    return figures(
        "Why commands were not accepted",
        "Commands in the window by the reason in their answer, and their share of all. Many `no_speech` or `clipped` "
        "point to a microphone, not to a defense.",
        columns=(
            Column("commands", f"{n} > 0", Unit.COUNT, decimals=0),
            Column(
                "of all",
                f"{n} / on () group_left () (sum(increase({commands}[{chosen.WINDOW}])) > 0) > 0",
                Unit.SHARE,
            ),
        ),
        by=("outcome", "reason"),
    )


def _quantile(q: float, histogram: str, label: str) -> str:
    """A quantile of the last minutes; nothing where nothing was observed, in place of NaN."""
    bucket, count = (promql.selector(f"{histogram}_{end}", chosen.JOB) for end in ("bucket", "count"))
    quantile = f"histogram_quantile({q}, sum by ({label}, le) (rate({bucket}[$__rate_interval])))"
    return f"{quantile} and on ({label}) sum by ({label}) (rate({count}[$__rate_interval])) > 0"


def _latency() -> timeseries.Panel:
    bucket, count = (promql.selector(f"evenvoice_decision_seconds_{end}", chosen.JOB) for end in ("bucket", "count"))
    some = f"sum(rate({count}[$__rate_interval])) > 0"
    return over_time(
        "Time from arrival to answer",
        "Seconds that half, 95 % and 99 % of the commands stay under, over all defenses. Read from buckets: between "
        "two of their limits it is a guess, and above 2.5 s it says only that. Of few commands the 99 % is the "
        "slowest one.",
        unit=Unit.SECONDS,
        lines=tuple(
            Line(
                name,
                f"histogram_quantile({q}, sum by (le) (rate({bucket}[$__rate_interval]))) and {some}",
            )
            for name, q in (("half", 0.5), ("95 %", 0.95), ("99 %", 0.99))
        ),
        strokes={
            "half": Stroke(Colour.SKY),
            "95 %": Stroke(Colour.ORANGE, "long"),
            "99 %": Stroke(Colour.VERMILLION, "dots"),
        },
    )


def _stages() -> timeseries.Panel:
    return over_time(
        "Where the time goes",
        "Seconds that 95 % of the commands stay under in each stage: reading the request, decoding, waiting in the "
        "queue, deciding, recording. A growing queue comes before overload.",
        unit=Unit.SECONDS,
        lines=(Line("{{stage}}", _quantile(0.95, "evenvoice_stage_seconds", "stage")),),
        strokes=_STAGES,
    )


def _latency_by_defense() -> table.Panel:
    total, count = (
        f"sum by (defense) (increase({promql.selector(name, chosen.JOB)}[{chosen.WINDOW}]))"
        for name in ("evenvoice_decision_seconds_sum", "evenvoice_decision_seconds_count")
    )
    bucket = promql.selector("evenvoice_decision_seconds_bucket", chosen.JOB)
    quantile = f"histogram_quantile(0.95, sum by (defense, le) (increase({bucket}[{chosen.WINDOW}])))"
    return figures(
        "Time to answer, by defense",
        "Mean and 95 % quantile of the seconds from arrival to answer in the window. Defenses heard different "
        "commands, so a difference is that of defense and traffic together.",
        columns=(
            Column("mean", promql.ratio(total, count), Unit.SECONDS, decimals=3),
            Column("95 % under", f"{quantile} and on (defense) {count} > 0", Unit.SECONDS, decimals=3),
            Column("commands", f"{count} > 0", Unit.COUNT, decimals=0),
        ),
        by=("defense",),
        height=6,
    )
