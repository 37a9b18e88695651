"""Rejection over every threshold that a defense could be set to, by group: what AUC_FPR is the area of."""

from __future__ import annotations

from monitoring.audit import AttributeResult, AuditReport
from monitoring.report.blocks import Figure, Panel, Paragraph, Section
from monitoring.report.curves import Curve, curves, even
from monitoring.report.measures import attributes_of, by_defense
from monitoring.report.numbers import PER_CENT
from monitoring.report.words import defense_words
from recognizer.groups import UNDECLARED

_LABELS = (0.0, 0.25, 0.5, 0.75, 1.0)


def threshold_section(report: AuditReport) -> Section | None:
    """A figure an attribute; None where no defense rejects anything."""
    figures = []
    for number, attribute in enumerate(attributes_of(report)):
        panels = tuple(
            panel
            for place, (defense, result) in enumerate(by_defense(report, attribute))
            for panel in _panels(report, result, defense, name=f"alpha-{number}-{place}")
        )
        if panels:
            caption = (
                f"False rejections over the threshold alpha, by {attribute}; the area under a curve is its AUC_FPR."
            )
            figures.append(Figure(caption=caption, panels=panels))
    if not figures:
        return None
    explained = Paragraph(
        "A defense could be stricter or more lenient than it is set. At alpha, neural rejection turns a command away "
        "when its best probability is below alpha, so a larger alpha is stricter; randomized smoothing does when its "
        "p-value is above alpha, so a smaller one is. Where the curves of two groups lie apart, one of them pays more "
        "for the defense there; where they cross, no group pays more at every setting."
    )
    return Section("At other thresholds", "thresholds", (explained, *figures))


def _panels(report: AuditReport, result: AttributeResult, defense: str, *, name: str) -> list[Panel]:
    """One of the defense, or one each of its parts."""
    parts = dict.fromkeys(curve.part for group in result.groups for curve in group.curves)
    panels = []
    for number, part in enumerate(parts):
        lines = [
            Curve(
                name=group.group,
                speakers=group.speakers,
                values=curve.rejection,
                is_compared=group.group != UNDECLARED and group.speakers >= report.settings.min_speakers,
            )
            for group in result.groups
            for curve in group.curves
            if curve.part == part
        ]
        title = defense_words(defense) if part is None else f"{defense_words(part)}, of {defense_words(defense)}"
        panels.append(
            curves(
                lines,
                places=report.alphas,
                positions=even(report.alphas),
                labels=_labels(report.alphas),
                highest=1.0,
                unit=PER_CENT,
                name=f"{name}-{number}",
                title=title.capitalize(),
                x_axis="threshold alpha",
                y_axis="rejected, %",
            )
        )
    return panels


def _labels(alphas: tuple[float, ...]) -> tuple[str, ...]:
    """A label at the alphas nearest to round ones."""
    labels = [""] * len(alphas)
    for wanted in _LABELS:
        nearest = min(range(len(alphas)), key=lambda i: abs(alphas[i] - wanted))
        labels[nearest] = f"{alphas[nearest]:g}"
    return tuple(labels)
