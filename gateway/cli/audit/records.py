"""`evenvoice audit records`."""

from __future__ import annotations

import os
import secrets
from datetime import UTC, datetime
from pathlib import Path

import click

from gateway.cli.options import FILE, FOLDER
from gateway.cli.progress import console
from gateway.cli.stored import opened, state_option
from gateway.records.audit_set import MANIFEST_FILE, NoAuditSet, Selection, build_audit_set
from gateway.records.clips import ClipFolder
from monitoring.report import Grid
from recognizer.groups import ATTRIBUTES

_TIME = click.DateTime(formats=["%Y-%m-%d", "%Y-%m-%dT%H:%M", "%Y-%m-%dT%H:%M:%S"])
_KEY_BYTES = 32


@click.command("records")
@state_option
@click.option(
    "--records", "url", help="URL of the records, where it holds no password. [default: as `serve` finds them]"
)
@click.option(
    "--audio", type=FOLDER, envvar="EVENVOICE_AUDIO_DIRECTORY", required=True, help="Folder of the kept clips."
)
@click.option("--out", type=FOLDER, required=True, help="A new folder.")
@click.option("--since", type=_TIME, help="The first moment that is in it, UTC.")
@click.option("--until", type=_TIME, help="The first moment that is no longer in it, UTC.")
@click.option("--clips-a-speaker", type=click.IntRange(min=1), help="At most, by chance. [default: all]")
@click.option(
    "--key",
    "key_file",
    type=FILE,
    help="A file that keeps the pseudonyms' key, made where it is not there. [default: nobody keeps it]",
)
def command(
    state: Path,
    url: str | None,
    audio: Path,
    out: Path,
    since: datetime | None,
    until: datetime | None,
    clips_a_speaker: int | None,
    key_file: Path | None,
) -> None:
    """Build an audit set, a manifest and its clips, from decisions that have a speaker, a label and kept audio."""
    if not audio.is_dir():
        raise click.BadParameter(f"{audio} is no folder", param_hint="--audio")
    with opened(state, url) as engine:
        selection = build_audit_set(
            engine,
            ClipFolder(audio),
            out,
            key=secrets.token_bytes(_KEY_BYTES) if key_file is None else _key(key_file),
            since=_utc(since),
            until=_utc(until),
            clips_a_speaker=clips_a_speaker,
        )
    console.print(_grid(selection).to_rich())
    console.print(
        f"{selection.taken} of {selection.decisions} decisions are in the set, of {selection.speakers} speakers; "
        f"{selection.without_speaker} have no speaker, {selection.without_label} no label, "
        f"{selection.without_audio} no audio, {selection.repeated} are repeated, "
        f"{selection.beyond_limit} are beyond --clips-a-speaker"
    )
    if selection.regrouped:
        console.print(f"{selection.regrouped} speakers changed their group; the set has the newest one")
    console.print(f"WARNING: {selection.warning}")
    attributes = dict.fromkeys(count.attribute for count in selection.groups)
    others = "" if set(attributes) <= set(ATTRIBUTES) else f" --attributes {','.join(attributes)}"
    console.print(f"next: evenvoice audit run --bundle BUNDLE --manifest {out / MANIFEST_FILE}{others}")


def _grid(selection: Selection) -> Grid:
    columns = ("group", "decisions", "no speaker", "no label", "no audio", "taken", "taken, %")
    rows = [
        (
            f"{count.attribute}: {count.group}",
            *map(str, (count.decisions, count.without_speaker, count.without_label, count.without_audio, count.taken)),
            f"{100 * count.taken / count.decisions:.1f}",
        )
        for count in selection.groups
    ]
    return Grid("Decisions by group, as it was then", columns, tuple(rows))


def _key(path: Path) -> bytes:
    """The key in a file, made for the owner's eyes alone where there is none.

    Raises:
        NoAuditSet: it can't be read or made.
    """
    try:
        if not path.exists():
            with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
                file.write(secrets.token_bytes(_KEY_BYTES))
        return path.read_bytes()
    except OSError as error:
        raise NoAuditSet(f"the key {path} can't be read or made: {error.strerror}") from None


def _utc(moment: datetime | None) -> datetime | None:
    return None if moment is None else moment.replace(tzinfo=UTC)
