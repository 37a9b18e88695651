"""Groups of several attributes at once: each cell raw, as its groups' own effects add up, and shrunken towards that."""

from __future__ import annotations

from monitoring.audit import METRICS, AuditReport, Cell, Metric
from monitoring.report.blocks import Paragraph, Section, Table
from monitoring.report.numbers import NOTHING, count
from monitoring.report.words import METRIC_WORDS, defense_words, group_words

_EXPLAINED = (
    "Most cells hold few speakers, and the worst of many such figures looks bad by chance alone: no verdict rests on "
    "them. Fitted: what the groups' own effects add up to. Shrunken: the cell drawn towards that, the more the fewer "
    "speakers it has; where it stays away from the fit, look closer."
)


def intersection_section(report: AuditReport) -> Section | None:
    """A table an intersection; None where there is one attribute only."""
    found = {
        (crossed.attributes, crossed.metric, result.defense, cell.groups): cell
        for result in report.defenses
        for crossed in result.intersections
        for cell in crossed.cells
    }
    crossings = dict.fromkeys(attributes for attributes, *_ in found)
    tables = tuple(_table(report, attributes, found) for attributes in crossings)
    return Section("Intersections", "intersections", (Paragraph(_EXPLAINED), *tables)) if tables else None


def _table(
    report: AuditReport,
    attributes: tuple[str, ...],
    found: dict[tuple[tuple[str, ...], Metric, str, tuple[str, ...]], Cell],
) -> Table:
    """A row a cell and defense."""
    metrics = [m for m in METRICS[::-1] if any(key[:2] == (attributes, m) for key in found)]
    cells = dict.fromkeys(groups for key, _, _, groups in found if key == attributes)
    rows = []
    for groups in cells:
        for result in report.defenses:
            own = [found.get((attributes, metric, result.defense, groups)) for metric in metrics]
            if (any_cell := next((c for c in own if c is not None), None)) is None:
                continue
            figures: list[str] = []
            for metric, cell in zip(metrics, own, strict=True):
                unit = METRIC_WORDS[metric].unit
                values = (None, None, None) if cell is None else (cell.mean, cell.fitted, cell.shrunken)
                figures += [NOTHING if value is None else unit.value(value) for value in values]
            names = (group_words(group) for group in groups)
            counts = count(any_cell.speakers), count(any_cell.clips)
            rows.append((*names, defense_words(result.defense), *counts, *figures))
    headings = (
        heading
        for metric in metrics
        for heading in (METRIC_WORDS[metric].unit.named(METRIC_WORDS[metric].short), "fitted", "shrunken")
    )
    return Table(
        caption=f"By {' × '.join(attributes)}.",
        columns=(*attributes, "defense", "speakers", "clips", *headings),
        rows=tuple(rows),
        words=frozenset(range(len(attributes) + 1)),
    )
