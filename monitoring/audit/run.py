"""An audit from its clips to its report."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import nullcontext
from datetime import UTC, datetime
from importlib.metadata import version
from typing import NamedTuple

import pandas as pd
import torch

from monitoring.audit.attacking import answers_always, findings_of
from monitoring.audit.clips import check_attributes, check_no_duplicates, hashes_of, sha256_of
from monitoring.audit.coverage import cautions_of, check_required, coverage_of
from monitoring.audit.curves import ALPHAS
from monitoring.audit.errors import AuditError
from monitoring.audit.folder import AuditFolder, AuditState
from monitoring.audit.judgement import judge
from monitoring.audit.measuring import Load, measured_shards
from monitoring.audit.nodes import Nodes
from monitoring.audit.outcomes import MISSED, Cut, missed_scored
from monitoring.audit.plan import AuditPlan
from monitoring.audit.policy import Policy, check_measured
from monitoring.audit.result import (
    AttackSettings,
    AttackSummary,
    AuditReport,
    DefenseResult,
    HealthFinding,
    Runtime,
    Subsample,
)
from monitoring.audit.results import results_of
from monitoring.audit.shards import Measured
from monitoring.measured import AuditSettings, Unheard, check_clips
from recognizer.decision import UNKNOWN
from recognizer.defense import DefenseName
from recognizer.manifest import Manifest, ManifestError
from recognizer.progress import OnProgress, silent
from recognizer.recognizer import Recognizer

SHARD_CLIPS = 128
"""Clips of a shard, by default."""


class _Outcomes(NamedTuple):
    """All shards together."""

    outcomes: pd.DataFrame
    unheard: tuple[Unheard, ...]
    attacked: pd.DataFrame | None
    findings: dict[str, tuple[HealthFinding, ...]]
    """Defense -> the costly checks'"""


def run_audit(
    recognizer: Recognizer,
    manifest: Manifest,
    *,
    source: str,
    settings: AuditSettings | None = None,
    defenses: Sequence[str] | None = None,
    attack: AttackSettings | None = None,
    policy: Policy | None = None,
    policy_file: str | None = None,
    folder: AuditFolder | None = None,
    fresh: bool = False,
    shard_clips: int = SHARD_CLIPS,
    workers: int = 1,
    load: Load | None = None,
    nodes: Nodes | None = None,
    cut: Cut | None = None,
    device: str = "cpu",
    on_progress: OnProgress = silent,
) -> tuple[AuditReport, pd.DataFrame]:
    """Decide every clip with every defense, attack some of them, compare the groups, and judge what was found.

    Args:
        source: the manifest's name, for the report.
        settings: by default those of the policy.
        defenses: names of those to audit; all that the recogniser has by default.
        attack: by default nothing is attacked.
        policy: by default the settings', with `Policy`'s own gates.
        policy_file: its name, for the report.
        folder: where shards are kept, and the report, the outcomes and the attacked outcomes written; by default
            nothing is.
        fresh: take finished shards away first.
        workers: processes.
        load: the recogniser again, for each of several workers.
        nodes: of a cluster, to measure on in the place of `workers`; the recogniser here may be on the CPU then.
        cut: see `monitoring.audit.outcomes`.
        device: that the recogniser computes on; shards of another kind of device are not gone on with.

    Returns:
        The report, and the outcomes as `decide_all` gives them, by defense within a shard, in the order of the clips'
        names.

    Raises:
        ManifestError: a command that the recogniser does not know, a speaker in two groups of one attribute, one
            recording twice, an attribute that the policy asks for and that nobody has, no clip of a command, or none
            that can be heard.
        UnknownDefense: the recogniser has no such defense.
        PolicyError: the policy names what is not measured.
        AuditError: the folder holds an unfinished audit of something else, or another run is at work in it; the
            recogniser gives NaN; nothing that was to be attacked can be heard, and the policy asks for it. Finished
            shards stay.
        ClusterError: the cluster can't go on. Finished shards stay.
    """
    started = time.perf_counter()
    policy = policy or _policy_of(settings)
    settings = settings or settings_of(policy)
    attack = attack or AttackSettings()
    if policy.attacked and not attack.clips:
        raise AuditError("the policy asks for attacks, and no clip is to be attacked; give --attacked-clips N")
    check_attributes(manifest)
    check_clips(manifest, recognizer)
    check_required(manifest, policy)
    chosen = tuple(dict.fromkeys(recognizer.defense(d).name for d in defenses or recognizer.defenses))
    check_measured(policy, chosen, default_defense=recognizer.default_defense, is_attacked=attack.clips > 0)
    plan = AuditPlan.of(
        manifest,
        defenses=chosen,
        version=recognizer.version,
        seed=settings.seed,
        attack=attack,
        shard_clips=shard_clips,
        cut=cut,
    )
    hashes = hashes_of(plan.manifest, on_progress=on_progress)
    check_no_duplicates(plan.manifest, hashes)
    fingerprint = manifest.fingerprint()
    with folder.locked() if folder else nullcontext():
        if folder:
            folder.begin(_state(plan, fingerprint, device), fresh=fresh)
        there = sum(folder.has(shard) for shard in plan.shards) if folder else 0
        at_once = workers if nodes is None else nodes.cluster.workers
        measured = measured_shards(
            plan,
            recognizer,
            folder,
            workers=workers,
            load=load,
            nodes=nodes,
            hashes=hashes,
            on_progress=on_progress,
        )
        joined = _joined(plan, measured)
        if policy.attacked and joined.attacked is None:
            raise AuditError("the policy asks for attacks, and none of the clips to attack can be heard")
        report = AuditReport(
            created_at=datetime.now(UTC).replace(microsecond=0),
            evenvoice_version=version("evenvoice"),
            bundle_name=recognizer.name,
            bundle_version=recognizer.version,
            default_defense=recognizer.default_defense,
            baseline=DefenseName.NONE.value if DefenseName.NONE in chosen else None,
            manifest=source,
            fingerprint=fingerprint,
            clips_sha256=sha256_of(sorted(hashes)),
            clips=len(manifest.table),
            speakers=int(manifest.table["speaker"].nunique()),
            settings=settings,
            alphas=ALPHAS,
            defenses=(results := _results(plan, recognizer, joined, settings, on_progress)),
            unheard=joined.unheard,
            coverage=(coverage := coverage_of(plan.manifest, {u.clip for u in joined.unheard}, _missed(plan, joined))),
            cautions=cautions_of(coverage, manifest.attributes),
            attack=_attack_summary(plan, joined, recognizer),
            judgement=judge(results, policy, default_defense=recognizer.default_defense, policy_file=policy_file),
            runtime=Runtime(
                seconds=round(time.perf_counter() - started, 3),
                workers=at_once,
                shards=len(plan.shards),
                shards_found=there,
            ),
        )
        if folder:
            folder.finish(report, joined.outcomes, joined.attacked)
    return report, joined.outcomes


def settings_of(policy: Policy, *, seed: int = 0) -> AuditSettings:
    """The settings of an audit that is held to a policy."""
    return AuditSettings(
        seed=seed,
        tolerance=policy.tolerance,
        tolerances={str(metric): value for metric, value in policy.tolerances.items()},
        min_speakers=policy.min_speakers,
    )


def _policy_of(settings: AuditSettings | None) -> Policy:
    if settings is None:
        return Policy()
    return Policy.model_validate(settings.model_dump(include={"tolerance", "tolerances", "min_speakers"}))


def _state(plan: AuditPlan, fingerprint: str, device: str) -> AuditState:
    return AuditState(
        manifest=sha256_of([fingerprint, *plan.manifest.attributes, *plan.clips]),
        bundle=plan.version,
        defenses=plan.defenses,
        seed=plan.seed,
        attack=plan.attack,
        shard_clips=plan.shard_clips,
        front_end=None if plan.cut is None else getattr(plan.cut, "__qualname__", type(plan.cut).__qualname__),
        evenvoice=version("evenvoice"),
        torch=torch.__version__,
        device=device.partition(":")[0],
    )


def _joined(plan: AuditPlan, measured: dict[str, Measured]) -> _Outcomes:
    """
    Raises:
        ManifestError: nothing can be heard, or nothing of a command.
    """
    clean = [measured[shard.name] for shard in plan.clean_shards]
    unheard = tuple(u for m in clean for u in m.unheard)
    if len(unheard) == len(plan.manifest.table):
        raise ManifestError(f"none of the {len(unheard)} clips can be heard; the first: {unheard[0].why}")
    outcomes = missed_scored(pd.concat([m.table for m in clean if len(m.table)], ignore_index=True))
    if (outcomes["command"] == UNKNOWN).all():
        raise ManifestError("the manifest holds no clip of a command that can be heard; false rejections need some")
    attacked = [measured[shard.name] for shard in plan.attack_shards]
    tables = [m.table for m in attacked if len(m.table)]
    findings: dict[str, tuple[HealthFinding, ...]] = {}
    for shard, m in zip(plan.attack_shards, attacked, strict=True):
        findings[shard.of] = (*findings.get(shard.of, ()), *m.findings)
    return _Outcomes(outcomes, unheard, pd.concat(tables, ignore_index=True) if tables else None, findings)


def _missed(plan: AuditPlan, joined: _Outcomes) -> set[str] | None:
    """Clips in which the front end heard no utterance; None without one."""
    if plan.cut is None:
        return None
    return set(joined.outcomes.loc[joined.outcomes["reason"] == MISSED, "clip"])


def _results(
    plan: AuditPlan, recognizer: Recognizer, joined: _Outcomes, settings: AuditSettings, on_progress: OnProgress
) -> tuple[DefenseResult, ...]:
    found: dict[str, tuple[HealthFinding, ...]] = {}
    if joined.attacked is not None:
        for defense in plan.defenses:
            cheap = findings_of(
                joined.attacked[joined.attacked["defense"] == defense],
                recognizer.labels,
                answers_always=answers_always(recognizer.defense(defense), recognizer.labels),
            )
            found[defense] = (*cheap, *joined.findings.get(defense, ()))
    return results_of(
        joined.outcomes,
        joined.attacked,
        defenses=plan.defenses,
        attributes=plan.manifest.attributes,
        settings=settings,
        findings=found,
        on_progress=on_progress,
    )


def _attack_summary(plan: AuditPlan, joined: _Outcomes, recognizer: Recognizer) -> AttackSummary | None:
    if joined.attacked is None:
        return None
    of_commands = plan.manifest.table[plan.manifest.table["command"] != UNKNOWN]
    return AttackSummary(
        settings=plan.attack,
        subsample=Subsample(
            clips=int(joined.attacked["clip"].nunique()),
            speakers=int(joined.attacked["speaker"].nunique()),
            of_clips=len(of_commands),
            of_speakers=int(of_commands["speaker"].nunique()),
        ),
        eps=(0.0, *plan.attack.eps_grid),
        chance=1 / len(recognizer.commands),
    )
