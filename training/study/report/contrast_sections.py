"""Sections 5.1.3 and 5.2.3, written: known speakers against unknown ones."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pandas as pd

from training.study.report.analysis import Analysis, Hardening, Rejection
from training.study.report.contrasts import (
    correlation_contrast,
    order_of_attributes,
    rejection_contrast,
    tricks_contrast,
)
from training.study.report.exhibits import Section, Table
from training.study.report.guessing import of_rejectors

_TITLE = "Closed against open"
_FOUR = dict.fromkeys(("gap_closed", "gap_open", "difference"), 4)


def contrast_sections(analyses: Sequence[Analysis]) -> Iterator[Section]:
    """The contrasts, or a section that says which split they lack."""
    found = {analysis.evidence.name: analysis for analysis in analyses}
    closed, opened = found.get("closed"), found.get("open")
    if closed is None or opened is None:
        lacking = "closed" if closed is None else "open"
        yield Section(_TITLE, (f"The {lacking} split was not run, so there is nothing to contrast.",), level=2)
        return
    yield Section(
        _TITLE,
        ("The splits differ in speakers and clips, and every network was trained once: a difference may be chance.",),
        level=2,
    )
    if closed.hardening is None or opened.hardening is None:
        yield Section("Hardening (5.1.3)", ("One of the splits has no finished model.",))
    else:
        yield _hardening(closed.hardening, opened.hardening)
    if closed.rejection is None or opened.rejection is None:
        yield Section("Rejection (5.2.3)", ("Rejection was not measured on both splits.",))
    else:
        guesses = [(part.evidence.name, guess) for part in (closed, opened) for guess in of_rejectors(part.guesses)]
        warnings = tuple(f"{name.capitalize()} split: {guess.words}" for name, guess in guesses)
        yield _rejection(closed.rejection, opened.rejection, warnings)


def _hardening(closed: Hardening, opened: Hardening) -> Section:
    return Section(
        "Hardening (5.1.3)",
        (
            "The reading says `unclear` where an interval covers 0 or there is none. A negative correlation: the "
            "defense goes with more equal protection.",
        ),
        exhibits=(
            Table(
                "contrast_presence",
                "Presence of a defense against Defense Parity.",
                correlation_contrast(closed.presence, opened.presence),
            ),
            Table(
                "contrast_levels",
                "Level of a defense, 0 included, against Defense Parity.",
                correlation_contrast(closed.levels, opened.levels),
            ),
            Table("contrast_tricks", "Mean clean accuracy.", tricks_contrast(closed.tricks, opened.tricks)),
        ),
    )


def _rejection(closed: Rejection, opened: Rejection, warnings: tuple[str, ...]) -> Section:
    orders = [
        order_of_attributes(part.gaps).assign(split=name) for name, part in (("closed", closed), ("open", opened))
    ]
    return Section(
        "Rejection (5.2.3)",
        warnings=warnings,
        exhibits=(
            Table(
                "contrast_gaps",
                "Gaps in AUC_FPR over all declared groups; low is equal.",
                rejection_contrast(closed.gaps, opened.gaps),
                decimals=_FOUR,
            ),
            Table(
                "contrast_order",
                "Attributes by their gap, the largest first (the paper: accent, age, gender).",
                pd.concat(orders, ignore_index=True)[["split", "defense", "draws", "order"]],
            ),
        ),
    )
