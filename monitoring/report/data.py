"""Who and what was measured: every group of the manifest, the clips that could not be heard, other sounds, hashes."""

from __future__ import annotations

from collections.abc import Iterator

from monitoring.audit import AuditReport, Coverage
from monitoring.report.blocks import Block, Facts, Paragraph, Points, Section, Table
from monitoring.report.numbers import NOTHING, PER_CENT, count, counted, listed, moment
from monitoring.report.words import METRIC_WORDS, defense_words, group_words

_MOST_UNHEARD = 20


def coverage_section(report: AuditReport) -> Section:
    """What the manifest has, before any defense."""
    blocks: list[Block] = []
    if report.cautions:
        blocks.append(Points(report.cautions))
    blocks.append(_coverage_table(report))
    if report.unheard:
        shown = tuple(f"{u.clip}: {u.why}" for u in report.unheard[:_MOST_UNHEARD])
        rest = len(report.unheard) - len(shown)
        blocks.append(Paragraph(f"{counted(len(report.unheard), 'clip')} could not be heard, and are in no figure:"))
        blocks.append(Points((*shown, f"and {counted(rest, 'other')}, in audit.json") if rest else shown))
    else:
        blocks.append(Paragraph("Every clip could be heard."))
    return Section("Who was heard", "coverage", tuple(blocks))


def sounds_section(report: AuditReport) -> Section | None:
    """Clips of no command that were accepted; None where the manifest has none."""
    blocks: list[Block] = []
    overall = [(r.defense, r.overall.not_commands) for r in report.defenses if r.overall.not_commands is not None]
    if not overall:
        return None
    words = (
        "A robot must not act on other words, babble or noise. These clips count in no other figure; what each group "
        "of speakers met stands with the groups."
    )
    blocks.append(Paragraph(words))
    blocks.append(
        Table(
            caption="Clips that are no command, and were taken for one.",
            columns=("defense", "clips", "accepted", "%"),
            rows=tuple(
                (defense_words(d), count(f.clips), count(f.accepted), PER_CENT.value(f.accepted / f.clips))
                for d, f in overall
            ),
        )
    )
    sounds = dict.fromkeys(sound for result in report.defenses for sound in result.sounds)
    if sounds:
        rows = tuple(
            (sound, defense_words(r.defense), count(f.clips), count(f.accepted), PER_CENT.value(f.accepted / f.clips))
            for sound in sounds
            for r in report.defenses
            if (f := r.sounds.get(sound)) is not None
        )
        columns = ("what it is", "defense", "clips", "accepted", "%")
        caption = "The same by what they are."
        blocks.append(Table(caption=caption, columns=columns, rows=rows, words=frozenset({0, 1})))
    return Section("Sounds that are no command", "sounds", tuple(blocks))


def provenance_section(report: AuditReport) -> Section:
    """Everything that is needed to make this audit again, and to know that it is the same."""
    settings = report.settings
    hashes = Facts(
        (
            ("Bundle" if not report.bundles else "Bundles, together", report.bundle_version),
            *((f"Bundle {i}, {counted(b.speakers, 'speaker')}", b.version) for i, b in enumerate(report.bundles, 1)),
            ("Manifest and clips", report.fingerprint),
            ("Clips alone", report.clips_sha256),
        ),
        are_codes=True,
    )
    facts = Facts(
        (
            ("Bundle's name", report.bundle_name),
            ("Manifest", report.manifest),
            ("evenvoice", report.evenvoice_version),
            ("Made at", moment(report.created_at)),
            ("Defenses", listed([_named(report, r.defense) for r in report.defenses])),
            ("Seed", str(settings.seed)),
            ("Confidence", f"{settings.confidence:.0%}"),
            ("Bootstrap replicates", count(settings.replicates)),
            ("Fewest speakers compared", str(settings.min_speakers)),
            ("Tolerance", _tolerances(report)),
            ("Run", _runtime(report)),
        )
    )
    return Section("What was measured with what", "provenance", (facts, hashes), (Section(*_policy(report)),))


def _policy(report: AuditReport) -> tuple[str, str, tuple[Block, ...]]:
    judgement = report.judgement
    policy = judgement.policy
    gates = [f"{g.metric} by {g.attribute} of {g.defense}" for g in policy.gates]
    accuracy = [f"{d}: {PER_CENT.value(least)} %" for d, least in policy.minimum_accuracy.items()]
    file = judgement.policy_file or "none given: the default one"
    facts = Facts(
        (
            ("File", file),
            ("Gaps that count", "; ".join(gates) or "none"),
            ("Least accuracy", "; ".join(accuracy) or "none asked for"),
            ("Required attributes", ", ".join(policy.required_attributes) or "none"),
            ("Must be attacked", "yes" if policy.attacked else "no"),
            ("Inconclusive counts as", policy.inconclusive),
            ("Too few speakers count as", policy.insufficient),
            ("Outcome", f"{judgement.outcome}, exit code {judgement.exit_code}"),
        )
    )
    return "Policy", "policy", (facts,)


def _coverage_table(report: AuditReport) -> Table:
    has_front_end = any(c.missed is not None for c in report.coverage)
    missed = ("missed", "missed, %") if has_front_end else ()
    note = " Missed: commands in which the front end heard no utterance." if has_front_end else ""
    return Table(
        caption=f"Every group of the manifest, whether or not it was compared.{note}",
        columns=("attribute", "group", "speakers", "clips", "unheard", "unheard, %", "commands heard", *missed),
        rows=tuple(
            (
                c.attribute,
                group_words(c.group),
                count(c.speakers),
                count(c.clips),
                count(c.unheard),
                PER_CENT.value(c.unheard / c.clips if c.clips else None),
                count(c.commands),
                *(_missed(c) if has_front_end else ()),
            )
            for c in report.coverage
        ),
        words=frozenset({0, 1}),
    )


def _missed(c: Coverage) -> tuple[str, str]:
    if c.missed is None:
        return NOTHING, NOTHING
    return count(c.missed), PER_CENT.value(c.missed / c.commands if c.commands else None)


def _named(report: AuditReport, defense: str) -> str:
    roles = []
    if defense == report.default_defense:
        roles.append("the bundle's default")
    if defense == report.baseline:
        roles.append("what others are compared with")
    return defense_words(defense) + (f" ({listed(roles)})" if roles else "")


def _tolerances(report: AuditReport) -> str:
    settings = report.settings
    own = [f"{METRIC_WORDS[m].name} {t:g}" for m, t in settings.tolerances.items()]
    return f"{settings.tolerance:g}" + (f"; {', '.join(own)}" if own else "")


def _runtime(report: AuditReport) -> str:
    run = report.runtime
    earlier = f", {run.shards_found} of them found finished" if run.shards_found else ""
    workers = counted(run.workers, "worker")
    return f"{run.seconds:,.1f} s, {workers}, {counted(run.shards, 'shard')}{earlier}"


def key_facts(report: AuditReport) -> Iterator[tuple[str, str]]:
    """What a reader asks first."""
    yield "Speakers", count(report.speakers)
    yield "Clips", count(report.clips)
    if report.bundles:
        yield "Pooled from", counted(len(report.bundles), "audit")
    yield "Could not be heard", count(len(report.unheard))
    yield "Speakers needed", f"{report.settings.min_speakers} a group"
    yield "Tolerance", _tolerances(report)
    yield "Attacked", "no" if report.attack is None else counted(report.attack.subsample.clips, "clip")
    yield "Exit code", str(report.judgement.exit_code)
