"""A model card: what a bundle is for, what it was trained on, and how it treats whom.

Source: Mitchell et al. 2019, "Model cards for model reporting"; its nine sections in their order.
"""

from __future__ import annotations

from collections.abc import Iterator

from monitoring.audit import AuditReport
from monitoring.report.answer import answer, gate_table, question
from monitoring.report.blocks import Block, Document, Facts, Notice, Paragraph, Points, Section, Table
from monitoring.report.group_tables import overall_table
from monitoring.report.intersections import intersection_section
from monitoring.report.limits import NOT_A_SAFETY_FUNCTION, limits
from monitoring.report.measures import attributes_of, by_defense, estimate_of, measures
from monitoring.report.numbers import NOTHING, PER_CENT, count, counted, listed, moment
from monitoring.report.words import METRIC_WORDS, defense_words, group_words
from recognizer.bundle import BundleManifest


class CardMismatch(ValueError):
    """A bundle and an audit of another one; the message names both."""


def card_document(manifest: BundleManifest, version: str, report: AuditReport) -> Document:
    """The card of a bundle by its audit.

    Args:
        manifest: the bundle's.
        version: the bundle's, see `recognizer.bundle.version_of`.

    Raises:
        CardMismatch: the audit is of another bundle.
    """
    if version != report.bundle_version:
        raise CardMismatch(
            f"the bundle {manifest.name} is {version}, and the audit is of {report.bundle_name}, "
            f"{report.bundle_version}: audit this bundle, or give the one that was audited"
        )
    found = answer(report)
    return Document(
        kind="Model card",
        title=manifest.name,
        lead=(
            Notice("note", "Not a safety function.", NOT_A_SAFETY_FUNCTION),
            Notice(found.kind, question(report), f"{found.head} {found.reason}"),
        ),
        sections=(
            Section("Model details", "details", tuple(_details(manifest, version))),
            Section("Intended use", "use", tuple(_use(manifest))),
            Section("Factors", "factors", tuple(_factors(manifest, report))),
            Section("Metrics", "metrics", tuple(_metrics(report))),
            Section("Evaluation data", "evaluation-data", tuple(_evaluation(report))),
            Section("Training data", "training-data", tuple(_training(manifest))),
            Section("Quantitative analyses", "analyses", tuple(_analyses(report)), tuple(_crossed(report))),
            Section("Ethical considerations", "ethics", (_ETHICS,)),
            Section("Caveats and recommendations", "caveats", (Points(tuple(limits(report))), _ADVICE)),
        ),
        foot=f"Written by evenvoice {report.evenvoice_version} from the bundle's manifest and its audit.json.",
    )


_ETHICS = Points(
    (
        "A rejected command is work for the person who spoke it: saying it again, or not being able to use the machine "
        "at all. Who bears that work is what the audit measures.",
        "Voices are personal data, and accent, gender and age may be read from them. The model outputs a command and "
        "never who spoke or of which group they are.",
        "A defense that protects some groups and turns away others moves the cost of security on to them; compare with "
        "no defense before choosing one.",
    )
)
_ADVICE = Paragraph(
    "Audit again after every change of the model, its thresholds, the microphones or the people who speak to it; "
    "watch live rejections per group between audits; and ask those who are turned away most."
)


def _details(manifest: BundleManifest, version: str) -> Iterator[Block]:
    networks = (
        f"{name}: M5 of width {net.architecture.width}"
        + (f", noise augmentation of sigma {net.noise_sigma:g}" if net.noise_sigma else "")
        for name, net in manifest.networks.items()
    )
    audio = manifest.audio
    yield Facts(
        (
            ("Name", manifest.name),
            ("Made at", moment(manifest.created_at)),
            ("By", f"evenvoice {manifest.evenvoice_version}"),
            ("Kind", "recogniser of single spoken commands, which accepts or abstains"),
            ("Input", f"mono audio at {audio.sample_rate} Hz, {audio.window_seconds:g} s of it"),
            ("Networks", "; ".join(networks)),
            ("Defenses", listed([defense_words(name) for name in manifest.defenses.allowed])),
            ("Default", defense_words(manifest.defenses.default)),
        )
    )
    if settings := tuple(_settings(manifest)):
        yield Points(settings)
    yield Facts((("Version", version),), are_codes=True)


def _settings(manifest: BundleManifest) -> Iterator[str]:
    if (nr := manifest.defenses.neural_rejection) is not None:
        yield f"Neural rejection abstains when its best {nr.score.value} is below {nr.confidence_threshold:g}"
    if (rs := manifest.defenses.smoothing) is not None:
        yield (
            f"Randomized smoothing abstains when p is above {rs.error_alpha:g}, with {rs.draws} noisy copies at most "
            f"({rs.test.value} test) of sigma {rs.sigma:g}"
        )


def _use(manifest: BundleManifest) -> Iterator[Block]:
    words = ", ".join(label for label in manifest.labels if label != "unknown")
    yield Paragraph(f"Commands that it knows: {words}.")
    yield Points(
        (
            "For: giving a robot or a device one of these commands by voice, where doing nothing is always safe.",
            "By: integrators who hold on every abstention, and who measure whom it turns away.",
            "Not for: stopping a machine in an emergency, telling who speaks, transcribing speech, other commands.",
        )
    )
    if "unknown" not in manifest.labels:
        yield Notice(
            "inconclusive",
            "It has no class of other sounds.",
            "It was trained on commands only, so that other words and noise may be taken for one of them.",
        )


def _factors(manifest: BundleManifest, report: AuditReport) -> Iterator[Block]:
    yield Points(tuple(f"{a}: {', '.join(groups)}" for a, groups in manifest.vocabulary.items()))
    audited = ", ".join(attributes_of(report)) or "none"
    yield Paragraph(
        f"Audited: {audited}. Not measured, and likely to matter: microphone, distance, room and noise, speech that is "
        "impaired or hurried, and languages that the corpus has not."
    )


def _metrics(report: AuditReport) -> Iterator[Block]:
    yield Points(tuple(f"{m.words}: {METRIC_WORDS[m.metric].meaning}" for m in measures(report)))
    yield Paragraph(
        f"Intervals are {report.settings.confidence:.0%} over speakers, not clips. A gap is the largest figure less "
        f"the smallest, over groups with at least {report.settings.min_speakers} speakers; it is acceptable up to "
        f"{report.settings.tolerance:g} unless the policy says otherwise."
    )


def _evaluation(report: AuditReport) -> Iterator[Block]:
    yield Paragraph(
        f"{report.manifest}: {counted(report.clips, 'clip')} of {counted(report.speakers, 'speaker')}, of which "
        f"{counted(len(report.unheard), 'clip')} could not be heard. Audited at {moment(report.created_at)}."
    )
    yield Facts((("Manifest and clips", report.fingerprint), ("Clips alone", report.clips_sha256)), are_codes=True)


def _training(manifest: BundleManifest) -> Iterator[Block]:
    splits = tuple((s, count(n), count(manifest.data.speakers.get(s, 0))) for s, n in manifest.data.clips.items())
    yield Table("What it was trained, tuned and first tested on.", ("split", "clips", "speakers"), splits)
    yield Facts((("Data", manifest.data.fingerprint),), are_codes=True)


def _analyses(report: AuditReport) -> Iterator[Block]:
    yield overall_table(report)
    found = measures(report)
    for attribute in attributes_of(report):
        rows = []
        for defense, result in by_defense(report, attribute):
            for group in result.groups:
                values = [(m, estimate_of(group, m)) for m in found]
                cells = (
                    NOTHING if e is None else METRIC_WORDS[m.metric].unit.estimate(e.mean, e.lower, e.upper)
                    for m, e in values
                )
                rows.append((group_words(group.group), defense_words(defense), count(group.speakers), *cells))
        yield Table(
            caption=f"By {attribute}.",
            columns=(
                attribute,
                "defense",
                "speakers",
                *(METRIC_WORDS[m.metric].unit.named(m.words) for m in found),
            ),
            rows=tuple(rows),
            words=frozenset({0, 1}),
        )
    if report.judgement.gates:
        yield gate_table(report)
    others = [(r.defense, r.overall.not_commands) for r in report.defenses if r.overall.not_commands is not None]
    if others:
        rows = [
            (defense_words(d), count(f.clips), count(f.accepted), PER_CENT.value(f.accepted / f.clips))
            for d, f in others
        ]
        caption = "Clips that are no command, and were taken for one."
        yield Table(caption=caption, columns=("defense", "clips", "accepted", "%"), rows=tuple(rows))


def _crossed(report: AuditReport) -> Iterator[Section]:
    section = intersection_section(report)
    if section is not None:
        yield section
