"""Per attribute: who could be compared, every group's figures drawn with their intervals, and the tables of both."""

from __future__ import annotations

from collections.abc import Iterator

from monitoring.audit import AttributeResult, AuditReport, GapResult
from monitoring.report.blocks import Block, Figure, Paragraph, Section
from monitoring.report.forest import ForestRow, GapRow, forest, gap_forest
from monitoring.report.group_tables import delta_table, gap_table, group_table, named_table, others_table
from monitoring.report.measures import Measure, attributes_of, by_defense, estimate_of, gap_of, measures
from monitoring.report.numbers import NOTHING, PER_CENT, counted, listed
from monitoring.report.svg import around
from monitoring.report.words import METRIC_WORDS, defense_words
from recognizer.groups import OTHER, UNDECLARED

FOREST_KEY = (
    "A dot is a group's figure, the bar its interval over speakers; hollow and dashed: too few speakers to be "
    "compared, or undeclared. The dashed line: all speakers together."
)
GAP_KEY = (
    "A gap is the largest figure less the smallest, over groups with enough speakers; the bar is its interval. "
    "▲ disparity, ● equivalent, ◇ inconclusive, ○ too few speakers. Shaded: within the tolerance."
)


def gaps_figure(report: AuditReport) -> Figure:
    """Every gap of every defense against the tolerance, a panel a metric."""
    panels = []
    for number, measure in enumerate(measures(report)):
        words = METRIC_WORDS[measure.metric]
        rows, tolerance = [], 0.0
        for attribute in attributes_of(report):
            for defense, result in by_defense(report, attribute):
                if (gap := gap_of(result, measure)) is not None:
                    rows.append(_gap_row(f"{attribute}, {defense_words(defense)}", gap))
                    tolerance = gap.tolerance  # one a metric
        if rows:
            values = [v for r in rows for v in (r.value, r.lower, r.upper) if v is not None]
            panels.append(
                gap_forest(
                    rows,
                    unit=words.drawn,
                    domain=around([0.0, tolerance, *values]),
                    tolerance=tolerance,
                    name=f"gaps-{number}",
                    title=measure.words,
                )
            )
    caption = (
        f"Gaps between groups, with simultaneous {report.settings.confidence:.0%} intervals over speakers; of groups "
        f"with at least {report.settings.min_speakers} speakers."
    )
    return Figure(caption=caption, panels=tuple(panels), key=GAP_KEY)


def attribute_sections(report: AuditReport) -> Iterator[Section]:
    """A section an attribute."""
    for number, attribute in enumerate(attributes_of(report)):
        blocks: list[Block] = [Paragraph(_who(report, attribute))]
        for place, measure in enumerate(measures(report)):
            key = FOREST_KEY if place == 0 else ""
            blocks.append(_forests(report, attribute, measure, name=f"forest-{number}-{place}", key=key))
        blocks.append(gap_table(report, attribute))
        if named := named_table(report, attribute):
            blocks.append(named)
        blocks += [group_table(report, attribute, measure) for measure in measures(report)]
        if deltas := delta_table(report, attribute):
            blocks.append(deltas)
        if others := others_table(report, attribute):
            blocks.append(others)
        yield Section(f"By {attribute}", f"by-{number}", tuple(blocks))


def _who(report: AuditReport, attribute: str) -> str:
    """Who was there to be compared, and who was not."""
    groups = next(result.groups for _, result in by_defense(report, attribute))
    floor = report.settings.min_speakers
    declared = [g for g in groups if g.group != UNDECLARED]
    enough = [f"{g.group} ({g.speakers})" for g in declared if g.speakers >= floor]
    few = [f"{g.group} ({g.speakers})" for g in declared if g.speakers < floor]
    words = [f"With at least {floor} speakers: {listed(enough)}." if enough else f"No group has {floor} speakers."]
    if few:
        words.append(f"Too few to be compared, and shown all the same: {listed(few)}.")
    total = sum(g.speakers for g in groups)
    undeclared = next((g.speakers for g in groups if g.group == UNDECLARED), 0)
    words.append(f"Undeclared: {undeclared} of {counted(total, 'speaker')}, {_per_cent(undeclared, total)}.")
    if not any(g.group == OTHER for g in groups):
        words.append("Nobody is in the group other.")
    return " ".join(words)


def _forests(report: AuditReport, attribute: str, measure: Measure, *, name: str, key: str) -> Figure:
    words = METRIC_WORDS[measure.metric]
    found = [
        (defense, result, rows)
        for defense, result in by_defense(report, attribute)
        if (rows := _rows(result, measure, report.settings.min_speakers))
    ]
    values = [v for *_, rows in found for r in rows for v in (r.mean, r.lower, r.upper) if v is not None]
    overall = {r.defense: estimate_of(r.overall, measure) for r in report.defenses}
    values += [e.mean for defense, *_ in found if (e := overall[defense]) is not None]
    domain = around([0.0, *values] if words.is_low_good else values, high=words.highest)
    panels = []
    for number, (defense, _, rows) in enumerate(found):
        everyone = overall[defense]
        panels.append(
            forest(
                rows,
                unit=words.drawn,
                domain=domain,
                name=f"{name}-{number}",
                title=defense_words(defense).capitalize(),
                axis=words.unit.named(words.short),
                overall=None if everyone is None else everyone.mean,
            )
        )
    good = "low is good" if words.is_low_good else "high is good"
    caption = f"{measure.words} by {attribute}: {words.meaning}; {good}."
    return Figure(caption=caption, panels=tuple(panels), key=key)


def _rows(result: AttributeResult, measure: Measure, floor: int) -> list[ForestRow]:
    rows = []
    for group in result.groups:
        if (value := estimate_of(group, measure)) is not None:
            is_compared = group.group != UNDECLARED and group.speakers >= floor
            rows.append(
                ForestRow(group.group, group.speakers, group.clips, value.mean, value.lower, value.upper, is_compared)
            )
    return rows


def _gap_row(name: str, gap: GapResult) -> GapRow:
    value = gap.value if gap.value_compared is None else gap.value_compared
    return GapRow(name, value, gap.lower, gap.upper, gap.verdict)


def _per_cent(part: int, whole: int) -> str:
    return f"{PER_CENT.value(part / whole)} %" if whole else NOTHING
