"""`evenvoice audit export`."""

from __future__ import annotations

from pathlib import Path

import click

from gateway.cli.audit.publishing import export_options, publish
from gateway.cli.options import FILE
from gateway.cli.progress import console
from monitoring.report.load import load_report


@click.command("export")
@click.argument("audit", type=FILE, metavar="AUDIT.json")
@export_options
def command(audit: Path, textfile: Path | None, pushgateway: str | None, corpus: str | None) -> None:
    """Give the figures of AUDIT.json to Prometheus, with the time at which they were measured."""
    if textfile is None and pushgateway is None:
        raise click.UsageError("name --textfile FILE.prom, --pushgateway URL or both")
    report = load_report(audit)
    publish(report, corpus=corpus or report.manifest, textfile=textfile, pushgateway=pushgateway)
    for place in (textfile, pushgateway):
        if place is not None:
            console.print(f"exported the audit of {corpus or report.manifest} to {place}")
