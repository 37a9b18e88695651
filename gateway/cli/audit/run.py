"""`evenvoice audit run`."""

from __future__ import annotations

import time
from functools import partial
from pathlib import Path
from typing import Any

import click

from gateway.cli.audit.exit_codes import BUSY
from gateway.cli.audit.front_end import FrontEnd, front_end_grid
from gateway.cli.audit.publishing import export_options, publish, publish_failure
from gateway.cli.engines import cluster_of, device_of_engine, engine_options
from gateway.cli.options import BUNDLE, FILE, FOLDER, Number, names, pairs
from gateway.cli.progress import bars, console
from gateway.cli.stored import opened, state_option
from monitoring.audit import (
    AttackSettings,
    AuditError,
    AuditFolder,
    AuditReport,
    AuditUnderWay,
    Policy,
    load_policy,
    run_audit,
    settings_of,
)
from monitoring.audit.history import append_history, history_of
from monitoring.audit.nodes import Nodes
from monitoring.audit.run import SHARD_CLIPS
from monitoring.report import overview, to_markdown
from monitoring.report.page import PAGE_FILE as HTML_FILE
from monitoring.report.page import write_html
from recognizer.bundle import load_bundle
from recognizer.lock import locked
from recognizer.manifest import SPLITS, Manifest, load_manifest
from recognizer.parcel import Parcel
from recognizer.recognizer import Recognizer

JSON_FILE, PAGE_FILE = "audit.json", "audit.md"
ATTACKED_CLIPS = 32
"""By default: one lot of every defense."""
_POLICY = Policy()
_SERVED = ""
"""`--records` without a URL: those that `serve` uses."""


@click.command("run")
@click.option("--bundle", type=BUNDLE, required=True)
@click.option("--manifest", type=FILE, required=True)
@click.option("--split", multiple=True, type=click.Choice(SPLITS), default=("test",), show_default=True)
@click.option("--out", type=FOLDER, help="Folder for the reports, the outcomes and the shards that they are made of.")
@click.option("--defense", "defenses", multiple=True, help="One that the bundle allows. [default: all of them]")
@click.option("--columns", multiple=True, callback=pairs, help="OURS=THEIRS, such as command=label.")
@click.option("--attributes", multiple=True, callback=names, help="Attribute columns. [default: those there]")
@click.option("--policy", "policy_file", type=FILE, help="What the audit is held to, .toml or .yaml.")
@click.option(
    "--tolerance",
    type=Number(0, 1),
    help=f"The gap that is still acceptable, without a policy. [default: {_POLICY.tolerance}]",
)
@click.option(
    "--min-speakers",
    type=click.IntRange(min=10),
    help=f"Fewer are shown, not compared; without a policy. [default: {_POLICY.min_speakers}]",
)
@click.option(
    "--attacked-clips",
    type=click.IntRange(min=0),
    default=ATTACKED_CLIPS,
    show_default=True,
    help="Clips that are attacked, evenly of all speakers; 0 = none.",
)
@click.option("--front-end", is_flag=True, help="Play whole recordings to the detection of speech that streams have.")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True)
@click.option("--workers", type=click.IntRange(min=1), default=1, show_default=True, help="Processes; needs --out.")
@click.option(
    "--shard-clips",
    type=click.IntRange(min=1),
    default=SHARD_CLIPS,
    show_default=True,
    help="Clips between two points that a killed audit goes on from.",
)
@click.option("--fresh", is_flag=True, help="Begin anew, whatever lies in --out.")
@click.option(
    "--exclusive",
    type=FOLDER,
    help="One audit at a time of those that name this folder: another one ends at once, with exit code 75.",
)
@click.option("--history", type=FILE, help="A Parquet file that each audit adds its figures to.")
@click.option(
    "--records",
    is_flag=False,
    flag_value=_SERVED,
    help="Add the figures to the records at this URL, or without one to those that `serve` uses.",
)
@state_option
@export_options
@engine_options
@click.option("--ship-audio", is_flag=True, help="Send the clips to the cluster's nodes, which then need no copy.")
@click.option("--device", default="cpu", show_default=True, callback=device_of_engine)
def command(
    bundle: Path,
    manifest: Path,
    split: tuple[str, ...],
    columns: dict[str, str],
    attributes: tuple[str, ...] | None,
    out: Path | None,
    textfile: Path | None,
    pushgateway: str | None,
    corpus: str | None,
    device: str,
    **options: Any,
) -> None:
    """Run every defense over a labelled manifest, clean and attacked, and compare the groups.

    A killed audit goes on where it was when the same command is given again. Exit code 0: every gap that the policy
    names is within its tolerance; 1: one is not; 2: too few speakers to say; 3: the audit could not be made; 75:
    another run is at work in --out or --exclusive, and this one did nothing.
    """
    if out is None and options["workers"] > 1:
        raise click.UsageError("--workers needs --out, the folder that they share")
    exports: dict[str, Any] = {
        "corpus": corpus or manifest.name,
        "textfile": textfile,
        "pushgateway": pushgateway,
    }
    started, context = time.monotonic(), click.get_current_context()
    try:
        alone = options["exclusive"]
        if alone is not None and (out is None or alone.resolve() != out.resolve()):  # an audit holds its --out anyway
            context.with_resource(locked(alone, error=AuditError, busy=AuditUnderWay))
        policy, policy_name = _policy(options["policy_file"], options["tolerance"], options["min_speakers"])
        nodes = _nodes(context, bundle, device, options)
        recognizer = load_bundle(bundle, device=device if nodes is None else "cpu")
        for name in options["defenses"]:
            recognizer.defense(name)
        clips = load_manifest(manifest, columns=columns, attributes=attributes, default_split="test").split(*split)
        with bars() as show:
            report, outcomes = run_audit(
                recognizer,
                clips,
                source=manifest.name,
                settings=settings_of(policy, seed=options["seed"]),
                defenses=options["defenses"] or None,
                attack=AttackSettings(clips=_attackable(options["attacked_clips"], recognizer, clips)),
                policy=policy,
                policy_file=policy_name,
                folder=None if out is None else AuditFolder(out),
                fresh=options["fresh"],
                shard_clips=options["shard_clips"],
                workers=options["workers"],
                load=partial(load_bundle, bundle, device=device),
                nodes=nodes,
                cut=FrontEnd() if options["front_end"] else None,
                device=device,
                on_progress=show,
            )
        print_report(report)
        if options["front_end"]:
            console.print(front_end_grid(outcomes, clips.attributes).to_rich())
        if out is not None:
            write_pages(report, out)
            console.print(f"wrote {out / HTML_FILE}, {out / PAGE_FILE}, {out / JSON_FILE} and the outcomes")
        _remember(report, options["history"], options["records"], options["state"])
    except AuditUnderWay as busy:  # no failure: the run that is at work will tell Prometheus
        click.echo(f"evenvoice: {busy}", err=True)
        context.exit(BUSY)
    except Exception:
        publish_failure(seconds=time.monotonic() - started, **exports)
        raise
    publish(report, **exports)
    console.print(f"{report.judgement.outcome}: exit code {report.judgement.exit_code}")
    context.exit(report.judgement.exit_code)


def print_report(report: AuditReport) -> None:
    """Print a report without its intervals."""
    for grid in overview(report):
        console.print(grid.to_rich())
    if report.unheard:
        console.print(f"{len(report.unheard)} clips could not be heard; the first: {report.unheard[0].why}")
    for caution in report.cautions:
        console.print(caution)


def write_report(report: AuditReport, folder: Path) -> None:
    """Write a report as JSON and as pages."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / JSON_FILE).write_text(report.model_dump_json(indent=2, by_alias=True) + "\n", encoding="utf-8")
    write_pages(report, folder)


def write_pages(report: AuditReport, folder: Path) -> None:
    """Write a report as a Markdown and an HTML page."""
    (folder / PAGE_FILE).write_text(to_markdown(report), encoding="utf-8")
    write_html(report, folder)


def _nodes(context: click.Context, bundle: Path, device: str, options: dict[str, Any]) -> Nodes | None:
    """Those of the cluster that the options name, until the command ends; None with the local engine."""
    chosen = {name: options[name] for name in ("engine", "ray_address", "ray_cpus", "ray_gpus", "workers")}
    cluster = context.with_resource(cluster_of(**chosen, device=device))
    if cluster is None:
        if options["ship_audio"]:
            raise click.UsageError("--ship-audio without --engine ray")
        return None
    return Nodes(cluster, Parcel.of(bundle), ships_audio=options["ship_audio"], device=device)


def _policy(file: Path | None, tolerance: float | None, min_speakers: int | None) -> tuple[Policy, str | None]:
    given = {"tolerance": tolerance, "min_speakers": min_speakers}
    chosen = {name: value for name, value in given.items() if value is not None}
    if file is None:
        return Policy.model_validate(chosen), None
    if chosen:
        options = " and ".join(f"--{name.replace('_', '-')}" for name in chosen)
        raise click.UsageError(f"{options} beside --policy: set it in the policy, which the report names")
    return load_policy(file), file.name


def _attackable(count: int, recognizer: Recognizer, clips: Manifest) -> int:
    """No clip where there is only one command: of its clips no wrong one can be accepted."""
    return count if len(recognizer.commands) > 1 and clips.commands else 0


def _remember(report: AuditReport, history: Path | None, records: str | None, state: Path) -> None:
    rows = history_of(report)
    if history is not None:
        append_history(history, rows)
    if records is not None:
        from gateway.records.audits import store_audit

        with opened(state, records or None) as engine:
            store_audit(engine, rows)
