"""Under attack: accuracy over the attacker's budget by group, beside chance and the health of the attack itself."""

from __future__ import annotations

from collections.abc import Iterator

from monitoring.audit import AttackedAttribute, AttackedGroup, AttackedResult, AttackSummary, AuditReport
from monitoring.report.blocks import Block, Cell, Figure, Notice, Panel, Paragraph, Points, Section, Table
from monitoring.report.curves import Curve, curves, logarithmic
from monitoring.report.numbers import NOTHING, PER_CENT, SCORE, count, counted, probability
from monitoring.report.words import METRIC_WORDS, defense_words, group_words, verdict_cell
from recognizer.groups import UNDECLARED

_TITLE, _ANCHOR = "Under attack", "attack"


def attack_section(report: AuditReport) -> Section:
    """Curves and tables, or that nothing was attacked."""
    attacked = [(r.defense, r.attacked) for r in report.defenses if r.attacked is not None]
    if report.attack is None or not attacked:
        none = Notice("note", "Not measured.", "This audit attacked nothing; its figures are of clean speech only.")
        return Section(_TITLE, _ANCHOR, (none,))
    blocks: list[Block] = [Paragraph(_how(report.attack)), *_health(attacked)]
    names = [a.attribute for a in attacked[0][1].attributes]
    sections = []
    for number, name in enumerate(names):
        found = [(d, next(a for a in r.attributes if a.attribute == name)) for d, r in attacked]
        sections.append(
            Section(f"Under attack, by {name}", f"attack-{number}", tuple(_attribute(report, name, found, number)))
        )
    blocks += [_overall(report, report.attack, attacked)]
    return Section(_TITLE, _ANCHOR, tuple(blocks), tuple(sections))


def _how(attack: AttackSummary) -> str:
    of, settings = attack.subsample, attack.settings
    return (
        "An attacker who knows the model changes each clip by at most eps (raw amplitude) so that the defense "
        f"accepts a wrong command: {attack.name}, at most {settings.steps} steps at each budget, "
        f"{settings.smoothing_steps} of {settings.eot_draws} noisy copies against randomized smoothing. A clip counts "
        f"as right where the defense still accepts the right command. This was done on {counted(of.clips, 'clip')} of "
        f"{counted(of.speakers, 'speaker')}, out of {count(of.of_clips)} of {count(of.of_speakers)}: round after "
        "round one more clip of every speaker, in an order drawn by the seed. Guessing among the commands would be "
        f"right in {PER_CENT.value(attack.chance)} % of clips. An attack of finite strength bounds robustness from "
        "above only: a stronger one may find more."
    )


def _health(attacked: list[tuple[str, AttackedResult]]) -> Iterator[Block]:
    found = tuple(f"{defense_words(d)}: {f.detail} ({f.pitfall})" for d, r in attacked for f in r.findings)
    if found:
        words = (
            "The checks below found signs that the attack was weak or that accuracy means little; read it with care."
        )
        yield Notice("inconclusive", "The attack's health is in doubt.", words)
        yield Points(found)
    else:
        yield Notice("pass", "The attack looks healthy.", "None of the checks for failing attacks found anything.")


def _overall(report: AuditReport, attack: AttackSummary, attacked: list[tuple[str, AttackedResult]]) -> Table:
    rows = []
    for defense, result in attacked:
        overall = result.overall
        for place, eps in enumerate(attack.eps):
            accuracy, rejected = overall.accuracy[place], overall.rejected[place]
            snr = result.snr_db[place]
            rows.append(
                (
                    defense_words(defense),
                    f"{eps:g}",
                    PER_CENT.value(accuracy.mean),
                    PER_CENT.interval(accuracy.lower, accuracy.upper),
                    PER_CENT.value(rejected),
                    PER_CENT.value(max(0.0, 1.0 - accuracy.mean - rejected)),
                    NOTHING if snr is None else f"{snr:.1f}".replace("-", "−"),
                )
            )
    interval = f"{report.settings.confidence:.0%} interval"
    return Table(
        caption=(
            f"All {counted(attacked[0][1].overall.speakers, 'speaker')} under attack: right and accepted, turned "
            "away, or accepted as a wrong command, %. SNR: of the clip to what the attacker added, median, dB; below "
            "about 0 dB the clip is drowned, and nobody would call it an attack that can't be heard."
        ),
        columns=("defense", "eps", "right", interval, "rejected", "wrong", "SNR, dB"),
        rows=tuple(rows),
    )


def _attribute(
    report: AuditReport, name: str, found: list[tuple[str, AttackedAttribute]], number: int
) -> Iterator[Block]:
    attack = report.attack
    if attack is None:
        return
    panels = tuple(
        _panel(report, attack, defense, result, f"eps-{number}-{place}")
        for place, (defense, result) in enumerate(found)
    )
    caption = (
        f"Accuracy over the attack's budget eps, by {name}; high is good. The axis is logarithmic, with the clean "
        "clips at 0: the area that AUC_acc measures lies nearly all beyond eps 0.1."
    )
    yield Figure(caption=caption, panels=panels, key="Dotted: what guessing would give.")
    yield Table(
        caption=(
            f"AUC_acc by {name}: the area under accuracy over eps (eq. 1), not normalised: {attack.eps[-1]:g} would be "
            "perfect."
        ),
        columns=(
            name,
            "defense",
            "speakers",
            "clips",
            "AUC_acc",
            f"{report.settings.confidence:.0%} interval",
            "shrunken",
        ),
        rows=tuple(
            _group_row(defense, result.groups[index])
            for index in range(len(found[0][1].groups))
            for defense, result in found
        ),
        words=frozenset({0, 1}),
    )
    yield Table(
        caption=f"Accuracy at each budget eps by {name}, %.",
        columns=(name, "defense", *(f"{eps:g}" for eps in attack.eps)),
        rows=tuple(
            (group.group, defense_words(defense), *(PER_CENT.value(e.mean) for e in group.accuracy))
            for index in range(len(found[0][1].groups))
            for defense, result in found
            for group in (result.groups[index],)
        ),
        words=frozenset({0, 1}),
    )
    yield Table(
        caption=f"Gaps in AUC_acc by {name}, divided by {attack.eps[-1]:g}, so that they are of mean accuracy.",
        columns=("defense", "all groups", "compared", "interval", "p", "detectable", "verdict"),
        rows=tuple(
            (
                defense_words(defense),
                SCORE.value(gap.value),
                SCORE.value(gap.value_compared),
                SCORE.interval(gap.lower, gap.upper),
                probability(gap.p_value),
                SCORE.value(gap.minimum_detectable_gap),
                verdict_cell(gap.verdict),
            )
            for defense, result in found
            for gap in result.gaps
        ),
        words=frozenset({0, 6}),
    )


def _panel(report: AuditReport, attack: AttackSummary, defense: str, result: AttackedAttribute, name: str) -> Panel:
    lines = [
        Curve(
            name=group.group,
            speakers=group.speakers,
            values=tuple(e.mean for e in group.accuracy),
            is_compared=group.group != UNDECLARED and group.speakers >= report.settings.min_speakers,
        )
        for group in result.groups
    ]
    return curves(
        lines,
        places=attack.eps,
        positions=logarithmic(attack.eps),
        labels=_labels(attack.eps),
        highest=METRIC_WORDS["accuracy"].highest,
        unit=PER_CENT,
        name=name,
        title=defense_words(defense).capitalize(),
        x_axis="attack's budget eps",
        y_axis="correct, %",
        chance=attack.chance,
    )


def _labels(eps: tuple[float, ...]) -> tuple[str, ...]:
    """Those that don't run into the one before, and the last."""
    kept: list[str] = []
    last = 0.0
    for place, level in enumerate(eps):
        is_end = place == len(eps) - 1
        is_clear = level == 0 or last == 0 or (level >= 2.5 * last and level < eps[-1] / 2.0)
        kept.append(f"{level:g}" if is_end or is_clear else "")
        last = level if kept[-1] else last
    return tuple(kept)


def _group_row(defense: str, group: AttackedGroup) -> tuple[str | Cell, ...]:
    area = group.auc_acc
    return (
        group_words(group.group),
        defense_words(defense),
        count(group.speakers),
        count(group.clips),
        SCORE.value(area.mean),
        SCORE.interval(area.lower, area.upper),
        SCORE.value(area.shrunken),
    )
