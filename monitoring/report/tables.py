"""An audit as tables: narrow ones for a terminal, full ones as Markdown."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from rich.box import SIMPLE_HEAD
from rich.cells import cell_len
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
from recognizer.steps import steps_of

SHORT: dict[str, str] = {DefenseName.NONE: "none", DefenseName.NEURAL_REJECTION: "NR", DefenseName.SMOOTHING: "RS"}
_ABREAST = len(SHORT)  # results that fit beside each other in 80 columns
_METRIC_WORDS: dict[Metric, str] = {
    "auc_fpr": "AUC_FPR",
    "rejection": "false rejections",
    "accuracy": "accuracy",
}


def short(defense: str) -> str:
    """A defense's name with its rejectors shortened, such as `opus.NR.RS`; a single one's is that of SHORT."""
    steps = steps_of(defense)
    return ".".join((*steps.purifiers, *(SHORT[r] for r in steps.rejectors))) or SHORT[DefenseName.NONE]


@dataclass(frozen=True)
class Grid:
    """A table before it is drawn; every row has as many cells as there are columns, the first one text."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    is_first_whole: bool = False
    """The first column is never wrapped or cut on a terminal, as it may be where it is of words."""

    def to_rich(self) -> Table:
        table = Table(title=self.title, title_justify="left", title_style="bold", box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
        for number, column in enumerate(self.columns):
            is_whole = number == 0 and self.is_first_whole
            table.add_column(
                column,
                justify="left" if number == 0 else "right",
                no_wrap=number > 0 or is_whole,
                min_width=max(map(cell_len, (column, *(row[0] for row in self.rows)))) if is_whole else None,
            )
        for row in self.rows:
            table.add_row(*row)
        return table

    def to_markdown(self) -> str:
        rule = "|".join(["---"] + ["--:"] * (len(self.columns) - 1))
        rows = ([_escaped(cell) for cell in row] for row in (self.columns, *self.rows))
        head, *body = ("| " + " | ".join(row) + " |" for row in rows)
        return "\n".join((f"**{_escaped(self.title)}**", "", head, f"|{rule}|", *body, ""))


def _escaped(text: str) -> str:
    """Names come from a manifest: one that looks like HTML stays text."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace("|", "\\|")


def overview(report: AuditReport) -> Iterator[Grid]:
    """The tables without the groups' intervals; single defenses side by side in each cell, others in rows."""
    if all(result.defense in SHORT for result in report.defenses):
        yield from _abreast(report)
    else:
        yield from _stacked(report)


def _stacked(report: AuditReport) -> Iterator[Grid]:
    """A row for every group and defense, and the gaps of a few defenses at a time."""
    figures = ("speakers", "rejected,\n%", "correct,\n%", "AUC_FPR", "others,\n%")

    def row(group: GroupResult) -> tuple[str, ...]:
        rejected, correct = _percent(group.rejection.mean), _percent(group.accuracy.mean)
        return (str(group.speakers), rejected, correct, _scores(group, digits=3), _accepted_share(group.not_commands))

    everyone = tuple((short(r.defense), *row(r.overall)) for r in report.defenses)
    yield Grid("Commands", ("", *figures), everyone)
    for number, attribute in enumerate(report.defenses[0].attributes):
        rows = tuple(
            (f"{groups[0].group}, {short(result.defense)}", *row(group))
            for groups in zip(*(r.attributes[number].groups for r in report.defenses), strict=True)
            for result, group in zip(report.defenses, groups, strict=True)
        )
        yield Grid(f"By {attribute.attribute}", (attribute.attribute, *figures), rows)
    for start in range(0, len(report.defenses), _ABREAST):
        yield _gap_overview(report.defenses[start : start + _ABREAST])


def _abreast(report: AuditReport) -> Iterator[Grid]:
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
    yield _gap_overview(report.defenses)


def to_markdown(report: AuditReport) -> str:
    """The whole report, with every interval, as one page."""
    settings, judgement = report.settings, report.judgement
    cautions = "".join(f"- {_escaped(caution)}\n" for caution in report.cautions)
    head = (
        f"# Audit of {report.bundle_name}\n\n"
        f"- bundle `{report.bundle_version}`, evenvoice {report.evenvoice_version}\n"
        f"{_pooled(report)}"
        f"- manifest `{report.manifest}`: {report.clips} clips of {report.speakers} speakers, `{report.fingerprint}`\n"
        f"- {report.created_at.isoformat()}; seed {settings.seed}\n"
        f"- under {_escaped(judgement.policy_file or 'the default policy')}: **{judgement.outcome}**, "
        f"exit code {judgement.exit_code}\n"
        f"{cautions}\n"
        f"A gap is max - min over groups; low is good. It is compared with a tolerance of {settings.tolerance} over "
        f"groups with at least {settings.min_speakers} speakers; intervals are {settings.confidence:.0%} over "
        "speakers, each verdict by its own. Detectable is the true gap that a test of the highest and the lowest group "
        f"alone tells from 0 in {POWER:.0%} of cases; a disparity takes a larger one.\n\n"
    )
    unheard = ""
    if report.unheard:
        lines = "".join(f"- {_escaped(f'{u.clip}: {u.why}')}\n" for u in report.unheard)
        unheard = f"\n## {len(report.unheard)} clips that could not be heard\n\n{lines}"
    return head + "\n".join(grid.to_markdown() for grid in _full(report)) + unheard


def _pooled(report: AuditReport) -> str:
    """Of a pooled audit, each bundle that it is made of."""
    return "".join(f"  - `{b.version}`: {b.clips} clips of {b.speakers} speakers\n" for b in report.bundles)


def _full(report: AuditReport) -> Iterator[Grid]:
    figures = ("speakers", "clips", "accuracy", "false rejections", "AUC_FPR", "others accepted")
    everyone = tuple((result.defense, *_figures(result.overall)) for result in report.defenses)
    yield Grid("All speakers", ("defense", *figures), everyone)
    for number, attribute in enumerate(report.defenses[0].attributes):
        rows = [
            (group.group, result.defense, *_figures(group))
            for result in report.defenses
            for group in result.attributes[number].groups
        ]
        rows.sort(key=lambda row: row[0])
        yield Grid(f"By {attribute.attribute}", ("group", "defense", *figures), tuple(rows))
    if sounds := report.defenses[0].sounds:
        accepted = tuple((sound, *(_accepted(r.sounds.get(sound)) for r in report.defenses)) for sound in sounds)
        columns = ("what it is", *(result.defense for result in report.defenses))
        yield Grid("Sounds that are no command, and were accepted", columns, accepted)
    yield _gaps(report)


def _gaps(report: AuditReport) -> Grid:
    rows = [
        (f"{attribute.attribute}: {_words(gap.metric, gap.part)}", result.defense, *_gap(gap))
        for result in report.defenses
        for attribute in result.attributes
        for gap in attribute.gaps
    ]
    rows.sort(key=lambda row: row[0])
    interval = f"{report.settings.confidence:.0%} interval"
    columns = ("gap of", "defense", "all groups", "compared", interval, "detectable", "groups compared", "verdict")
    return Grid("Gaps between groups", columns, tuple(rows))


def _gap_overview(results: Sequence[DefenseResult]) -> Grid:
    found = {(a.attribute, g.metric, g.part, r.defense): g for r in results for a in r.attributes for g in a.gaps}
    parts = dict.fromkeys(p.part for r in results for p in r.overall.parts)
    has_single = not parts or any(r.overall.auc_fpr is not None for r in results)
    of_score: list[str | None] = [*([None] if has_single else []), *parts]
    figures = [(m, part) for m in METRICS for part in (of_score if m == "auc_fpr" else [None])]
    rows = tuple(
        (
            f"{attribute.attribute}: {_words(metric, part, shorten=True)}",
            *(_verdict(found.get((attribute.attribute, metric, part, r.defense))) for r in results),
        )
        for attribute in results[0].attributes
        for metric, part in figures
    )
    return Grid("Gaps between groups", ("gap of", *(short(r.defense) for r in results)), rows)


def _words(metric: Metric, part: str | None, *, shorten: bool = False) -> str:
    of_part = "" if part is None else f" of {short(part) if shorten else part}"
    return f"{_METRIC_WORDS[metric]}{of_part}"


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
        _scores(group),
        _accepted(group.not_commands),
    )


def _accepted(others: FalseAcceptance | None) -> str:
    return "-" if others is None else f"{others.accepted} of {others.clips}"


def _accepted_share(others: FalseAcceptance | None) -> str:
    return "-" if others is None else f"{100 * others.accepted / others.clips:.0f}"


def _score(group: GroupResult, *, digits: int) -> str:
    return "-" if group.auc_fpr is None else f"{group.auc_fpr.mean:.{digits}f}"


def _scores(group: GroupResult, *, digits: int = 4) -> str:
    """AUC_FPR, of a combined defense with each part's name."""
    if group.parts:
        return " ".join(f"{short(p.part)} {p.auc_fpr.mean:.{digits}f}" for p in group.parts)
    return _score(group, digits=digits)


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
