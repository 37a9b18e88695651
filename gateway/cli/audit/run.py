"""`evenvoice audit run`."""

from __future__ import annotations

from pathlib import Path

import click

from gateway.cli.options import BUNDLE, FILE, FOLDER, Number, names, pairs, usable_device
from gateway.cli.progress import bars, console
from monitoring.audit import AuditReport, run_audit
from monitoring.measured import AuditSettings
from monitoring.report import overview, to_markdown
from recognizer.bundle import load_bundle
from recognizer.manifest import SPLITS, load_manifest

JSON_FILE, PAGE_FILE, OUTCOMES_FILE = "audit.json", "audit.md", "outcomes.parquet"


@click.command("run")
@click.option("--bundle", type=BUNDLE, required=True)
@click.option("--manifest", type=FILE, required=True)
@click.option("--split", multiple=True, type=click.Choice(SPLITS), default=("test",), show_default=True)
@click.option("--out", type=FOLDER, help="Folder for audit.json, audit.md and outcomes.parquet.")
@click.option("--defense", "defenses", multiple=True, help="One that the bundle allows. [default: all of them]")
@click.option("--columns", multiple=True, callback=pairs, help="OURS=THEIRS, such as command=label.")
@click.option("--attributes", multiple=True, callback=names, help="Attribute columns. [default: those there]")
@click.option(
    "--tolerance",
    type=Number(0, 1),
    default=0.05,
    show_default=True,
    help="The gap that is still acceptable.",
)
@click.option(
    "--min-speakers", type=click.IntRange(min=10), default=20, show_default=True, help="Fewer are shown, not compared."
)
@click.option("--seed", type=int, default=0, show_default=True)
@click.option("--device", default="cpu", show_default=True, callback=usable_device)
def command(
    bundle: Path,
    manifest: Path,
    split: tuple[str, ...],
    out: Path | None,
    defenses: tuple[str, ...],
    columns: dict[str, str],
    attributes: tuple[str, ...] | None,
    tolerance: float,
    min_speakers: int,
    seed: int,
    device: str,
) -> None:
    """Run every defense over a labelled manifest; print and write AUC_FPR, accuracy and gaps."""
    settings = AuditSettings(tolerance=tolerance, min_speakers=min_speakers, seed=seed)
    recognizer = load_bundle(bundle, device=device)
    for name in defenses:
        recognizer.defense(name)
    clips = load_manifest(manifest, columns=columns, attributes=attributes, default_split="test").split(*split)
    with bars() as show:
        report, outcomes = run_audit(
            recognizer,
            clips,
            source=manifest.name,
            settings=settings,
            defenses=defenses or None,
            on_progress=show,
        )
    print_report(report)
    if out is not None:
        write_report(report, out)
        outcomes.to_parquet(out / OUTCOMES_FILE, index=False)
        console.print(f"wrote {out / JSON_FILE}, {out / PAGE_FILE} and {out / OUTCOMES_FILE}")


def print_report(report: AuditReport) -> None:
    """Print a report without its intervals."""
    for grid in overview(report):
        console.print(grid.to_rich())
    if report.unheard:
        console.print(f"{len(report.unheard)} clips could not be heard; the first: {report.unheard[0].why}")


def write_report(report: AuditReport, folder: Path) -> None:
    """Write a report as JSON and as a page."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / JSON_FILE).write_text(report.model_dump_json(indent=2, by_alias=True) + "\n", encoding="utf-8")
    (folder / PAGE_FILE).write_text(to_markdown(report), encoding="utf-8")
