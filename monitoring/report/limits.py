"""What an audit can't say: sentences that stand on every report, and those that this one's data call for."""

from __future__ import annotations

from collections.abc import Iterator

from monitoring.audit import AuditReport
from monitoring.report.blocks import Points, Section
from monitoring.report.numbers import counted
from monitoring.report.words import defense_words
from recognizer.groups import UNDECLARED

NOT_A_SAFETY_FUNCTION = "evenvoice is not a safety function: a spoken stop never replaces an emergency stop."
_FEW = 100
"""Speakers under which an audit as a whole is small."""


def limits_section(report: AuditReport) -> Section:
    return Section("What this can't say", "limits", (Points(tuple(limits(report))),))


def limits(report: AuditReport) -> Iterator[str]:
    """The caveats, the report's own first."""
    settings = report.settings
    if report.speakers < _FEW:
        yield (
            f"It rests on {counted(report.speakers, 'speaker')}. Few speakers, not few clips, are what makes an "
            "interval wide: more recordings of the same people hardly help."
        )
    few = sorted(
        {
            f"{c.group} ({c.attribute})"
            for c in report.coverage
            if c.group != UNDECLARED and c.speakers < settings.min_speakers
        }
    )
    if few:
        yield (
            f"Nothing is concluded about {counted(len(few), 'group')} with fewer than {settings.min_speakers} "
            f"speakers: {', '.join(few)}. That is no sign that they are served well."
        )
    yield (
        "An inconclusive verdict is no clean bill: it says that a gap beyond the limit and none at all are both "
        "possible. The gap that a test of the highest and the lowest group alone would mostly have told from none "
        "stands in each table of gaps as detectable; to be called a disparity it must be larger."
    )
    yield (
        f"Each interval holds in about {settings.confidence:.0%} of audits by itself. Among many verdicts some are "
        "false; those that decide were named before in the policy."
    )
    yield (
        "Speakers are taken for a random sample of their group. A corpus of volunteers or of one site is not: what "
        "holds for these voices, rooms and microphones may not hold for others."
    )
    yield (
        "Groups are what speakers or labellers declared, one attribute at a time and few values each; people who "
        "declared nothing are shown and compared with nobody."
    )
    yield (
        "A gap says that groups are treated differently, not why: accent, microphone, room and wording go together, "
        "and no figure here is adjusted for that."
    )
    if report.attack is None:
        yield "Nothing was attacked: whether the defenses protect all groups alike from an attacker was not measured."
    else:
        yield (
            "Robustness is measured against one family of attacks of bounded strength and is an upper bound; the "
            "budgets are of raw amplitude and say nothing of sound played over the air."
        )
    if report.unheard:
        yield f"{counted(len(report.unheard), 'clip')} could not be heard and are in no figure; see who was heard."
    others = [defense_words(r.defense) for r in report.defenses if r.defense != report.default_defense]
    if others:
        yield (
            f"What a robot meets is the default, {defense_words(report.default_defense)}, unless a request asks for "
            f"another; figures of {', '.join(others)} are for comparison."
        )
    yield NOT_A_SAFETY_FUNCTION
