"""`evenvoice audit card`."""

from __future__ import annotations

from pathlib import Path

import click

from gateway.cli.options import BUNDLE, FILE
from gateway.cli.progress import console
from monitoring.report.card import card_document
from monitoring.report.load import load_report
from monitoring.report.render import to_html, to_markdown
from recognizer.bundle import read_manifest, version_of

_WRITERS = {".md": to_markdown, ".html": to_html}


@click.command("card")
@click.argument("bundle", type=BUNDLE, metavar="BUNDLE")
@click.argument("audit", type=FILE, metavar="AUDIT.json")
@click.option("--out", type=FILE, required=True, help="A file that ends in .md or .html.")
def command(bundle: Path, audit: Path, out: Path) -> None:
    """Write BUNDLE's model card from its manifest and its audit, AUDIT.json."""
    if out.suffix not in _WRITERS:
        raise click.BadParameter(f"{out.name} ends in {out.suffix!r}; .md and .html are accepted", param_hint="--out")
    card = card_document(read_manifest(bundle), version_of(bundle), load_report(audit))
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(_WRITERS[out.suffix](card), encoding="utf-8")
    console.print(f"wrote {out}")
