"""`evenvoice audit`."""

from __future__ import annotations

import click

from gateway.cli.audit.exit_codes import VerdictGroup

_COMMANDS = {
    "card": ("gateway.cli.audit.card", "Write a bundle's model card from its audit."),
    "compare": ("gateway.cli.audit.compare", "Tell whether two bundles differ, audited on one manifest."),
    "export": ("gateway.cli.audit.export", "Give an audit's figures to Prometheus."),
    "plan": ("gateway.cli.audit.plan", "Say how many speakers a group are needed to see a gap."),
    "pool": ("gateway.cli.audit.pool", "Pool audits of disjoint speakers, such as those of folds, into one."),
    "records": ("gateway.cli.audit.records", "Build an audit set from labelled production records."),
    "report": ("gateway.cli.audit.report", "Write an audit as an HTML page to hand over."),
    "run": ("gateway.cli.audit.run", "Run every defense over a labelled manifest."),
}


@click.group("audit", cls=VerdictGroup, modules=_COMMANDS)
def command() -> None:
    """Measure whom a bundle turns away, on a labelled manifest."""
