"""The dashboard `audits`: what the scheduled audits of labelled clips found."""

from __future__ import annotations

from grafana_foundation_sdk.builders import dashboard as board
from grafana_foundation_sdk.builders import stat, table, text, timeseries

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
    number,
    over_time,
)

_GROUP = ("defense", "group")
_GAP = ("defense", "attribute", "metric")
_HERE = (chosen.CORPUS, chosen.ATTRIBUTE)
_METRICS = {
    "rejection": "false rejections",
    "accuracy": "accuracy",
    "auc_fpr": "AUC_FPR",
    "auc_acc": "AUC_acc",
}


def build() -> board.Dashboard:
    """The whole dashboard."""
    made = dashboard(
        uid="evenvoice-audits",
        title="evenvoice: audits",
        description="Verdicts, gaps and groups of the last audit of each corpus, and how they changed.",
        since="now-90d",
    )
    for variable in (chosen.datasource(), chosen.corpus(), chosen.audited_attribute(), chosen.audited_defense()):
        made.with_variable(variable)
    made.with_panel(_how_to_read())
    made.with_row(board.Row("Verdicts"))
    for panel in (_age(), _exit_code(), _duration()):
        made.with_panel(panel)
    made.with_panel(_verdicts())
    made.with_row(board.Row("Groups"))
    made.with_panel(_rejection_and_accuracy())
    made.with_panel(_scores())
    made.with_panel(_under_attack())
    made.with_row(board.Row("From audit to audit"))
    for metric, name in _METRICS.items():
        made.with_panel(_gap_over_audits(metric, name))
    return made


def _latest(metric: str, *matchers: str, by: tuple[str, ...]) -> str:
    """A gauge of the audit, which may be scraped by more ways than one."""
    return f"max by ({', '.join(by)}) ({promql.selector(metric, *matchers)})"


def _how_to_read() -> text.Panel:
    words = (
        "**disparity**: the whole interval of the gap lies above the tolerance. **equivalent**: all of it lies "
        "within. **inconclusive**: neither; more speakers are needed. **insufficient**: fewer than two groups have "
        "enough speakers. Neither of the last two says that all is well. Intervals are over speakers, hold for all "
        "pairs of groups at once, and speak of people like those in the corpus."
    )
    return note("How to read this", words)


def _age() -> stat.Panel:
    return number(
        "Age of the last audit",
        "Since the last audit that ran to its end, by corpus. An audit older than the bundle says nothing of it.",
        unit=Unit.SECONDS,
        expr=promql.age("evenvoice_audit_last_success_timestamp_seconds", by=("corpus",)),
        legend="{{corpus}}",
        width=8,
    )


def _exit_code() -> stat.Panel:
    return number(
        "How it ended",
        "The last run's verdict against its policy. After an error the figures below are those of the run before.",
        unit=Unit.NUMBER,
        expr=_latest("evenvoice_audit_exit_code", by=("corpus",)),
        legend="{{corpus}}",
        words={"0": "pass", "1": "DISPARITY", "2": "inconclusive", "3": "ERROR"},
        width=8,
    )


def _duration() -> stat.Panel:
    return number(
        "How long it took",
        "Seconds of the last run. One that nears the time between two runs needs more machines or fewer clips.",
        unit=Unit.SECONDS,
        expr=_latest("evenvoice_audit_duration_seconds", by=("corpus",)),
        legend="{{corpus}}",
        width=8,
    )


def _verdicts() -> table.Panel:
    verdict = _latest("evenvoice_audit_verdict", chosen.CORPUS, by=(*_GAP, "verdict"))

    def judged(metric: str) -> str:
        found = _latest(metric, chosen.CORPUS, by=_GAP)
        return f"{found} * on ({', '.join(_GAP)}) group_left (verdict) ({verdict} == 1)"

    return figures(
        "Verdicts of this corpus",
        "The gap is the largest group mean less the smallest (low is good), over groups with enough speakers, with "
        "an interval over speakers. Among many verdicts a false one is to be expected: settle beforehand which of "
        "them counts.",
        columns=(
            Column("judged", f"{verdict} == 1", Unit.NUMBER, decimals=0, words={"1": "yes"}),
            Column("gap", judged("evenvoice_audit_gap"), Unit.NUMBER, decimals=3),
            Column("at least", judged("evenvoice_audit_gap_lower"), Unit.NUMBER, decimals=3),
            Column("at most", judged("evenvoice_audit_gap_upper"), Unit.NUMBER, decimals=3),
        ),
        by=(*_GAP, "verdict"),
        height=12,
    )


def _bounded(metric: str, name: str, unit: Unit, decimals: int) -> tuple[Column, ...]:
    ends = (("", name), ("_lower", f"{name}: at least"), ("_upper", f"{name}: at most"))
    return tuple(Column(n, _latest(f"{metric}{end}", *_HERE, by=_GROUP), unit, decimals=decimals) for end, n in ends)


def _speakers() -> Column:
    speakers = _latest("evenvoice_audit_speakers", *_HERE, by=_GROUP)
    return Column("speakers", speakers, Unit.COUNT, decimals=0)


def _rejection_and_accuracy() -> table.Panel:
    return figures(
        "False rejections and accuracy, by group",
        "Of a group's clips of commands, the share turned away and the share accepted as the right one, with 95 % "
        "intervals over speakers. A group with few speakers has a wide interval: it is shown, and not compared.",
        columns=(
            *_bounded("evenvoice_audit_rejection", "turned away", Unit.SHARE, 1),
            *_bounded("evenvoice_audit_accuracy", "accuracy", Unit.SHARE, 1),
            _speakers(),
        ),
        by=_GROUP,
    )


def _scores() -> table.Panel:
    return figures(
        "AUC_FPR, by group",
        "False rejections averaged over all thresholds of a rejection defense (eq. 2 of the paper), 0 to 1, low is "
        "good: it does not depend on where the threshold is set. A part of a combined defense stands as NAME/PART.",
        columns=_bounded("evenvoice_audit_auc_fpr", "AUC_FPR", Unit.NUMBER, 4),
        by=_GROUP,
        width=12,
    )


def _under_attack() -> table.Panel:
    return figures(
        "AUC_acc, by group",
        "Accuracy under attack, summed over its strength up to 0.3 (eq. 1 of the paper), so 0.3 is the most there "
        "can be. Most of it lies at strengths that are loud noise: read it beside the curve in the audit's report. "
        "It rests on a part of the clips.",
        columns=_bounded("evenvoice_audit_auc_acc", "AUC_acc", Unit.NUMBER, 4),
        by=_GROUP,
        width=12,
    )


def _gap_over_audits(metric: str, name: str) -> timeseries.Panel:
    of = (*_HERE, chosen.DEFENSE, f'metric="{metric}"')
    return over_time(
        f"Gap of {name}, audit by audit",
        "The gap between compared groups and its interval at each audit, for the defense chosen above. Two intervals "
        "that overlap do not show a change: compare two audits by speaker with `evenvoice audit compare`.",
        unit=Unit.NUMBER,
        lines=(
            Line("at most", _latest("evenvoice_audit_gap_upper", *of, by=_GAP)),
            Line("gap", _latest("evenvoice_audit_gap", *of, by=_GAP)),
            Line("at least", _latest("evenvoice_audit_gap_lower", *of, by=_GAP)),
        ),
        strokes={
            "at most": Stroke(Colour.SKY, "dots", band_down_to="at least"),
            "gap": Stroke(Colour.ORANGE),
            "at least": Stroke(Colour.SKY, "short"),
        },
        width=6,
    )
