"""A study's report: one self-contained HTML page, its figures as PNG, its tables as CSV, its main numbers as JSON."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from pathlib import Path

from training.corpora.splits import SplitKind
from training.study.folder import write_bytes
from training.study.report.analysis import Analysis, analyse
from training.study.report.contrast_sections import contrast_sections
from training.study.report.evidence import StudyEvidence, read_study
from training.study.report.exhibits import Section, Table
from training.study.report.figures import check_matplotlib
from training.study.report.heading import heading_sections, missing_section
from training.study.report.judgement import RULE
from training.study.report.page import to_html
from training.study.report.rejection_sections import rejection_sections
from training.study.report.summary import summarise
from training.study.report.training_sections import training_sections

PAGE = "index.html"
SUMMARY = "summary.json"
_TITLES: dict[SplitKind, str] = {
    "closed": "Closed split: known speakers",
    "open": "Open split: unheard speakers",
}


def write_report(folder: Path, out: Path) -> Path:
    """Report on whatever a study's folder holds.

    Args:
        folder: what `evenvoice study run` wrote, finished or not.
        out: folder of the report, made where there is none.

    Returns:
        The page's path.

    Raises:
        StudyError: no study lies in `folder`, a file of it is damaged, matplotlib is missing, or `out` can't be
            written.
    """
    check_matplotlib()
    study = read_study(folder)
    analyses = [analyse(split, study.record.settings) for split in study.splits]
    summary = summarise(analyses, not_begun=study.not_begun)
    sections = [*heading_sections(study, analyses), *_splits(analyses), *contrast_sections(analyses)]
    for exhibit in (exhibit for section in sections for exhibit in section.exhibits):
        if isinstance(exhibit, Table):
            write_bytes(out / f"{exhibit.name}.csv", to_csv(exhibit))
        else:
            write_bytes(out / f"{exhibit.name}.png", exhibit.png)
    write_bytes(out / SUMMARY, summary.model_dump_json(by_alias=True, indent=2).encode() + b"\n")
    title = f"Study of {study.record.source}"
    page = to_html(
        f"FAILED: {title}" if summary.is_failed else title, banner=list(_banner(study, analyses)), sections=sections
    )
    write_bytes(out / PAGE, page.encode())
    return out / PAGE


def to_csv(table: Table) -> bytes:
    """The table in full precision."""
    buffer = io.StringIO()
    table.frame.to_csv(buffer, index=False)
    return buffer.getvalue().encode()


def _splits(analyses: Sequence[Analysis]) -> Iterator[Section]:
    for analysis in analyses:
        yield Section(_TITLES[analysis.evidence.name], level=2)
        yield from missing_section(analysis.evidence)
        yield from training_sections(analysis)
        yield from rejection_sections(analysis)


def _banner(study: StudyEvidence, analyses: Sequence[Analysis]) -> Iterator[tuple[str, bool]]:
    yield RULE, False
    for analysis in analyses:
        judgement, name = analysis.judgement, analysis.evidence.name
        if judgement.is_failed:
            yield f"FAILED: {name} split: {judgement.words}. What follows is no result.", True
        else:
            yield f"{name.capitalize()} split: {judgement.words}.", False
        for guess in analysis.guesses:
            yield f"{name.capitalize()} split: {guess.words}", True
        if judgement.unfinished or judgement.parts_unfinished:
            other = f"{judgement.parts_unfinished} other parts"
            yield (
                f"The {name} split is not finished: {judgement.unfinished} configurations and {other} are to come.",
                False,
            )
        if judgement.parts_failed:
            yield f"Of the {name} split, {judgement.parts_failed} parts other than the configurations failed.", False
    for name in study.not_begun:
        yield f"The {name} split is not begun.", False
