"""The report that is handed over: the question and its answer, who is turned away, and what all of it rests on."""

from __future__ import annotations

from pathlib import Path

from scipy import stats

from monitoring.audit import AuditReport
from monitoring.parity import POWER
from monitoring.report.answer import answer, gate_table, question
from monitoring.report.blocks import Block, Document, Facts, Notice, Paragraph, Partial, Section
from monitoring.report.data import coverage_section, key_facts, provenance_section, sounds_section
from monitoring.report.group_tables import overall_table, reading
from monitoring.report.groups import attribute_sections, gaps_figure
from monitoring.report.intersections import intersection_section
from monitoring.report.limits import limits_section
from monitoring.report.numbers import count
from monitoring.report.render import to_html
from monitoring.report.thresholds import threshold_section
from monitoring.report.under_attack import attack_section

PAGE_FILE = "audit.html"
_WHERE = Paragraph("What the columns of these tables are stands under “How it was measured”.")


def write_html(report: AuditReport, folder: Path) -> Path:
    """Write the page into a folder, made where there is none.

    Returns:
        The page's path.
    """
    folder.mkdir(parents=True, exist_ok=True)
    page = folder / PAGE_FILE
    page.write_text(to_html(audit_document(report)), encoding="utf-8")
    return page


def audit_document(report: AuditReport) -> Document:
    """Every section that the report has something for."""
    found = answer(report)
    decides: list[Block] = [gate_table(report)] if report.judgement.gates else []
    sections = (
        Section("What decides", "decides", (*decides, gaps_figure(report), overall_table(report))),
        Section("Who is turned away", "groups", (_WHERE,), tuple(attribute_sections(report))),
        threshold_section(report),
        attack_section(report),
        intersection_section(report),
        sounds_section(report),
        coverage_section(report),
        limits_section(report),
        Section(
            "How it was measured",
            "methods",
            (Paragraph("The columns of the tables:"), reading(report), _methods(report)),
        ),
        provenance_section(report),
    )
    return Document(
        kind=f"Fairness audit of {report.bundle_name}, {report.created_at:%d %B %Y}",
        title=question(report),
        lead=(Notice(found.kind, found.head, found.reason), Facts(tuple(key_facts(report)))),
        sections=tuple(section for section in sections if section is not None),
        foot=(
            f"Written by evenvoice {report.evenvoice_version} from audit.json, which holds every figure in full. "
            f"Bundle {report.bundle_version}."
        ),
    )


def _methods(report: AuditReport) -> Partial:
    settings = report.settings
    return Partial(
        "methods.html.jinja",
        {
            "confidence": f"{settings.confidence:.0%}",
            "min_speakers": settings.min_speakers,
            "replicates": count(settings.replicates),
            "power": f"{POWER:.0%}",
            "z": f"{stats.norm.ppf((1 + settings.confidence) / 2):.2f}",
            "z_power": f"{stats.norm.ppf(POWER):.2f}",
            "attacked": report.attack is not None,
            "eps": "" if report.attack is None else ", ".join(f"{eps:g}" for eps in report.attack.eps),
        },
    )
