"""`evenvoice rules`."""

from __future__ import annotations

from pathlib import Path

import click

from gateway.cli.options import FILE, Number
from monitoring.rules import RuleSettings, rules_file

_DEFAULT = RuleSettings()


@click.group("rules")
def command() -> None:
    """Prometheus' recording and alert rules."""


@command.command("write")
@click.option("--out", type=FILE, help="The file to write. [default: print it]")
@click.option(
    "--tolerance",
    type=Number(0, 1, max_open=True),
    default=_DEFAULT.tolerance,
    show_default=True,
    help="Difference between groups' shares that is acceptable; the gateway's EVENVOICE_FAIRNESS_TOLERANCE.",
)
@click.option(
    "--floor",
    type=click.IntRange(min=1),
    default=_DEFAULT.floor,
    show_default=True,
    help="Commands of a group in the window under which no share of it is judged.",
)
@click.option(
    "--window", default=_DEFAULT.window, show_default=True, help="Over which shares are taken, such as 1d or 12h."
)
@click.option(
    "--hold", default=_DEFAULT.hold, show_default=True, help="How long shares must stay apart before a ticket."
)
@click.option("--interval", default=_DEFAULT.interval, show_default=True, help="How often the rules are computed.")
@click.option(
    "--objective",
    type=Number(0, 1, max_open=True),
    default=_DEFAULT.objective,
    show_default=True,
    help="Share of commands that are answered in time, over 30 days.",
)
@click.option(
    "--audit-days",
    type=click.IntRange(min=1),
    default=_DEFAULT.audit_days,
    show_default=True,
    help="An audit older than this is stale.",
)
@click.option("--without-audits", is_flag=True, help="No audits are meant to run here: leave their alerts out.")
@click.option("--job", default=_DEFAULT.job, show_default=True, help="The gateways' job in Prometheus' configuration.")
@click.option(
    "--kubernetes", "for_kubernetes", is_flag=True, help="As a PrometheusRule, which the Prometheus operator loads."
)
@click.option(
    "--docs", default=_DEFAULT.docs, show_default=True, help="Folder or URL of these docs, for the alerts' runbook_url."
)
def write(
    out: Path | None,
    tolerance: float,
    floor: int,
    window: str,
    hold: str,
    interval: str,
    objective: float,
    audit_days: int,
    without_audits: bool,
    job: str,
    for_kubernetes: bool,
    docs: str,
) -> None:
    """Write the file of rules that Prometheus loads."""
    try:
        settings = RuleSettings(
            tolerance=tolerance,
            floor=floor,
            window=window,
            hold=hold,
            interval=interval,
            objective=objective,
            audit_days=None if without_audits else audit_days,
            job=job,
            docs=docs,
        )
    except ValueError as error:
        raise click.ClickException(str(error)) from None
    text = rules_file(settings, for_kubernetes=for_kubernetes)
    if out is None:
        click.echo(text, nl=False)
    else:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(text, encoding="utf-8")
