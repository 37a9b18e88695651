"""`evenvoice audit export`."""

from __future__ import annotations

from pathlib import Path

import click
from pydantic import ValidationError

from gateway.cli.audit.publishing import export_options, publish
from gateway.cli.options import FILE
from gateway.cli.progress import console
from monitoring.audit import AuditReport


class ReportUnreadable(ValueError):
    """A file that is no audit's report, or one of another evenvoice's."""


@click.command("export")
@click.argument("audit", type=FILE, metavar="AUDIT.json")
@export_options
def command(audit: Path, textfile: Path | None, pushgateway: str | None, corpus: str | None) -> None:
    """Give the figures of AUDIT.json to Prometheus, with the time at which they were measured."""
    if textfile is None and pushgateway is None:
        raise click.UsageError("name --textfile FILE.prom, --pushgateway URL or both")
    report = read_report(audit)
    publish(report, corpus=corpus or report.manifest, textfile=textfile, pushgateway=pushgateway)
    for place in (textfile, pushgateway):
        if place is not None:
            console.print(f"exported the audit of {corpus or report.manifest} to {place}")


def read_report(path: Path) -> AuditReport:
    """
    Raises:
        ReportUnreadable: it is none.
        OSError: it can't be read.
    """
    try:
        return AuditReport.model_validate_json(path.read_bytes())
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise ReportUnreadable(
            f"{path} is no audit.json of this evenvoice: {where + ': ' if where else ''}{first['msg']}; "
            "`evenvoice audit run` writes one"
        ) from None
