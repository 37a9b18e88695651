"""`evenvoice send`: ask a gateway about audio files, as a robot would."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
from pydantic import BaseModel, ConfigDict
from rich.table import Column, Table

from gateway.cli.credentials import credential_options, credentials
from gateway.cli.options import FILE, Number
from gateway.cli.progress import console
from gateway.client import Answer, Client, Kind
from gateway.client.asking import printable
from gateway.schemas import CommandResponse

UNUSABLE, NO_ANSWER = 2, 3
_ABOUT_THE_FILE = (400, 413, 415)
"""Statuses that say that a file is no clip."""


class Sent(BaseModel):
    """One line of `--json`."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    file: str
    kind: Kind
    detail: str
    response: CommandResponse | None
    is_labelled: bool | None = None
    """Whether the label was taken; None where none was told."""


@click.command("send")
@click.argument("files", type=FILE, nargs=-1, required=True)
@click.option("--url", default="http://127.0.0.1:3000", show_default=True, envvar="EVENVOICE_URL")
@credential_options
@click.option("--speaker", help="Id in the register.")
@click.option("--defense", help="One that the bundle allows, such as smoothing. [default: the bundle's]")
@click.option("--timeout", type=Number(min=0.05, max=600), default=5.0, show_default=True, help="Seconds for a file.")
@click.option("--label", metavar="COMMAND", help="What is really said in the files; `unknown` where it is no command.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line and file.")
@click.pass_context
def command(
    ctx: click.Context,
    /,
    files: tuple[Path, ...],
    url: str,
    speaker: str | None,
    defense: str | None,
    timeout: float,
    label: str | None,
    as_json: bool,
    **shown: Any,
) -> None:
    """Have a gateway decide on audio FILES (WAV or FLAC).

    Exit code 0 if all were answered, abstentions included; 2 if a file can't be used as audio; 3 if there was no
    answer to one, or its label was not taken.
    """
    answers = []
    with Client(url, timeout=timeout, **credentials(url, **shown)) as gateway:
        for path in files:
            answer = gateway.decide(path, speaker=speaker, defense=defense)
            taken = None
            if label is not None and answer.response is not None:
                taken = gateway.label(answer.response.request_id, label)
            row = Sent(
                file=str(path), kind=answer.kind, detail=answer.detail, response=answer.response, is_labelled=taken
            )
            answers.append((answer, row))
            if as_json:
                click.echo(row.model_dump_json())
    if not as_json:
        console.print(_table([row for _, row in answers]))
    ctx.exit(max((_code(answer, row) for answer, row in answers), default=0))


def _code(answer: Answer, row: Sent) -> int:
    if row.is_labelled is False:
        return NO_ANSWER
    if answer.kind is Kind.ANSWERED:
        return 0
    is_the_file = answer.kind is Kind.UNUSABLE or answer.status in _ABOUT_THE_FILE
    return UNUSABLE if is_the_file else NO_ANSWER


def _table(rows: list[Sent]) -> Table:
    table = Table(Column("file", overflow="fold"), "decision", "command", "reason", "confidence", "detail")
    for row in rows:
        said = row.response
        if said is None:
            table.add_row(row.file, row.kind.replace("_", " "), "", "", "", row.detail)
        else:
            shown = "" if said.confidence is None else f"{said.confidence:.3f}"
            note = "; the label was not taken" if row.is_labelled is False else ""
            command, detail = printable(said.command or ""), printable(said.detail) + note
            table.add_row(row.file, said.decision, command, said.reason, shown, detail)
    return table
