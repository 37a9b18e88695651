"""Prometheus' recording and alert rules, from the same constants as the code that measures."""

from __future__ import annotations

from monitoring.rules.audits import audits_group
from monitoring.rules.availability import availability_group
from monitoring.rules.document import as_prometheus_rule, as_yaml
from monitoring.rules.draws import draws_group
from monitoring.rules.evidence import evidence_group
from monitoring.rules.rule import Group
from monitoring.rules.settings import RuleSettings
from monitoring.rules.shares import shares_group

__all__ = ["RuleSettings", "rule_groups", "rules_file"]


def rule_groups(settings: RuleSettings) -> tuple[Group, ...]:
    """Every group of rules, in order."""
    audits = () if settings.audit_days is None else (audits_group(settings, settings.audit_days),)
    return (
        shares_group(settings),
        evidence_group(settings),
        draws_group(settings),
        *audits,
        availability_group(settings),
    )


def rules_file(settings: RuleSettings, *, for_kubernetes: bool = False) -> str:
    """The file that Prometheus loads, YAML; or the Prometheus operator for Kubernetes."""
    written = as_prometheus_rule if for_kubernetes else as_yaml
    return written(rule_groups(settings), docs=settings.docs)
