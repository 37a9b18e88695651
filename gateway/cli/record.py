"""`evenvoice record`."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from pathlib import Path

import click

from gateway.cli.options import FILE, FOLDER, Number, names, pairs
from gateway.cli.sound import DETECTORS, microphone_options, open_source
from gateway.microphone.recording.consent import AGREED, TEXT, read_text
from gateway.microphone.recording.folder import (
    MANIFEST_FILE,
    Consent,
    RecordingError,
    RecordingFolder,
    check_id,
    groups_of,
    opened,
)
from gateway.microphone.recording.prompts import read_prompts, shuffled
from gateway.microphone.recording.walking import Studio, Walk
from gateway.microphone.sources import Source
from recognizer.groups import ATTRIBUTES
from recognizer.manifest import SPLITS


@click.command("record")
@click.option("--prompts", type=FILE, help="A command a line, or `command: words`, such as `unknown: coffee`.")
@click.option("--speaker", required=True, help="An id, never a name.")
@click.option("--out", type=FOLDER, required=True, help="Made where it is missing; further speakers are added.")
@click.option("--takes", type=click.IntRange(1, 100), default=2, show_default=True, help="Of each prompt.")
@click.option("--seed", type=int, default=0, show_default=True, help="Of the order.")
@click.option("--split", type=click.Choice(SPLITS), default="test", show_default=True)
@click.option(
    "--attributes",
    multiple=True,
    callback=names,
    help=f"What a person is asked about themselves. [default: {','.join(ATTRIBUTES)}]",
)
@click.option("--declare", multiple=True, callback=pairs, help="ATTRIBUTE=VALUE, which is then not asked for.")
@click.option("--consent", "consent_file", type=FILE, help="The text that is agreed to, instead of the one built in.")
@click.option(
    "--seconds", type=Number(1, 5), default=3.0, show_default=True, help="Of a take; it ends sooner with the word."
)
@click.option("--detector", type=click.Choice(tuple(DETECTORS)), default="silero", show_default=True)
@microphone_options
@click.option("--file", type=FILE, help="A WAV or FLAC file with take after take, instead of a microphone.")
@click.option("--erase", is_flag=True, help="Erase everything of the speaker, and record nothing.")
def command(
    prompts: Path | None,
    speaker: str,
    out: Path,
    takes: int,
    seed: int,
    split: str,
    attributes: tuple[str, ...] | None,
    declare: dict[str, str],
    consent_file: Path | None,
    seconds: float,
    detector: str,
    device: str | None,
    rate: int | None,
    channels: int,
    file: Path | None,
    erase: bool,
) -> None:
    """Record labelled clips of a person who agrees to it; `audit run` takes the manifest.

    Run it again to go on where it was left, and for each further speaker.
    """
    check_id(speaker)
    if erase:
        _erase(out, speaker)
        return
    if prompts is None:
        raise click.UsageError("--prompts is missing: the file with what is to be said")
    tasks = shuffled(read_prompts(prompts), takes=takes, seed=seed, speaker=speaker)
    text = TEXT if consent_file is None else read_text(consent_file)
    source = _source(device, rate, channels, file)
    with opened(out) as folder:
        consent = _consent(folder, speaker, text)
        folder.enrol(speaker, consent, _declared(folder, speaker, attributes or ATTRIBUTES, declare))
        studio = Studio(source, DETECTORS[detector], seconds, split, _ask, click.echo)
        Walk(folder, speaker, studio).run(tasks)
    click.echo(f"wrote {out / MANIFEST_FILE}")


def _consent(folder: RecordingFolder, speaker: str, text: str) -> Consent:
    """What the speaker agreed to, earlier or now.

    Raises:
        click.ClickException: the speaker did not agree.
    """
    before = folder.person(speaker)
    if before is not None and before.consent.text == text:
        click.echo(f"{speaker} agreed on {before.consent.agreed_at:%d %B %Y}")
        return before.consent
    click.echo(text)
    if _ask("Do you agree? (yes or no)") not in AGREED:
        raise click.ClickException("nothing was recorded: the person did not agree")
    return Consent(text=text, agreed_at=datetime.now(UTC))


def _declared(
    folder: RecordingFolder, speaker: str, attributes: tuple[str, ...], given: dict[str, str]
) -> dict[str, str]:
    """Attribute -> value, of those that the speaker wishes to declare."""
    before = folder.person(speaker)
    if before is not None:
        return {**before.declared, **given}
    declared = dict(given)
    for attribute in attributes:
        if attribute in declared:
            continue
        others = ", ".join(folder.groups(attribute))
        declared[attribute] = _ask(f"your {attribute}? (Enter = leave it out{f'; others: {others}' if others else ''})")
    for attribute in sorted(name for name, value in declared.items() if value and name not in groups_of(declared)):
        click.echo(f"{attribute}: {declared[attribute]!r} counts as undeclared")
    return declared


def _source(
    device: str | None, rate: int | None, channels: int, file: Path | None
) -> Callable[[], AbstractContextManager[Source]]:
    """Opens the microphone anew for each take; a file goes on where the take before ended."""

    def opens() -> Source:
        return open_source(
            device=device, rate=rate, channels=channels, file=file, is_fast=file is not None, is_stdin=False
        )

    if file is None:
        return opens
    read = opens()
    return lambda: read


def _erase(out: Path, speaker: str) -> None:
    if not out.is_dir():
        raise RecordingError(f"there is no folder {out}")
    with opened(out) as folder:
        click.confirm(f"Erase everything that was recorded of {speaker}?", abort=True)
        click.echo(f"erased {folder.erase(speaker)} recordings")


def _ask(question: str) -> str:
    """The answer, trimmed and lower-cased; may be empty."""
    answer: str = click.prompt(question, default="", show_default=False)
    return answer.strip().lower()
