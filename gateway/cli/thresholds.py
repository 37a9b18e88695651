"""`evenvoice thresholds`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click

from gateway.cli.options import BUNDLE, FILE, FOLDER, Number, names, pairs, usable_device
from gateway.cli.progress import bars, console
from monitoring.measured import AuditSettings
from monitoring.thresholds import (
    Candidates,
    ThresholdGrid,
    ThresholdReport,
    candidates_of,
    load_tuning_clips,
    sweep_thresholds,
)
from monitoring.thresholds.report import tables, to_table, words
from recognizer.bundle import check_replaceable, load_bundle, read_manifest, version_of
from recognizer.defense import DefenseName
from recognizer.manifest import SPLITS
from recognizer.retune import Setting, retune

JSON_FILE, TABLE_FILE = "thresholds.json", "thresholds.csv"
DEFAULT = ThresholdGrid()
TUNED_DEFENSES = (DefenseName.NEURAL_REJECTION, DefenseName.SMOOTHING)


def _numbers(
    kind: click.ParamType[Any],
) -> Callable[[click.Context, click.Parameter, Sequence[str]], tuple[Any, ...] | None]:
    """Numbers with commas between them, or in several options; None where there are none."""

    def convert(ctx: click.Context, parameter: click.Parameter, values: Sequence[str]) -> tuple[Any, ...] | None:
        found = names(ctx, parameter, values)
        return None if found is None else tuple(kind.convert(text, parameter, ctx) for text in found)

    return convert


def _listed(values: Sequence[float]) -> str:
    return f"[default: {','.join(f'{v:g}' for v in values)}]"


@click.command("thresholds")
@click.argument("bundle", type=BUNDLE)
@click.argument("manifest", type=FILE)
@click.option("--split", type=click.Choice(SPLITS), default="validation", show_default=True, help="test is refused.")
@click.option(
    "--defense", "defenses", multiple=True, type=click.Choice([d.value for d in TUNED_DEFENSES]), help="[default: all]"
)
@click.option(
    "--error-alphas",
    multiple=True,
    callback=_numbers(Number(0, 1, min_open=True)),
    help=f"Of RS. {_listed(DEFAULT.error_alphas)}",
)
@click.option(
    "--draws", multiple=True, callback=_numbers(click.IntRange(min=1)), help=f"N of RS. {_listed(DEFAULT.draws)}"
)
@click.option(
    "--confidence-thresholds",
    multiple=True,
    callback=_numbers(Number(0, 1)),
    help=f"Of NR. {_listed(DEFAULT.confidence_thresholds)}",
)
@click.option(
    "--eps",
    type=Number(0, 2, min_open=True),
    default=DEFAULT.eps,
    show_default=True,
    help="Radius of the attack, raw amplitude.",
)
@click.option(
    "--attacked-clips",
    type=click.IntRange(min=0),
    default=DEFAULT.attacked_clips,
    show_default=True,
    help="At most; 0 = no attack.",
)
@click.option("--steps", type=click.IntRange(min=1), default=DEFAULT.attack_steps, show_default=True, help="Of PGD.")
@click.option("--out", type=FOLDER, help=f"Folder for {JSON_FILE} and {TABLE_FILE}.")
@click.option(
    "--write",
    multiple=True,
    callback=pairs,
    help="Write a measured setting into BUNDLE: error_alpha=0.01,draws=300 or confidence_threshold=0.6.",
)
@click.option("--columns", multiple=True, callback=pairs, help="OURS=THEIRS, such as command=label.")
@click.option(
    "--attributes",
    multiple=True,
    callback=names,
    help="Attribute columns, whose gaps; name those that the bundle was trained with. [default: those there]",
)
@click.option(
    "--tolerance",
    type=Number(0, 1),
    default=DEFAULT.audit.tolerance,
    show_default=True,
    help="The gap that is still acceptable.",
)
@click.option(
    "--min-speakers",
    type=click.IntRange(min=10),
    default=DEFAULT.audit.min_speakers,
    show_default=True,
    help="Fewer are shown, not compared.",
)
@click.option("--seed", type=click.IntRange(min=0), default=DEFAULT.audit.seed, show_default=True)
@click.option("--device", default="cpu", show_default=True, callback=usable_device)
def command(
    bundle: Path,
    manifest: Path,
    split: str,
    defenses: tuple[str, ...],
    error_alphas: tuple[float, ...] | None,
    draws: tuple[int, ...] | None,
    confidence_thresholds: tuple[float, ...] | None,
    eps: float,
    attacked_clips: int,
    steps: int,
    out: Path | None,
    write: dict[str, str],
    columns: dict[str, str],
    attributes: tuple[str, ...] | None,
    tolerance: float,
    min_speakers: int,
    seed: int,
    device: str,
) -> None:
    """Measure BUNDLE's thresholds on MANIFEST's validation clips: accuracy, rejections, gaps, attacks and time of each.

    The settings on the Pareto front are marked, and none is chosen: --write does that.
    """
    given = {"error_alphas": error_alphas, "draws": draws, "confidence_thresholds": confidence_thresholds}
    grid = ThresholdGrid(
        **{name: values for name, values in given.items() if values is not None},
        eps=eps,
        attacked_clips=attacked_clips,
        attack_steps=steps,
        audit=AuditSettings(tolerance=tolerance, min_speakers=min_speakers, seed=seed),
    )
    bundle = bundle.resolve()  # replaced, the folder that is worked in has no name any more
    tuning = load_tuning_clips(manifest, split=split, columns=columns, attributes=attributes)
    recognizer = load_bundle(bundle, device=device)
    candidates = candidates_of(recognizer, grid, defenses=defenses)
    chosen = _chosen(write, candidates)
    if chosen:
        check_replaceable(bundle)
    with bars() as show:
        report = sweep_thresholds(
            recognizer,
            read_manifest(bundle),
            candidates,
            tuning,
            source=manifest.name,
            grid=grid,
            on_progress=show,
        )
    print_report(report)
    if out is not None:
        write_report(report, out)
        console.print(f"wrote {out / JSON_FILE} and {out / TABLE_FILE}")
    if chosen:
        choices = [report.result(setting).chosen() for setting in chosen]
        retune(bundle, choices, report.measured_on, version=recognizer.version)
        console.print(f"wrote {'; '.join(s.name for s in chosen)} into {bundle}, now {version_of(bundle)}")
    else:
        console.print("the bundle stays as it is; --write NAME=VALUE, as a row has it, changes it")


def print_report(report: ThresholdReport) -> None:
    """Print the tables, and what is to be said of them."""
    for grid in tables(report):
        console.print(grid.to_rich())
    for line in words(report):
        console.print(line)


def write_report(report: ThresholdReport, folder: Path) -> None:
    """Write a report as JSON and as a table."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / JSON_FILE).write_text(report.model_dump_json(indent=2, by_alias=True) + "\n", encoding="utf-8")
    to_table(report).to_csv(folder / TABLE_FILE, index=False)


def _chosen(write: dict[str, str], candidates: Sequence[Candidates]) -> list[Setting]:
    """The settings that `--write` names, each with what it leaves out from the bundle.

    Raises:
        click.BadParameter: a name or value that means nothing, or a setting that is not measured.
    """
    left = dict(write)
    chosen: list[Setting] = []
    for candidate in candidates:
        fields = type(candidate.current).model_fields
        values = {name: left.pop(name) for name in fields if name in left}
        if values:
            chosen.append(_measured(values, candidate))
    if left:
        known = ", ".join(name for c in candidates for name in type(c.current).model_fields)
        raise click.BadParameter(f"{', '.join(left)}: the settings of this sweep are {known}", param_hint="--write")
    return chosen


def _measured(values: dict[str, str], candidate: Candidates) -> Setting:
    wanted = {**candidate.current.model_dump()}
    for name, text in values.items():
        try:
            wanted[name] = type(wanted[name])(text)
        except ValueError:
            raise click.BadParameter(f"{name}={text!r} is no number", param_hint="--write") from None
    for setting in candidate.settings:
        if setting.model_dump() == wanted:
            return setting
    named = ",".join(f"{name}={value}" for name, value in wanted.items())
    measured = "; ".join(setting.name for setting in candidate.settings)
    raise click.BadParameter(f"{named} is not among the measured settings: {measured}", param_hint="--write")
