"""`evenvoice audit report`."""

from __future__ import annotations

from pathlib import Path

import click

from gateway.cli.options import FILE
from gateway.cli.progress import console
from monitoring.report.load import load_report
from monitoring.report.page import audit_document
from monitoring.report.render import to_html


@click.command("report")
@click.argument("audit", type=FILE, metavar="AUDIT.json")
@click.option("--out", type=FILE, help="The page. [default: audit.html beside AUDIT.json]")
def command(audit: Path, out: Path | None) -> None:
    """Write AUDIT.json as an HTML page to hand over, whole in one file."""
    page = to_html(audit_document(load_report(audit)))
    out = out or audit.with_suffix(".html")
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(page, encoding="utf-8")
    console.print(f"wrote {out}")
