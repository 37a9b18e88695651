"""Groups, their gaps and what defenses change, in tables: every figure with its interval and what it rests on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from monitoring.audit import AuditReport, GroupResult
from monitoring.parity import POWER, Verdict
from monitoring.report.blocks import Block, Cell, Points, Table
from monitoring.report.measures import Measure, by_defense, estimate_of, gap_of, measures
from monitoring.report.numbers import NOTHING, PER_CENT, count, probability
from monitoring.report.words import METRIC_WORDS, change_cell, defense_words, group_words, verdict_cell


def reading(report: AuditReport) -> Block:
    """What the columns of the groups' tables are."""
    confidence = f"{report.settings.confidence:.0%}"
    return Points(
        (
            "All groups: the largest figure less the smallest, of all declared groups; where groups are small, it is "
            "more than it would be among all their people.",
            f"Compared: the same of groups with at least {report.settings.min_speakers} speakers, with the "
            f"{confidence} interval that the verdict rests on.",
            "p: of all compared groups being equal. SD: the standard deviation between them, freed of sampling noise.",
            f"Detectable: the true gap that such samples tell from 0 in {POWER:.0%} of audits.",
            "Shrunken: for display, the figure drawn towards that of all groups, the more the less is known of it.",
            "Design effect: how many times as uncertain a figure is as one of so many independent clips.",
        )
    )


def overall_table(report: AuditReport) -> Table:
    """Every defense over all speakers."""
    found = measures(report)
    headings = tuple(METRIC_WORDS[m.metric].unit.named(m.words) for m in found)
    rows = []
    for result in report.defenses:
        cells = []
        for measure in found:
            value, unit = estimate_of(result.overall, measure), METRIC_WORDS[measure.metric].unit
            cells.append(unit.estimate(value.mean, value.lower, value.upper) if value else NOTHING)
        speakers, clips = count(result.overall.speakers), count(result.overall.clips)
        rows.append((defense_words(result.defense), speakers, clips, *cells))
    interval = f"{report.settings.confidence:.0%}"
    return Table(
        caption=f"Every defense over all speakers, with {interval} intervals over speakers.",
        columns=("defense", "speakers", "clips of commands", *headings),
        rows=tuple(rows),
    )


def gap_table(report: AuditReport, attribute: str) -> Table:
    confidence = f"{report.settings.confidence:.0%}"
    rows: list[tuple[str | Cell, ...]] = []
    for measure in measures(report):
        unit = METRIC_WORDS[measure.metric].unit
        for defense, result in by_defense(report, attribute):
            if (gap := gap_of(result, measure)) is None:
                continue
            is_compared = gap.verdict is not Verdict.INSUFFICIENT
            spread = gap.spread
            rows.append(
                (
                    unit.named(measure.words),
                    defense_words(defense),
                    verdict_cell(gap.verdict),
                    unit.value(gap.value),
                    unit.value(gap.value_compared),
                    unit.interval(gap.lower, gap.upper),
                    f"{gap.highest} – {gap.lowest}" if is_compared and gap.highest != gap.lowest else NOTHING,
                    probability(gap.p_value),
                    unit.estimate(spread.sd, spread.lower, spread.upper) if spread else NOTHING,
                    unit.value(gap.minimum_detectable_gap),
                )
            )
    return Table(
        caption=f"Gaps by {attribute}, and whether they are within the tolerance.",
        columns=(
            "figure",
            "defense",
            "verdict",
            "all groups",
            "compared",
            f"{confidence} interval",
            "highest – lowest",
            "p",
            "SD",
            "detectable",
        ),
        rows=tuple(rows),
        words=frozenset({0, 1, 2, 6}),
    )


def named_table(report: AuditReport, attribute: str) -> Table | None:
    """Groups that differ from all others together, by Holm; None where no test was made."""
    rows: list[tuple[str | Cell, ...]] = []
    for measure in measures(report):
        for defense, result in by_defense(report, attribute):
            gap = gap_of(result, measure)
            for holm in gap.holm if gap else ():
                says = Cell(f"{holm.side} the rest", kind="note") if holm.is_named else Cell("not told from the rest")
                rows.append((measure.words, defense_words(defense), holm.group, probability(holm.p_value), says))
    if not rows:
        return None
    return Table(
        caption=f"Which group differs, by {attribute}: each against all others, p adjusted by Holm for all of them.",
        columns=("figure", "defense", "group", "adjusted p", ""),
        rows=tuple(rows),
        words=frozenset({0, 1, 2, 4}),
    )


def group_table(report: AuditReport, attribute: str, measure: Measure) -> Table:
    words = METRIC_WORDS[measure.metric]
    rows: list[tuple[str, ...]] = []
    for groups in _abreast(report, attribute):
        for defense, group in groups:
            if (value := estimate_of(group, measure)) is None:
                continue
            rows.append(
                (
                    group_words(group.group),
                    defense_words(defense),
                    count(group.speakers),
                    count(group.clips),
                    words.unit.value(value.mean),
                    words.unit.interval(value.lower, value.upper),
                    words.unit.value(value.shrunken),
                    NOTHING if value.design_effect is None else f"{value.design_effect:.2f}",
                )
            )
    return Table(
        caption=f"{words.unit.named(measure.words)}, by {attribute}.",
        columns=(
            attribute,
            "defense",
            "speakers",
            "clips",
            words.short,
            f"{report.settings.confidence:.0%} interval",
            "shrunken",
            "design effect",
        ),
        rows=tuple(rows),
        words=frozenset({0, 1}),
    )


def delta_table(report: AuditReport, attribute: str) -> Table | None:
    """Every defense less the baseline; None where there is none."""
    if report.baseline is None:
        return None
    rows: list[tuple[str | Cell, ...]] = []
    for defense, result in by_defense(report, attribute):
        for delta in result.deltas:
            unit, words = METRIC_WORDS[delta.metric].unit, METRIC_WORDS[delta.metric].heading
            for group in delta.groups:
                d, names = group.difference, (words, defense_words(defense), group_words(group.group))
                figures = unit.value(d.mean), unit.interval(d.lower, d.upper)
                rows.append((*names, count(group.speakers), *figures, NOTHING))
            gap = delta.gap
            figures = (unit.value(gap.mean), unit.interval(gap.lower, gap.upper)) if gap else (NOTHING, NOTHING)
            rows.append((words, defense_words(defense), "the gap", NOTHING, *figures, change_cell(delta.verdict)))
    if not rows:
        return None
    return Table(
        caption=(
            f"What each defense changes by {attribute}: its figure less that of {defense_words(report.baseline)}, the "
            "same speakers with and without it."
        ),
        columns=(
            "figure",
            "defense",
            "of",
            "speakers",
            "change",
            f"{report.settings.confidence:.0%} interval",
            "so the gap is",
        ),
        rows=tuple(rows),
        words=frozenset({0, 1, 2, 6}),
    )


def others_table(report: AuditReport, attribute: str) -> Table | None:
    """Clips of no command that were accepted, by who made them; None where there are none."""
    rows = tuple(
        (
            group_words(group.group),
            defense_words(defense),
            count(group.not_commands.clips),
            count(group.not_commands.accepted),
            PER_CENT.value(group.not_commands.accepted / group.not_commands.clips),
        )
        for groups in _abreast(report, attribute)
        for defense, group in groups
        if group.not_commands is not None
    )
    if not rows:
        return None
    return Table(
        caption=f"False acceptances by {attribute}: clips that are no command, and were taken for one.",
        columns=(attribute, "defense", "clips", "accepted", "%"),
        rows=rows,
        words=frozenset({0, 1}),
    )


def _abreast(report: AuditReport, attribute: str) -> Iterator[Sequence[tuple[str, GroupResult]]]:
    """Group by group, each under every defense."""
    results = list(by_defense(report, attribute))
    for index in range(len(results[0][1].groups)):
        yield [(defense, result.groups[index]) for defense, result in results]
