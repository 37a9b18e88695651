"""`evenvoice classify`: the gateway's decision without a server."""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import Literal

import click
from pydantic import BaseModel, ConfigDict
from rich.table import Column, Table

from gateway.cli.options import BUNDLE, FILE, usable_device
from gateway.cli.progress import console
from gateway.schemas import CandidateBody, CertificateBody, PartBody, decided
from recognizer.audio import SERVED_FORMATS, AudioError, read_clip
from recognizer.bundle import load_bundle
from recognizer.decision import Decision, Reason, abstention
from recognizer.recognizer import Recognizer


class Classified(BaseModel):
    """One line of `--json`."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    file: str
    decision: Literal["accept", "abstain", "error"]
    """`error`: the file can't be used as audio."""
    command: str | None = None
    reason: Reason | None = None
    detail: str
    confidence: float | None = None
    top: list[CandidateBody] = []
    certificate: CertificateBody | None = None
    parts: list[PartBody] = []
    seed: int | None = None
    """Of the smoothing noise, with the file's name as the clip id."""

    @classmethod
    def of(cls, path: Path, decision: Decision, seed: int) -> Classified:
        return cls(
            file=str(path),
            **decided(decision),
            seed=seed,
        )


@click.command("classify")
@click.argument("files", type=FILE, nargs=-1, required=True)
@click.option("--bundle", type=BUNDLE, required=True)
@click.option("--defense", help="One that the bundle allows, such as smoothing. [default: the bundle's]")
@click.option("--seed", type=int, help="Of the smoothing noise; unpredictable by default.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line and file.")
@click.option("--device", default="cpu", show_default=True, callback=usable_device)
@click.pass_context
def command(
    ctx: click.Context,
    files: tuple[Path, ...],
    bundle: Path,
    defense: str | None,
    seed: int | None,
    as_json: bool,
    device: str,
) -> None:
    """Decide on audio FILES (WAV or FLAC). Exit code 2 if one of them can't be used as audio."""
    recognizer = load_bundle(bundle, device=device)
    recognizer.defense(defense)
    rows = [_decide(recognizer, path, defense, secrets.randbits(62) if seed is None else seed) for path in files]
    if as_json:
        for row in rows:
            click.echo(row.model_dump_json())
    else:
        table = Table(Column("file", overflow="fold"), "decision", "command", "reason", "confidence", "detail")
        for row in rows:
            shown = "" if row.confidence is None else f"{row.confidence:.3f}"
            table.add_row(row.file, row.decision, row.command or "", row.reason or "", shown, row.detail)
        console.print(table)
    if any(row.decision == "error" for row in rows):
        ctx.exit(2)


def _decide(recognizer: Recognizer, path: Path, defense: str | None, seed: int) -> Classified:
    try:
        clip = read_clip(path, recognizer.audio, formats=SERVED_FORMATS)
        (decision,) = recognizer.decide([clip], clip_ids=[path.name], seed=seed, defense=defense)
    except AudioError as error:
        if error.reason is None:
            return Classified(file=str(path), decision="error", detail=str(error))
        decision = abstention(error.reason, str(error))
    except OSError as error:
        return Classified(file=str(path), decision="error", detail=str(error))
    return Classified.of(path, decision, seed)
