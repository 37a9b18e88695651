"""Do two bundles differ? Two audits of the same clips, paired by clip and speaker."""

from __future__ import annotations

from monitoring.comparison.compare import AuditOutcomes, NotComparable, compare_audits
from monitoring.comparison.result import Comparison, ComparisonSettings, Difference, GapDifference, GroupDifference

__all__ = [
    "AuditOutcomes",
    "Comparison",
    "ComparisonSettings",
    "Difference",
    "GapDifference",
    "GroupDifference",
    "NotComparable",
    "compare_audits",
]
