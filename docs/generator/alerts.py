"""Alerts and recorded series, from the rules that Prometheus loads."""

from __future__ import annotations

from docs.generator.markdown import code, fenced, table, whole_page
from monitoring.rules import RuleSettings, rule_groups
from monitoring.rules.rule import Alert, Group, Recording


def page() -> str:
    groups = rule_groups(RuleSettings())
    return whole_page(
        "The alert rules",
        "With the defaults of [`evenvoice rules write`](cli.md#evenvoice-rules-write); "
        "[Alerts](../alerts.md) says of each what it means, what to do, and when it is wrong.",
        *(_group(group) for group in groups),
    )


def _group(group: Group) -> str:
    alerts = [rule for rule in group.rules if isinstance(rule, Alert)]
    recorded = [rule for rule in group.rules if isinstance(rule, Recording)]
    return "\n\n".join(
        part
        for part in (
            f"## {group.name}",
            table(
                ("alert", "severity", "held for", "what it says"),
                (
                    (
                        f"[{alert.name}](../alerts.md#{alert.name.lower()})",
                        alert.severity.value,
                        alert.hold or "at once",
                        code(alert.summary),
                    )
                    for alert in alerts
                ),
            ),
            *(f"### {alert.name}\n\n{fenced(alert.expression)}" for alert in alerts),
            "Recorded series:" if recorded else "",
            *(f"{code(rule.name)}\n\n{fenced(rule.expression)}" for rule in recorded),
        )
        if part
    )
