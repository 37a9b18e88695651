"""An audit as tables: narrow ones for a terminal, full ones as Markdown."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from rich.box import SIMPLE_HEAD
from rich.table import Table

from monitoring.audit import (
    METRICS,
    AuditReport,
    DefenseResult,
    Estimate,
    FalseAcceptance,
    GapResult,
    GroupResult,
    Metric,
)
from monitoring.parity import POWER
from recognizer.defense import DefenseName

SHORT = {DefenseName.NONE: "none", DefenseName.NEURAL_REJECTION: "NR", DefenseName.SMOOTHING: "RS"}
_METRIC_WORDS: dict[Metric, str] = {
    "auc_fpr": "AUC_FPR",
    "rejection": "false rejections",
    "accuracy": "accuracy",
}


@dataclass(frozen=True)
class Grid:
    """A table before it is drawn; every row has as many cells as there are columns, the first one text."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]

    def to_rich(self) -> Table:
        table = Table(title=self.title, title_justify="left", title_style="bold", box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
        for number, column in enumerate(self.columns):
            table.add_column(column, justify="left" if number == 0 else "right", no_wrap=number > 0)
        for row in self.rows:
            table.add_row(*row)
        return table

    def to_markdown(self) -> str:
        rule = "|".join(["---"] + ["--:"] * (len(self.columns) - 1))
        rows = ([cell.replace("|", "\\|") for cell in row] for row in (self.columns, *self.rows))
        head, *body = ("| " + " | ".join(row) + " |" for row in rows)
        return "\n".join((f"**{self.title}**", "", head, f"|{rule}|", *body, ""))


def overview(report: AuditReport) -> Iterator[Grid]:
    """The tables without the groups' intervals, the defenses side by side in each cell."""
    results = report.defenses
    scored = [r for r in results if r.overall.auc_fpr is not None]
    has_others = results[0].overall.not_commands is not None
    columns: tuple[str, ...] = (
        "speakers",
        f"rejected, %\n{_slashed(SHORT[r.defense] for r in results)}",
        f"correct, %\n{_slashed(SHORT[r.defense] for r in results)}",
        f"AUC_FPR\n{_slashed(SHORT[r.defense] for r in scored)}",
    )
    if has_others:
        columns = (*columns, "others, %\naccepted")

    def row(find: Callable[[DefenseResult], GroupResult]) -> tuple[str, ...]:
        groups = [find(r) for r in results]
        return (
            groups[0].group,
            str(groups[0].speakers),
            _slashed(_percent(g.rejection.mean) for g in groups),
            _slashed(_percent(g.accuracy.mean) for g in groups),
            _slashed(_score(find(r), digits=3) for r in scored),
            *([_slashed(_accepted_share(g.not_commands) for g in groups)] if has_others else []),
        )

    yield Grid("Commands", ("", *columns), (row(lambda r: r.overall),))
    for number, attribute in enumerate(results[0].attributes):
        rows = []
        for index in range(len(attribute.groups)):

            def find(result: DefenseResult, number: int = number, index: int = index) -> GroupResult:
                return result.attributes[number].groups[index]

            rows.append(row(find))
        yield Grid(f"By {attribute.attribute}", (attribute.attribute, *columns), tuple(rows))
    yield _gap_overview(report)


def to_markdown(report: AuditReport) -> str:
    """The whole report, with every interval, as one page."""
    settings = report.settings
    head = (
        f"# Audit of {report.bundle_name}\n\n"
        f"- bundle `{report.bundle_version}`, evenvoice {report.evenvoice_version}\n"
        f"- manifest `{report.manifest}`: {report.clips} clips of {report.speakers} speakers, `{report.fingerprint}`\n"
        f"- {report.created_at.isoformat()}; seed {settings.seed}\n\n"
        f"A gap is max - min over groups; low is good. It is compared with a tolerance of {settings.tolerance} over "
        f"groups with at least {settings.min_speakers} speakers; intervals are {settings.confidence:.0%} over "
        "speakers, each verdict by its own. Detectable is the true gap that such samples tell from 0 in "
        f"{POWER:.0%} of audits.\n\n"
    )
    unheard = ""
    if report.unheard:
        lines = "".join(f"- {u.clip}: {u.why}\n" for u in report.unheard)
        unheard = f"\n## {len(report.unheard)} clips that could not be heard\n\n{lines}"
    return head + "\n".join(grid.to_markdown() for grid in _full(report)) + unheard


def _full(report: AuditReport) -> Iterator[Grid]:
    figures = ("speakers", "clips", "accuracy", "false rejections", "AUC_FPR", "others accepted")
    everyone = tuple((str(result.defense), *_figures(result.overall)) for result in report.defenses)
    yield Grid("All speakers", ("defense", *figures), everyone)
    for number, attribute in enumerate(report.defenses[0].attributes):
        rows = [
            (group.group, str(result.defense), *_figures(group))
            for result in report.defenses
            for group in result.attributes[number].groups
        ]
        rows.sort(key=lambda row: row[0])
        yield Grid(f"By {attribute.attribute}", ("group", "defense", *figures), tuple(rows))
    yield _gaps(report)


def _gaps(report: AuditReport) -> Grid:
    rows = [
        (f"{attribute.attribute}: {_METRIC_WORDS[gap.metric]}", str(result.defense), *_gap(gap))
        for result in report.defenses
        for attribute in result.attributes
        for gap in attribute.gaps
    ]
    rows.sort(key=lambda row: row[0])
    interval = f"{report.settings.confidence:.0%} interval"
    columns = ("gap of", "defense", "all groups", "compared", interval, "detectable", "groups compared", "verdict")
    return Grid("Gaps between groups", columns, tuple(rows))


def _gap_overview(report: AuditReport) -> Grid:
    found = {(a.attribute, g.metric, r.defense): g for r in report.defenses for a in r.attributes for g in a.gaps}
    rows = tuple(
        (
            f"{attribute.attribute}: {_METRIC_WORDS[metric]}",
            *(_verdict(found.get((attribute.attribute, metric, r.defense))) for r in report.defenses),
        )
        for attribute in report.defenses[0].attributes
        for metric in METRICS
    )
    return Grid("Gaps between groups", ("gap of", *(SHORT[r.defense] for r in report.defenses)), rows)


def _verdict(gap: GapResult | None) -> str:
    if gap is None:
        return "-"
    if gap.lower is None or gap.upper is None:
        return f"{_number(gap.value)}\n{gap.verdict}"
    return f"{_number(gap.value_compared)}\n[{gap.lower:.3f}, {gap.upper:.3f}]\n{gap.verdict}"


def _gap(gap: GapResult) -> tuple[str, ...]:
    interval = "-" if gap.lower is None or gap.upper is None else f"[{gap.lower:.3f}, {gap.upper:.3f}]"
    compared = f"{len(gap.compared)} of {len(gap.compared) + len(gap.too_small)}"
    detectable = _number(gap.minimum_detectable_gap)
    return (_number(gap.value), _number(gap.value_compared), interval, detectable, compared, str(gap.verdict))


def _figures(group: GroupResult) -> tuple[str, ...]:
    return (
        str(group.speakers),
        str(group.clips),
        _estimate(group.accuracy),
        _estimate(group.rejection),
        _score(group),
        _accepted(group.not_commands),
    )


def _accepted(others: FalseAcceptance | None) -> str:
    return "-" if others is None else f"{others.accepted} of {others.clips}"


def _accepted_share(others: FalseAcceptance | None) -> str:
    return "-" if others is None else f"{100 * others.accepted / others.clips:.0f}"


def _score(group: GroupResult, *, digits: int = 4) -> str:
    return "-" if group.auc_fpr is None else f"{group.auc_fpr.mean:.{digits}f}"


def _estimate(value: Estimate) -> str:
    if value.lower is None or value.upper is None:
        return f"{value.mean:.3f}"
    return f"{value.mean:.3f} [{value.lower:.3f}, {value.upper:.3f}]"


def _slashed(parts: Iterable[str]) -> str:
    return "/".join(parts)


def _percent(share: float) -> str:
    return "100" if share == 1 else f"{100 * share:.1f}"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
