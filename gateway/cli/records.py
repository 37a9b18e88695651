"""`evenvoice records`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import click
import sqlalchemy as sa

from gateway.cli.options import FILE, FOLDER
from gateway.cli.progress import console
from gateway.cli.stored import opened, state_option, url_of
from gateway.records.clips import ClipFolder
from gateway.records.errors import RecordsError, cause_of
from gateway.records.export import export as export_table
from gateway.records.migration import migrate as migrate_records
from gateway.records.register import TableRegister
from gateway.records.retention import erase_older, truncate_log
from gateway.speakers import Erased

_TIME = click.DateTime(formats=["%Y-%m-%d", "%Y-%m-%dT%H:%M", "%Y-%m-%dT%H:%M:%S"])

_audio = click.option(
    "--audio",
    type=FOLDER,
    envvar="EVENVOICE_AUDIO_DIRECTORY",
    help="Folder of the kept clips, where the gateway keeps any.",
)


@click.group("records")
def command() -> None:
    """Export, erase and retain stored decisions."""


@command.command("export")
@click.argument("out", type=FILE)
@state_option
@click.option("--since", type=_TIME, help="The first moment that is in it, UTC.")
@click.option("--until", type=_TIME, help="The first moment that is no longer in it, UTC.")
def export(out: Path, state: Path, since: datetime | None, until: datetime | None) -> None:
    """Write the decisions to OUT, a .parquet or .csv file, a column an attribute (group_...)."""
    with opened(state) as engine:
        written = export_table(engine, out, since=_utc(since), until=_utc(until))
    console.print(f"wrote {written} decisions to {out}")


@command.command("erase")
@click.option("--speaker", required=True, help="Id in the register, or as it stands in the records.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@state_option
@_audio
def erase(speaker: str, yes: bool, state: Path, audio: Path | None) -> None:
    """Erase a speaker: the entry in the register, every decision, stored answers, kept clips."""
    with opened(state) as engine:
        if not yes:
            click.confirm(f"Erase {speaker} and everything that is stored of them?", abort=True)
        erased = TableRegister(engine, _clips(audio)).erase(speaker)
        _tell(erased, engine)


@command.command("retain")
@click.option("--days", type=click.IntRange(min=0), required=True, help="Keep what was received in so many last days.")
@state_option
@_audio
def retain(days: int, state: Path, audio: Path | None) -> None:
    """Erase decisions, stored answers and kept clips that are older. The register stays as it is."""
    with opened(state) as engine, _errors():
        erased = erase_older(engine, _clips(audio), datetime.now(UTC) - timedelta(days=days))
        _tell(erased, engine)


@command.command("migrate")
@state_option
def migrate(state: Path) -> None:
    """Begin the records, or bring those of an older evenvoice up to date, as `serve` does when it starts."""
    migrate_records(url_of(state))
    console.print("the records are up to date")


def _tell(erased: Erased, engine: sa.Engine) -> None:
    console.print(f"erased {erased.decisions} decisions, {erased.answers} stored answers, {erased.clips} clips")
    if erased.uncounted:
        console.print(f"{erased.uncounted} decisions were in no group's counts yet, and will be in none")
    if not truncate_log(engine):
        console.print("the write-ahead log is in use and still has them; run this again in a while")


def _clips(audio: Path | None) -> ClipFolder | None:
    if audio is not None and not audio.is_dir():
        raise click.BadParameter(f"{audio} is no folder", param_hint="--audio")
    return None if audio is None else ClipFolder(audio)


def _utc(moment: datetime | None) -> datetime | None:
    return None if moment is None else moment.replace(tzinfo=UTC)


@contextmanager
def _errors() -> Iterator[None]:
    try:
        yield
    except sa.exc.SQLAlchemyError as error:
        raise RecordsError(f"the records can't be erased: {cause_of(error)}") from None
