"""Several audits of disjoint speakers as one: out of fold, each speaker is heard by a bundle that never learned from
that voice, and all of a small corpus can be compared.

Nothing is decided again: the outcomes of all audits together go through the figures of any audit.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import NamedTuple

import pandas as pd

from monitoring.audit.clips import sha256_of
from monitoring.audit.coverage import cautions_of
from monitoring.audit.errors import AuditError
from monitoring.audit.judgement import judge
from monitoring.audit.outcomes import missed_scored
from monitoring.audit.result import (
    AttackSummary,
    AuditedBundle,
    AuditReport,
    Coverage,
    HealthFinding,
    Runtime,
    Subsample,
)
from monitoring.audit.results import results_of
from recognizer.progress import OnProgress, silent

_SHOWN = 5  # speakers or clips that an error names
_LONG = 60  # characters of a value that an error does not show
_VERSION = 19  # characters of a version that tell bundles apart: sha256: and twelve digits


@dataclass(frozen=True, eq=False)
class FinishedAudit:
    """An audit as its folder holds it."""

    name: str
    """For errors."""
    report: AuditReport
    outcomes: pd.DataFrame
    """See `monitoring.audit.outcomes`."""
    attacked: pd.DataFrame | None
    """See `monitoring.audit.attacking`; None where nothing was attacked."""


class Pooled(NamedTuple):
    """Several audits as one."""

    report: AuditReport
    outcomes: pd.DataFrame
    attacked: pd.DataFrame | None


def pool_audits(audits: Sequence[FinishedAudit], *, on_progress: OnProgress = silent) -> Pooled:
    """Pool audits that were made alike, of speakers of whom none is in two of them.

    The figures are those of one audit of all clips, in which every clip went to the bundle of its own audit. The checks
    of an attack's health are those of each audit, of its own network.

    Raises:
        AuditError: fewer than two audits, one that is pooled itself or whose files are of different runs, audits that
            were not made alike, or a speaker or clip in two of them.
    """
    if len(audits) < 2:
        raise AuditError(f"{len(audits)} audit can't be pooled; two or more are accepted")
    for audit in audits:
        _check_whole(audit)
    for audit in audits[1:]:
        _check_alike(audits[0], audit)
    for one, other in combinations(audits, 2):
        _check_disjoint(one, other)
    reports = [audit.report for audit in audits]
    first = reports[0]
    outcomes = missed_scored(_in_order(audit.outcomes for audit in audits))
    tables = [audit.attacked for audit in audits if audit.attacked is not None]
    attacked = _in_order(tables) if tables else None
    attributes = _attributes(first)
    coverage = tuple(_coverage(reports, attributes))
    results = results_of(
        outcomes,
        attacked,
        defenses=[result.defense for result in first.defenses],
        attributes=attributes,
        settings=first.settings,
        findings=_findings(reports),
        on_progress=on_progress,
    )
    policy_files = dict.fromkeys(r.judgement.policy_file for r in reports if r.judgement.policy_file is not None)
    report = first.model_copy(
        update={
            "created_at": max(r.created_at for r in reports),
            "bundle_name": ", ".join(dict.fromkeys(r.bundle_name for r in reports)),
            "bundle_version": _one_or_hash([r.bundle_version for r in reports]),
            "bundles": tuple(_audited(r) for r in reports),
            "manifest": ", ".join(dict.fromkeys(r.manifest for r in reports)),
            "fingerprint": sha256_of(sorted(r.fingerprint for r in reports)),
            "clips_sha256": sha256_of(sorted(r.clips_sha256 for r in reports)),
            "clips": sum(r.clips for r in reports),
            "speakers": sum(r.speakers for r in reports),
            "defenses": results,
            "unheard": tuple(sorted((u for r in reports for u in r.unheard), key=lambda u: u.clip)),
            "coverage": coverage,
            "cautions": (_caution(reports), *cautions_of(coverage, attributes)),
            "attack": _attack(reports),
            "judgement": judge(
                results,
                first.judgement.policy,
                default_defense=first.default_defense,
                policy_file=", ".join(policy_files) or None,
            ),
            "runtime": Runtime(
                seconds=round(sum(r.runtime.seconds for r in reports), 3),
                workers=max(r.runtime.workers for r in reports),
                shards=sum(r.runtime.shards for r in reports),
                shards_found=sum(r.runtime.shards_found for r in reports),
            ),
        }
    )
    return Pooled(report, outcomes, attacked)


def _check_whole(audit: FinishedAudit) -> None:
    report = audit.report
    if report.bundles:
        raise AuditError(f"{audit.name} is a pooled audit itself; give those that it was made of")
    heard = audit.outcomes["clip"].nunique()
    if heard + len(report.unheard) != report.clips or (audit.attacked is None) != (report.attack is None):
        raise AuditError(
            f"{audit.name}: the report is of {report.clips} clips and the outcomes beside it of {heard}, or one of "
            "them is of attacks and the other is not; they are of different runs: run that audit again"
        )


def _check_alike(one: FinishedAudit, other: FinishedAudit) -> None:
    before, now = _made(one.report), _made(other.report)
    changes = [
        what + (f" ({before[what]} and {now[what]})" if len(f"{before[what]}{now[what]}") < _LONG else "")
        for what in sorted({*before, *now})
        if before.get(what) != now.get(what)
    ]
    if changes:
        raise AuditError(
            f"{one.name} and {other.name} were not made alike and can't be pooled; they differ in "
            f"{'; '.join(changes)}: run them with the same options"
        )


def _made(report: AuditReport) -> dict[str, object]:
    """In words, how an audit was made."""
    attack = report.attack
    return {
        "evenvoice": report.evenvoice_version,
        "the defenses": ", ".join(result.defense for result in report.defenses),
        "the default defense": report.default_defense,
        "the attributes": ", ".join(_attributes(report)),
        "the thresholds of rejection curves": report.alphas,
        "the policy": report.judgement.policy,
        "the attack": None if attack is None else (attack.name, attack.settings, attack.eps),
        "the number of commands": None if attack is None else round(1 / attack.chance),
        "the front end": any(c.missed is not None for c in report.coverage),
        **{f"the setting {name}": value for name, value in report.settings.model_dump().items()},
    }


def _check_disjoint(one: FinishedAudit, other: FinishedAudit) -> None:
    for what, in_both in (
        ("speakers", set(one.outcomes["speaker"]) & set(other.outcomes["speaker"])),
        ("clips", _clips(one) & _clips(other)),
    ):
        if in_both:
            shown = ", ".join(sorted(in_both)[:_SHOWN])
            more = f" and {len(in_both) - _SHOWN} more" if len(in_both) > _SHOWN else ""
            raise AuditError(
                f"{len(in_both)} {what} are in {one.name} and in {other.name} ({shown}{more}); audits are pooled in "
                "which nobody is heard twice"
            )


def _clips(audit: FinishedAudit) -> set[str]:
    return {*audit.outcomes["clip"], *(unheard.clip for unheard in audit.report.unheard)}


def _in_order(tables: Iterator[pd.DataFrame] | Sequence[pd.DataFrame]) -> pd.DataFrame:
    """By the clips' names, as within one audit, so that the order of the audits changes nothing."""
    return pd.concat(list(tables), ignore_index=True).sort_values("clip", kind="stable", ignore_index=True)


def _attributes(report: AuditReport) -> tuple[str, ...]:
    return tuple(attribute.attribute for attribute in report.defenses[0].attributes)


def _coverage(reports: Sequence[AuditReport], attributes: Sequence[str]) -> Iterator[Coverage]:
    parts = [c for report in reports for c in report.coverage]
    for attribute in attributes:
        for group in sorted({c.group for c in parts if c.attribute == attribute}):
            own = [c for c in parts if (c.attribute, c.group) == (attribute, group)]
            missed = [c.missed for c in own if c.missed is not None]
            yield Coverage(
                attribute=attribute,
                group=group,
                speakers=sum(c.speakers for c in own),
                clips=sum(c.clips for c in own),
                unheard=sum(c.unheard for c in own),
                commands=sum(c.commands for c in own),
                missed=sum(missed) if missed else None,
            )


def _findings(reports: Sequence[AuditReport]) -> dict[str, tuple[HealthFinding, ...]]:
    """Defense -> what was found of each bundle, which is named."""
    found: dict[str, tuple[HealthFinding, ...]] = {}
    for report in reports:
        for result in report.defenses:
            own = [
                HealthFinding(pitfall=f.pitfall, detail=f"{report.bundle_version[:_VERSION]}: {f.detail}")
                for f in (result.attacked.findings if result.attacked else ())
            ]
            found[result.defense] = (*found.get(result.defense, ()), *own)
    return found


def _attack(reports: Sequence[AuditReport]) -> AttackSummary | None:
    parts = [report.attack for report in reports if report.attack is not None]
    if not parts:
        return None
    samples = [part.subsample for part in parts]
    settings = parts[0].settings
    return parts[0].model_copy(
        update={
            "settings": settings.model_copy(update={"clips": settings.clips * len(parts)}),
            "subsample": Subsample(
                clips=sum(s.clips for s in samples),
                speakers=sum(s.speakers for s in samples),
                of_clips=sum(s.of_clips for s in samples),
                of_speakers=sum(s.of_speakers for s in samples),
            ),
        }
    )


def _audited(report: AuditReport) -> AuditedBundle:
    return AuditedBundle(
        name=report.bundle_name,
        version=report.bundle_version,
        fingerprint=report.fingerprint,
        clips=report.clips,
        speakers=report.speakers,
        created_at=report.created_at,
    )


def _one_or_hash(versions: Sequence[str]) -> str:
    return versions[0] if len(set(versions)) == 1 else sha256_of(sorted(versions))


def _caution(reports: Sequence[AuditReport]) -> str:
    bundles = len({report.bundle_version for report in reports})
    pooled = f"pooled from {len(reports)} audits of speakers of whom none is in two of them"
    if bundles == 1:
        return f"{pooled}; all of one bundle"
    return (
        f"{pooled}: scores come from {bundles} bundles, taken to be trained alike, each on speakers that it had not "
        "heard; the figures are of that recipe rather than of one bundle, and intervals leave out what speakers who "
        "share a bundle have in common"
    )
