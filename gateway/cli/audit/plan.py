"""`evenvoice audit plan`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click

from gateway.cli.audit.compare import read_audit
from gateway.cli.options import FILE, FOLDER, Number, names, pairs
from gateway.cli.progress import console
from monitoring.audit.result import METRICS, Metric
from monitoring.audit_plan import Needed, Pilot, needed_for_equivalence, pilot_of, shown_by, speakers_needed
from monitoring.parity import POWER, Aim
from monitoring.report import Grid
from recognizer.manifest import SPLITS, load_manifest

_GAPS = (0.1, 0.15, 0.2, 0.3)


def _gaps(context: click.Context, parameter: click.Parameter, value: Sequence[str]) -> tuple[float, ...]:
    given = names(context, parameter, value)
    return _GAPS if given is None else tuple(Number(0, 1).convert(text, parameter, context) for text in given)


@click.command("plan")
@click.option("--share", type=Number(0, 1), help="Of clips that are expected to be rejected, or right.")
@click.option("--icc", type=Number(0, 1), help="How alike a speaker's clips fare: 0 not at all, 1 all the same.")
@click.option("--clips-a-speaker", type=Number(1), help="That are to be recorded.  [default: the pilot's]")
@click.option("--pilot", type=FOLDER, help="Folder of an audit, instead of --share and --icc.")
@click.option("--defense", help="Of the pilot.  [default: its bundle's default]")
@click.option("--metric", type=click.Choice(METRICS), default="rejection", show_default=True, help="Of the pilot.")
@click.option("--groups", type=click.IntRange(min=2), default=2, show_default=True, help="That are compared.")
@click.option("--gaps", multiple=True, callback=_gaps, help="To be found.  [default: 0.1,0.15,0.2,0.3]")
@click.option("--tolerance", type=Number(0, 1), default=0.05, show_default=True, help="The gap that is acceptable.")
@click.option(
    "--power", type=Number(0.5, 1, max_open=True), default=POWER, show_default=True, help="Audits that find it."
)
@click.option(
    "--min-speakers", type=click.IntRange(min=10), default=20, show_default=True, help="Fewer are not compared."
)
@click.option("--manifest", type=FILE, help="Say what its groups can show, too.")
@click.option("--split", multiple=True, type=click.Choice(SPLITS), default=("test",), show_default=True)
@click.option("--columns", multiple=True, callback=pairs, help="OURS=THEIRS, such as command=label.")
@click.option("--attributes", multiple=True, callback=names, help="Attribute columns. [default: those there]")
def command(
    share: float | None,
    icc: float | None,
    clips_a_speaker: float | None,
    pilot: Path | None,
    defense: str | None,
    metric: Metric,
    groups: int,
    gaps: tuple[float, ...],
    tolerance: float,
    power: float,
    min_speakers: int,
    manifest: Path | None,
    split: tuple[str, ...],
    columns: dict[str, str],
    attributes: tuple[str, ...] | None,
) -> None:
    """Say how many speakers of each group an audit needs, before anyone is asked to speak.

    Speakers differ, so what counts is them and not clips: give the share of clips and how alike a speaker's clips fare,
    or an audit that shows both.
    """
    aim = Aim(groups=groups, tolerance=tolerance, power=power, min_speakers=min_speakers)
    known = _pilot(share, icc, clips_a_speaker, pilot, defense, metric)
    console.print(
        f"single clips: SD {known.clip_sd:.3f}, intraclass correlation {known.icc:.2f}; "
        f"means of {known.clips_a_speaker:g} clips a speaker: SD {known.speaker_sd():.3f}"
    )
    console.print(_needed(known, gaps, aim).to_rich())
    enough = needed_for_equivalence(known, aim)
    console.print(
        "no number of speakers is enough to call groups `equivalent` at such a tolerance"
        if enough is None
        else f"{enough:,} speakers of each group, to call equal groups `equivalent` at a tolerance of {tolerance:g}"
    )
    if manifest is not None:
        clips = load_manifest(manifest, columns=columns, attributes=attributes, default_split="test").split(*split)
        rows = [
            (
                f"{shown.attribute}: {shown.group}",
                f"{shown.speakers:,}",
                f"{shown.clips:,}",
                _gap_words(shown.detectable),
            )
            for shown in shown_by(clips, known, aim)
        ]
        columns_of = ("group", "speakers", "clips", "gap found")
        console.print(Grid(f"What the groups of {manifest.name} can show", columns_of, tuple(rows)).to_rich())
    console.print(
        f"found: an audit calls it a disparity beyond {tolerance:g} in {power:.0%} of cases, if all {groups} groups "
        "have so many speakers and differ as these did"
    )


def _needed(pilot: Pilot, gaps: Sequence[float], aim: Aim) -> Grid:
    rows = [(f"{needed.gap:g}", *_needed_words(needed, pilot, aim)) for needed in speakers_needed(pilot, gaps, aim)]
    columns = ("a true gap of", "speakers of each group", "clips of each group")
    return Grid(f"To be told from a tolerance of {aim.tolerance:g}", columns, tuple(rows))


def _needed_words(needed: Needed, pilot: Pilot, aim: Aim) -> tuple[str, str]:
    if needed.speakers is None:
        return ("none: it is acceptable" if needed.gap <= aim.tolerance else "too many", "")
    return f"{needed.speakers:,}", f"{needed.speakers * pilot.clips_a_speaker:,.0f}"


def _gap_words(gap: float | None) -> str:
    if gap is None:
        return "not compared"
    return "none" if gap > 1 else f"{gap:.3f}"


def _pilot(
    share: float | None,
    icc: float | None,
    clips_a_speaker: float | None,
    folder: Path | None,
    defense: str | None,
    metric: Metric,
) -> Pilot:
    if folder is None:
        if share is None or icc is None or clips_a_speaker is None:
            raise click.UsageError("give --share, --icc and --clips-a-speaker, or --pilot")
        return Pilot.of_share(share, icc=icc, clips_a_speaker=clips_a_speaker)
    if share is not None or icc is not None:
        raise click.UsageError("--share and --icc are read from --pilot; give one or the other")
    report, outcomes = read_audit(folder)
    found = pilot_of(outcomes, defense=defense or report.default_defense, metric=metric)
    return found if clips_a_speaker is None else Pilot(found.clip_sd, found.icc, clips_a_speaker)
