"""The report of an audit: `audit.json`, read by the page, the model card, the exports and comparisons."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from pydantic import Field

from monitoring.audit.policy import Policy
from monitoring.measured import AuditSettings, GapFigures, Measurement, Unheard
from monitoring.parity import Change, Verdict
from recognizer.attacks import EPS_GRID

SCHEMA: Literal["evenvoice.audit/2"] = "evenvoice.audit/2"

Metric = Literal["auc_fpr", "rejection", "accuracy", "auc_acc"]
METRICS: tuple[Metric, ...] = ("auc_fpr", "rejection", "accuracy")
"""Those on clean clips; `auc_acc` is measured under attack, on a subsample."""


class Estimate(Measurement):
    """A mean over clips and its cluster-robust interval; the bounds are null where one speaker gives none."""

    mean: float
    lower: float | None
    upper: float | None
    shrunken: float | None = None
    """For display: the mean drawn towards that of all groups, the more the less is known; null where nothing is drawn
    together, as overall and of `undeclared`."""
    design_effect: float | None = None
    """Variance over that of as many independent clips; null where the clips do not vary."""


class FalseAcceptance(Measurement):
    """Clips of no command that were accepted as one."""

    clips: int = Field(ge=1)
    accepted: int


class PartScore(Measurement):
    """AUC_FPR of one part of a combined defense, by itself."""

    part: str
    auc_fpr: Estimate


class RejectionCurve(Measurement):
    """The share of clips turned away at each of the report's `alphas`, eq. 2's curve; its area is AUC_FPR."""

    part: str | None
    """Of a combined defense, the part that is swept by itself."""
    rejection: tuple[float, ...]
    """[alphas]; rises with alpha for neural rejection, falls for randomized smoothing"""


class GroupResult(Measurement):
    """One group under one defense."""

    group: str
    speakers: int
    clips: int
    accuracy: Estimate
    """Accepted with the right command, of all clips."""
    rejection: Estimate
    """Abstained, of all clips: the false rejections."""
    auc_fpr: Estimate | None
    """Eq. 2; null for a defense that rejects nothing, and for a combined one."""
    parts: tuple[PartScore, ...] = ()
    """Eq. 2 of each part of a combined defense."""
    not_commands: FalseAcceptance | None
    """Over this group's clips of no command, which no other figure counts; null where it has none."""
    curves: tuple[RejectionCurve, ...] = ()
    """Of each AUC_FPR that there is."""


class HolmP(Measurement):
    """Whether one group differs from all others together."""

    group: str
    p_value: float
    """Of the speaker permutation test of this group against the rest, adjusted by Holm for all groups tested."""
    is_named: bool
    """p_value <= 1 - confidence"""
    side: Literal["above", "below"]
    """Of the mean of the rest."""


class Spread(Measurement):
    """Standard deviation between the compared groups, freed of sampling noise (Lum et al. 2022)."""

    sd: float
    """sqrt(max(V_c, 0))"""
    lower: float | None
    upper: float | None


class GapResult(GapFigures):
    """The gap of one metric over the groups of one attribute."""

    metric: Metric
    part: str | None = None
    """Of a combined defense, the part that AUC_FPR is of."""
    tolerance: float
    """The gap that is still acceptable: what `verdict` is against."""
    p_value: float | None = None
    """Of "all compared groups are equal": labels permuted over speakers; null where fewer than two are compared."""
    holm: tuple[HolmP, ...] = ()
    """Of each compared group."""
    spread: Spread | None = None


class GroupDelta(Measurement):
    """What a defense does to one group: its mean less the baseline's, paired by speaker."""

    group: str
    speakers: int
    difference: Estimate


class DeltaResult(Measurement):
    """A defense against the baseline on one metric of one attribute."""

    metric: Metric
    groups: tuple[GroupDelta, ...]
    gap: Estimate | None
    """This defense's gap between the compared groups less the baseline's; null where fewer than two are compared."""
    verdict: Change
    """Of the gap's change, at the metric's tolerance."""


class AttributeResult(Measurement):
    """One attribute under one defense."""

    attribute: str
    groups: tuple[GroupResult, ...]
    gaps: tuple[GapResult, ...]
    deltas: tuple[DeltaResult, ...] = ()
    """Against the report's `baseline`: accuracy and rejection; empty of the baseline itself."""


class Cell(Measurement):
    """One intersection of groups."""

    groups: tuple[str, ...]
    """[attributes] of the intersection"""
    speakers: int
    clips: int
    mean: float
    fitted: float | None
    """By the additive fit: what the groups' own effects add up to; null where a group is undeclared."""
    shrunken: float | None
    """The mean drawn towards `fitted`."""


class IntersectionResult(Measurement):
    """All cells of two or more attributes, for one metric."""

    attributes: tuple[str, ...]
    metric: Metric
    cells: tuple[Cell, ...]


class AttackSettings(Measurement):
    """How an audit attacks."""

    clips: int = Field(default=0, ge=0)
    """At most; 0 = no attack."""
    eps_grid: tuple[float, ...] = Field(default=EPS_GRID, min_length=1)
    """Raw amplitudes above 0, rising."""
    steps: int = Field(default=100, ge=1)
    """Of PGD at each eps, at most."""
    smoothing_steps: int = Field(default=40, ge=1)
    """Likewise where randomized smoothing takes part: each costs `eot_draws` ordinary ones."""
    eot_draws: int = Field(default=16, ge=2)
    """Noisy copies of a clip that each step against randomized smoothing looks at."""
    health_queries: int = Field(default=100, ge=1)
    """A clip of the first lot, of each attack without gradients that checks the health."""


class Subsample(Measurement):
    """The clips that were attacked: round after round one more of every speaker, in an order that the seed draws."""

    clips: int
    speakers: int
    of_clips: int
    """Clips of commands in the manifest."""
    of_speakers: int


class AttackSummary(Measurement):
    """What all attacks of an audit have in common."""

    name: str = "nested PGD, L-infinity; EoT against randomized smoothing, BPDA through purifiers"
    settings: AttackSettings
    subsample: Subsample
    eps: tuple[float, ...]
    """0, the clean clips, and the grid"""
    chance: float
    """Accuracy of guessing among the commands."""


class AttackedGroup(Measurement):
    """One group under attack. A clip is right where the defense itself, with other draws than the attacker's, accepts
    the right command."""

    group: str
    speakers: int
    clips: int
    auc_acc: Estimate
    """Eq. 1, not normalised: at most the largest eps."""
    accuracy: tuple[Estimate, ...]
    """[eps]"""
    rejected: tuple[float, ...]
    """[eps], share of clips turned away; the rest was accepted as a wrong command"""


class AttackedAttribute(Measurement):
    """One attribute under attack."""

    attribute: str
    groups: tuple[AttackedGroup, ...]
    gaps: tuple[GapResult, ...]
    """Of auc_acc, on its own scale divided by the largest eps: so that a tolerance means what it means elsewhere."""


class HealthFinding(Measurement):
    """Why the robust accuracy may mean nothing; see `recognizer.attacks.pitfalls`."""

    pitfall: str
    detail: str


class AttackedResult(Measurement):
    """One defense under attack."""

    overall: AttackedGroup
    attributes: tuple[AttackedAttribute, ...]
    snr_db: tuple[float | None, ...]
    """[eps], median over clips; null at eps 0, and where nothing was changed"""
    findings: tuple[HealthFinding, ...]


class DefenseResult(Measurement):
    """One defense over the whole manifest."""

    defense: str
    """See `recognizer.steps`."""
    overall: GroupResult
    attributes: tuple[AttributeResult, ...]
    sounds: dict[str, FalseAcceptance] = Field(default={})
    """What a clip of no command is (a word, `babble`, ...) -> how many were accepted; where the manifest says it."""
    intersections: tuple[IntersectionResult, ...] = ()
    attacked: AttackedResult | None = None
    """Null where nothing was attacked."""


class Coverage(Measurement):
    """What the manifest has of one group, before any defense."""

    attribute: str
    group: str
    speakers: int
    clips: int
    unheard: int
    """Clips that no decision could be made on."""
    commands: int
    """Heard clips of commands: those that figures are of."""
    missed: int | None = None
    """Of these, recordings in which the front end heard no utterance; null where none was played to."""


class GateResult(Measurement):
    """One figure that the policy looks at."""

    defense: str
    attribute: str | None
    """Null for an accuracy over all speakers."""
    metric: Metric
    part: str | None = None
    limit: float
    """The largest gap, or the least accuracy, that is acceptable."""
    verdict: Verdict | Literal["reached", "missed"]
    """A gap's, at this limit; `reached` or `missed` of an accuracy, `inconclusive` of either."""
    counts_as: Literal["pass", "disparity", "inconclusive"]


class Judgement(Measurement):
    """What the audit comes to under its policy."""

    policy: Policy
    policy_file: str | None
    """Null where none was given and the default one stands in."""
    outcome: Literal["pass", "disparity", "inconclusive"]
    """The worst of the gates; `inconclusive` where there is none."""
    exit_code: Literal[0, 1, 2]
    gates: tuple[GateResult, ...]


class Runtime(Measurement):
    """What the last run of the audit took. The only part, beside `created_at`, that differs when it is made again."""

    seconds: float
    workers: int
    shards: int
    shards_found: int
    """Finished by earlier runs."""


class AuditedBundle(Measurement):
    """One of the audits that a pooled one is made of: a bundle, and what it was audited on."""

    name: str
    version: str
    fingerprint: str
    """Of the manifest, as the report's."""
    clips: int
    speakers: int
    created_at: datetime


class AuditReport(Measurement):
    """What `evenvoice audit run` and `evenvoice audit pool` write.

    A pooled audit is of several bundles: its `bundle_version` (where they differ), `fingerprint` and `clips_sha256`
    are sha256 over those of its parts, its `created_at` is that of the last one, and its `runtime` adds theirs up.
    """

    schema_: Literal["evenvoice.audit/2"] = Field(default=SCHEMA, alias="schema")
    created_at: datetime
    evenvoice_version: str
    bundle_name: str
    bundle_version: str
    """`sha256:...` over every file of the bundle."""
    bundles: tuple[AuditedBundle, ...] = ()
    """Of a pooled audit, each that it is made of; else empty."""
    default_defense: str
    """Of the bundle."""
    baseline: str | None
    """The defense that deltas are against: `none` where it was audited."""
    manifest: str
    """Its name."""
    fingerprint: str
    """`sha256:...` over the clips' rows and bytes."""
    clips_sha256: str
    """`sha256:...` over the sorted sha256 of each clip's bytes alone: the same whatever the labels."""
    clips: int
    speakers: int
    settings: AuditSettings
    alphas: tuple[float, ...]
    """The thresholds of every rejection curve."""
    defenses: tuple[DefenseResult, ...]
    unheard: tuple[Unheard, ...]
    coverage: tuple[Coverage, ...]
    cautions: tuple[str, ...]
    """What to bear in mind, in words: attributes that nobody has, groups without clips, ..."""
    attack: AttackSummary | None
    judgement: Judgement
    runtime: Runtime
