"""`evenvoice audit pool`."""

from __future__ import annotations

from pathlib import Path

import click
import pandas as pd

from gateway.cli.audit.run import JSON_FILE, PAGE_FILE, print_report, write_pages
from gateway.cli.options import FOLDER
from gateway.cli.progress import bars, console
from monitoring.audit import AuditError, AuditFolder, FinishedAudit, pool_audits
from monitoring.report.load import load_report
from monitoring.report.page import PAGE_FILE as HTML_FILE


@click.command("pool")
@click.argument("audits", type=FOLDER, nargs=-1, required=True, metavar="AUDIT_FOLDER...")
@click.option("--out", type=FOLDER, required=True, help="Folder for the reports and the outcomes.")
def command(audits: tuple[Path, ...], out: Path) -> None:
    """Pool finished audits of disjoint speakers, such as those of each fold of a corpus, into one.

    They must have been made alike: defenses, settings, seed, attack, policy. The exit code is that of `run`, under
    their policy. Nothing is decided again.
    """
    if AuditFolder(out).is_finished() is not None:
        raise AuditError(f"{out} is the folder of an audit of its own; give another for --out")
    found = [_read(folder) for folder in audits]
    with bars() as show:
        report, outcomes, attacked = pool_audits(found, on_progress=show)
    into = AuditFolder(out)
    with into.locked():
        into.write(report, outcomes, attacked)
        write_pages(report, out)
    print_report(report)
    console.print(f"wrote {out / HTML_FILE}, {out / PAGE_FILE}, {out / JSON_FILE} and the outcomes")
    console.print(f"{report.judgement.outcome}: exit code {report.judgement.exit_code}")
    click.get_current_context().exit(report.judgement.exit_code)


def _read(path: Path) -> FinishedAudit:
    """
    Raises:
        ReportUnreadable: the folder holds no report.
        AuditError: the audit is not finished, or a table of its outcomes can't be read.
    """
    folder = AuditFolder(path)
    if folder.is_finished() is False:
        raise AuditError(f"the audit in {path} is not finished; give its command again, and then pool")
    report = load_report(folder.report)
    attacked = None if report.attack is None else _table(folder.attacked)
    return FinishedAudit(str(path), report, _table(folder.outcomes), attacked)


def _table(path: Path) -> pd.DataFrame:
    try:
        return pd.read_parquet(path)
    except (ValueError, OSError) as error:
        raise AuditError(f"{path} can't be read: {error}; `evenvoice audit run` writes it beside audit.json") from error
