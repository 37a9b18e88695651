"""Rules as the YAML that Prometheus reads."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import yaml

from monitoring.rules.rule import Alert, Group, Recording

_HEAD = "# Written by `evenvoice rules write`; docs/alerts.md says what each alert means.\n"


class _Folded(str):
    """Text that is folded over lines; read back it is one line again."""


class _Dumper(yaml.SafeDumper):
    pass


_Dumper.add_representer(_Folded, lambda dumper, text: dumper.represent_scalar("tag:yaml.org,2002:str", text, style=">"))


def as_yaml(groups: Sequence[Group], *, docs: str) -> str:
    """A file of rules.

    Args:
        docs: where `alerts.md` lies, a folder or a URL.
    """
    return _dumped(_content(groups, docs))


def as_prometheus_rule(groups: Sequence[Group], *, docs: str) -> str:
    """The same as the resource that the Prometheus operator for Kubernetes loads.

    Args:
        docs: where `alerts.md` lies, a folder or a URL.
    """
    return _dumped(
        {
            "apiVersion": "monitoring.coreos.com/v1",
            "kind": "PrometheusRule",
            "metadata": {"name": "evenvoice"},
            "spec": _content(groups, docs),
        }
    )


def _content(groups: Sequence[Group], docs: str) -> dict[str, Any]:
    return {
        "groups": [
            {"name": group.name, "interval": group.interval, "rules": [_entry(rule, docs) for rule in group.rules]}
            for group in groups
        ]
    }


def _dumped(content: dict[str, Any]) -> str:
    return _HEAD + yaml.dump(content, Dumper=_Dumper, sort_keys=False, width=110, allow_unicode=True)


def _entry(rule: Recording | Alert, docs: str) -> dict[str, Any]:
    if isinstance(rule, Recording):
        return {"record": rule.name, "expr": _Folded(rule.expression)}
    return {
        "alert": rule.name,
        "expr": _Folded(rule.expression),
        **({} if rule.hold is None else {"for": rule.hold}),
        "labels": {"severity": rule.severity.value},
        "annotations": {
            "summary": _Folded(rule.summary),
            "description": _Folded(rule.description),
            "runbook_url": f"{docs.rstrip('/')}/alerts.md#{rule.name.lower()}",
        },
    }
