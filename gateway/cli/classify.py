"""`evenvoice classify`: the gateway's decision without a server."""

from __future__ import annotations

import json
import secrets
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click
from rich.table import Table

from gateway.cli.options import BUNDLE, FILE
from gateway.cli.progress import console
from recognizer.audio import SERVED_FORMATS, AudioError, read_clip
from recognizer.bundle import load_bundle
from recognizer.decision import Decision, abstention
from recognizer.recognizer import Recognizer


@click.command("classify")
@click.argument("files", type=FILE, nargs=-1, required=True)
@click.option("--bundle", type=BUNDLE, required=True)
@click.option("--defense", help="none, neural_rejection or smoothing. [default: the bundle's]")
@click.option("--seed", type=int, help="Of the smoothing noise; unpredictable by default.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line and file.")
@click.option("--device", default="cpu", show_default=True)
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
            click.echo(json.dumps(row))
    else:
        table = Table("file", "decision", "command", "reason", "confidence", "detail")
        for row in rows:
            confidence = row.get("confidence")
            shown = "" if confidence is None else f"{confidence:.3f}"
            table.add_row(row["file"], row["decision"], row["command"] or "", row["reason"] or "", shown, row["detail"])
        console.print(table)
    if any(row["decision"] == "error" for row in rows):
        ctx.exit(2)


def _decide(recognizer: Recognizer, path: Path, defense: str | None, seed: int) -> dict[str, Any]:
    try:
        clip = read_clip(path, recognizer.audio, formats=SERVED_FORMATS)
        (decision,) = recognizer.decide([clip], clip_ids=[path.name], seed=seed, defense=defense)
    except AudioError as error:
        if error.reason is None:
            return {"file": str(path), "decision": "error", "command": None, "reason": None, "detail": str(error)}
        decision = abstention(error.reason, str(error))
    except OSError as error:
        return {"file": str(path), "decision": "error", "command": None, "reason": None, "detail": str(error)}
    return {"file": str(path), "decision": _word(decision), **asdict(decision), "seed": seed}


def _word(decision: Decision) -> str:
    return "accept" if decision.is_accepted else "abstain"
