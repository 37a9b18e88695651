"""An audit as tables: for a terminal, and as Markdown."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from rich.table import Table

from monitoring.audit import AttributeResult, AuditReport, DefenseResult, Estimate, GapResult, GroupResult

_METRIC_WORDS = {"auc_fpr": "AUC_FPR", "rejection": "false rejections", "accuracy": "accuracy"}


@dataclass(frozen=True)
class Grid:
    """A table before it is drawn; every row has as many cells as there are columns, the first one text."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]

    def to_rich(self) -> Table:
        table = Table(title=self.title, title_justify="left", title_style="bold")
        for number, column in enumerate(self.columns):
            table.add_column(column, justify="left" if number == 0 else "right")
        for row in self.rows:
            table.add_row(*row)
        return table

    def to_markdown(self) -> str:
        line = "|".join(["---"] + ["--:"] * (len(self.columns) - 1))
        body = "\n".join("| " + " | ".join(row) + " |" for row in (self.columns, *self.rows))
        head, _, rest = body.partition("\n")
        return f"**{self.title}**\n\n{head}\n|{line}|\n{rest}\n"


def grids(report: AuditReport) -> Iterator[Grid]:
    """The tables of a report: the whole, then each attribute's groups, then the gaps."""
    yield _overall(report)
    for attribute in (a.attribute for a in report.defenses[0].attributes):
        yield _groups(report, attribute)
    yield _gaps(report)


def to_markdown(report: AuditReport) -> str:
    """The whole report as one page."""
    settings = report.settings
    head = (
        f"# Audit of {report.bundle_name}\n\n"
        f"- bundle `{report.bundle_version}`, evenvoice {report.evenvoice_version}\n"
        f"- manifest `{report.manifest}`: {report.clips} clips of {report.speakers} speakers, `{report.fingerprint}`\n"
        f"- {report.created_at.isoformat()}; seed {settings.seed}\n\n"
        f"A gap is max - min over groups; low is good. It is compared with a tolerance of {settings.tolerance} over "
        f"groups with at least {settings.min_speakers} speakers; intervals are {settings.confidence:.0%} over "
        "speakers.\n\n"
    )
    unheard = ""
    if report.unheard:
        lines = "".join(f"- {u.clip}: {u.why}\n" for u in report.unheard)
        unheard = f"\n## {len(report.unheard)} clips that could not be heard\n\n{lines}"
    return head + "\n".join(grid.to_markdown() for grid in grids(report)) + unheard


def _overall(report: AuditReport) -> Grid:
    rows = []
    for result in report.defenses:
        others = result.not_commands
        accepted = f"{others.accepted} of {others.clips}" if others else "none heard"
        rows.append((str(result.defense), *_figures(result.overall), accepted))
    return Grid(
        "All speakers",
        ("defense", "speakers", "clips", "accuracy", "false rejections", "AUC_FPR", "others accepted"),
        tuple(rows),
    )


def _groups(report: AuditReport, attribute: str) -> Grid:
    rows = []
    for result in report.defenses:
        found = _attribute(result, attribute)
        rows += [(group.group, str(result.defense), *_figures(group)) for group in found.groups]
    rows.sort(key=lambda row: row[0])
    return Grid(
        f"By {attribute}",
        ("group", "defense", "speakers", "clips", "accuracy", "false rejections", "AUC_FPR"),
        tuple(rows),
    )


def _gaps(report: AuditReport) -> Grid:
    rows = [
        (f"{attribute.attribute}: {_METRIC_WORDS[gap.metric]}", str(result.defense), *_gap(gap))
        for result in report.defenses
        for attribute in result.attributes
        for gap in attribute.gaps
    ]
    rows.sort(key=lambda row: row[0])
    interval = f"{report.settings.confidence:.0%} interval"
    columns = ("gap of", "defense", "all groups", "compared", interval, "groups compared", "verdict")
    return Grid("Gaps between groups", columns, tuple(rows))


def _figures(group: GroupResult) -> tuple[str, ...]:
    score = "-" if group.auc_fpr is None else f"{group.auc_fpr.mean:.4f}"
    return (str(group.speakers), str(group.clips), _estimate(group.accuracy), _estimate(group.rejection), score)


def _estimate(value: Estimate) -> str:
    if value.lower is None or value.upper is None:
        return f"{value.mean:.3f}"
    return f"{value.mean:.3f} [{value.lower:.3f}, {value.upper:.3f}]"


def _gap(gap: GapResult) -> tuple[str, ...]:
    interval = "-" if gap.lower is None or gap.upper is None else f"[{gap.lower:.3f}, {gap.upper:.3f}]"
    compared = f"{len(gap.compared)} of {len(gap.compared) + len(gap.too_small)}"
    return (_number(gap.value), _number(gap.value_compared), interval, compared, str(gap.verdict))


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _attribute(result: DefenseResult, attribute: str) -> AttributeResult:
    return next(a for a in result.attributes if a.attribute == attribute)
