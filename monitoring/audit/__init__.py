"""An audit: every defense of a recogniser over a labelled manifest, clean and attacked, and whom each turns away.

Clips of commands carry accuracy, rejection and AUC_FPR; clips of `unknown` (no command) carry false acceptance. Clips
that could not be heard are counted as bad input and say nothing of a defense. Of a combined defense AUC_FPR is each
part's own, of all clips: load the bundle in exact mode, which asks every part.
"""

from monitoring.audit.errors import AuditError, AuditUnderWay
from monitoring.audit.folder import AuditFolder
from monitoring.audit.judgement import ERROR
from monitoring.audit.outcomes import Cut, Listened, Recording, decide_all
from monitoring.audit.policy import Gate, Policy, PolicyError, load_policy
from monitoring.audit.pooling import FinishedAudit, Pooled, pool_audits
from monitoring.audit.result import (
    METRICS,
    AttackedAttribute,
    AttackedGroup,
    AttackedResult,
    AttackSettings,
    AttackSummary,
    AttributeResult,
    AuditedBundle,
    AuditReport,
    Cell,
    Coverage,
    DefenseResult,
    DeltaResult,
    Estimate,
    FalseAcceptance,
    GapResult,
    GateResult,
    GroupDelta,
    GroupResult,
    HealthFinding,
    HolmP,
    IntersectionResult,
    Judgement,
    Metric,
    PartScore,
    RejectionCurve,
    Runtime,
    Spread,
    Subsample,
)
from monitoring.audit.run import run_audit, settings_of

__all__ = [
    "ERROR",
    "METRICS",
    "AttackSettings",
    "AttackSummary",
    "AttackedAttribute",
    "AttackedGroup",
    "AttackedResult",
    "AttributeResult",
    "AuditError",
    "AuditFolder",
    "AuditReport",
    "AuditUnderWay",
    "AuditedBundle",
    "Cell",
    "Coverage",
    "Cut",
    "DefenseResult",
    "DeltaResult",
    "Estimate",
    "FalseAcceptance",
    "FinishedAudit",
    "GapResult",
    "Gate",
    "GateResult",
    "GroupDelta",
    "GroupResult",
    "HealthFinding",
    "HolmP",
    "IntersectionResult",
    "Judgement",
    "Listened",
    "Metric",
    "PartScore",
    "Policy",
    "PolicyError",
    "Pooled",
    "Recording",
    "RejectionCurve",
    "Runtime",
    "Spread",
    "Subsample",
    "decide_all",
    "load_policy",
    "pool_audits",
    "run_audit",
    "settings_of",
]
