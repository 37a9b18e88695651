"""`evenvoice audit compare`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import click
import pandas as pd

from gateway.cli.options import FILE, FOLDER, Number
from gateway.cli.progress import console
from monitoring.comparison import (
    AuditOutcomes,
    Comparison,
    ComparisonSettings,
    Difference,
    GapDifference,
    GroupDifference,
)
from monitoring.comparison import compare_audits as compare
from monitoring.report import Grid, short
from monitoring.report.load import ReportUnreadable, load_report

JSON_FILE, OUTCOMES_FILE = "audit.json", "outcomes.parquet"
_EXIT_CODES = {"no difference": 0, "worse": 1, "inconclusive": 2}
_SHOWN = 5  # clips that one audit heard alone
DEFAULT = ComparisonSettings()


@click.command("compare")
@click.argument("a", type=FOLDER)
@click.argument("b", type=FOLDER)
@click.option("--defense", "defenses", multiple=True, help="One that both have audited. [default: all of them]")
@click.option(
    "--tolerance",
    type=Number(0, 1),
    default=DEFAULT.tolerance,
    show_default=True,
    help="What B may be worse by.",
)
@click.option(
    "--min-speakers",
    type=click.IntRange(min=10),
    default=DEFAULT.min_speakers,
    show_default=True,
    help="Nothing is concluded of groups with fewer.",
)
@click.option("--seed", type=click.IntRange(min=0), default=DEFAULT.seed, show_default=True)
@click.option("--out", type=FILE, help="A file for the comparison as JSON.")
@click.pass_context
def command(
    ctx: click.Context,
    a: Path,
    b: Path,
    defenses: tuple[str, ...],
    tolerance: float,
    min_speakers: int,
    seed: int,
    out: Path | None,
) -> None:
    """Compare the audits in the folders A and B, of two bundles on the same clips: is B worse than A?

    Exit code 0 if no figure of B is worse beyond the tolerance, 1 if one is, 2 if that can't be said, 3 on an error.
    """
    settings = ComparisonSettings(tolerance=tolerance, min_speakers=min_speakers, seed=seed)
    found = compare(read_audit(a), read_audit(b), settings=settings, defenses=defenses)
    for grid in tables(found):
        console.print(grid.to_rich())
    for line in words(found):
        console.print(line)
    if out is not None:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(found.model_dump_json(indent=2, by_alias=True) + "\n", encoding="utf-8")
        console.print(f"wrote {out}")
    ctx.exit(_EXIT_CODES[found.verdict])


def tables(found: Comparison) -> Iterator[Grid]:
    """Of each defense everybody, each attribute and the gaps; figures in percent."""
    interval = f"B - A, {found.settings.confidence:.0%} interval"
    columns = ("", "speakers", "A / B, %", interval, "p", "verdict")
    for defense in dict.fromkeys(d.defense for d in found.groups):
        own = [d for d in found.groups if d.defense == defense]
        for attribute in dict.fromkeys(d.attribute for d in own):
            rows = [_group_row(d) for d in own if d.attribute == attribute]
            title = "everybody" if attribute is None else f"by {attribute}"
            yield Grid(f"{short(defense)}, {title}", columns, tuple(rows))
        if gaps := [_gap_row(d) for d in found.gaps if d.defense == defense]:
            yield Grid(f"{short(defense)}, gaps between groups", ("", "A / B, %", interval, "verdict"), tuple(gaps))


def words(found: Comparison) -> Iterator[str]:
    """What the tables leave open."""
    if found.a.bundle_version == found.b.bundle_version:
        yield f"A and B are of the same bundle, {found.a.bundle_version[:19]}..."
    if found.a.seed != found.b.seed:
        yield f"A was audited with the seed {found.a.seed}, B with {found.b.seed}: noise differs, too"
    for name, side in (("A", found.a), ("B", found.b)):
        if alone := side.clips_alone:
            more = f" and {len(alone) - _SHOWN} more" if len(alone) > _SHOWN else ""
            yield f"{len(alone)} clips were heard in {name} only: {', '.join(alone[:_SHOWN])}{more}"
    if found.defenses_alone:
        yield f"audited in one only: {', '.join(found.defenses_alone)}"
    changed = sum(d.changed for d in found.groups if d.attribute is None and d.metric == "accuracy")
    yield f"{found.clips} clips compared; right in one and wrong in the other: {changed}, over all defenses"
    is_same = any(d.verdict is Difference.SAME for d in found.groups)
    if is_same and found.a.bundle_version != found.b.bundle_version:
        yield "same: not one of these clips fares otherwise, which says nothing of speakers whom nobody recorded"
    tolerance = f"{100 * found.settings.tolerance:g} %"
    meaning = {
        "no difference": f"no figure of B is worse by more than {tolerance}",
        "worse": f"B is worse by more than {tolerance} where it says so",
        "inconclusive": f"whether B is worse by more than {tolerance} can't be said everywhere; it takes more speakers",
    }
    yield f"{found.verdict}: {meaning[found.verdict]}"


def _group_row(d: GroupDifference) -> tuple[str, ...]:
    name = _name(d.metric, d.part) + ("" if d.attribute is None else f", {d.group}")
    return (name, str(d.speakers), _both(d), _with_interval(d), f"{d.p_value:.3f}", d.verdict)


def _gap_row(d: GapDifference) -> tuple[str, ...]:
    return (f"{_name(d.metric, d.part)}, {d.attribute}", _both(d), _with_interval(d), d.verdict)


def _name(metric: str, part: str | None) -> str:
    return metric if part is None else f"{metric} of {short(part)}"


def _both(d: GroupDifference | GapDifference) -> str:
    return f"{_percent(d.a)} / {_percent(d.b)}"


def _with_interval(d: GroupDifference | GapDifference) -> str:
    return f"{_percent(d.difference)} [{_percent(d.lower)}, {_percent(d.upper)}]"


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.1f}"


def read_audit(folder: Path) -> AuditOutcomes:
    """The audit that `evenvoice audit run --out FOLDER` wrote.

    Raises:
        ReportUnreadable: the folder holds no audit.
    """
    for name in (JSON_FILE, OUTCOMES_FILE):
        if not (folder / name).is_file():
            raise ReportUnreadable(f"{folder} has no {name}; `evenvoice audit run --out {folder}` writes it")
    report = load_report(folder / JSON_FILE)
    try:
        return AuditOutcomes(report, pd.read_parquet(folder / OUTCOMES_FILE))
    except (ValueError, OSError) as error:
        raise ReportUnreadable(f"{folder / OUTCOMES_FILE} can't be read: {error}") from None
