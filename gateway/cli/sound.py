"""Options of the commands that listen: which microphone, or what instead of one."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click
from rich.table import Table

from gateway.cli.progress import console
from gateway.microphone.sources import Source
from gateway.streaming.vad import EnergyDetector, SileroDetector, SpeechDetector
from recognizer.audio import MAX_CHANNELS, MAX_RATE, MIN_RATE

_F = TypeVar("_F", bound=Callable[..., Any])

DETECTORS: dict[str, Callable[[], SpeechDetector]] = {"silero": SileroDetector, "energy": EnergyDetector}


def _list_devices(context: click.Context, _: click.Parameter, is_wanted: bool) -> None:
    if not is_wanted or context.resilient_parsing:
        return
    from gateway.microphone.bounded import OPENING_SECONDS, within
    from gateway.microphone.portaudio import NOTHING, NoDevice, devices, load, quiet

    table = Table("", "name", "through", "channels", "Hz", "")
    with quiet():
        found = within(OPENING_SECONDS, lambda: devices(load()))
    if not found:
        raise NoDevice(NOTHING)
    for device in found:
        default = "default" if device.is_default else ""
        table.add_row(
            str(device.number), device.name, device.host, str(device.channels), str(device.sample_rate), default
        )
    console.print(table)
    context.exit()


def microphone_options(command: _F) -> _F:
    """Which microphone, and how it records."""
    for option in (
        click.option(
            "--channels", type=click.IntRange(1, MAX_CHANNELS), default=1, show_default=True, help="Of the microphone."
        ),
        click.option(
            "--rate", type=click.IntRange(MIN_RATE, MAX_RATE), help="Hertz. [default: the microphone's own]"
        ),
        click.option("--device", help="Its number, or a part of its name. [default: the system's]"),
        click.option(
            "--list-devices", is_flag=True, is_eager=True, expose_value=False, callback=_list_devices,
            help="Show what can be recorded from, and end.",
        ),
    ):  # fmt: skip
        command = option(command)
    return command


def open_source(
    *, device: str | None, rate: int | None, channels: int, file: Path | None, is_fast: bool, is_stdin: bool
) -> Source:
    """The source that was asked for; not open yet.

    Raises:
        click.UsageError: options that do not go together.
        SourceError: a file that can't be listened to.
    """
    if sum((device is not None, file is not None, is_stdin)) > 1:
        raise click.UsageError("--device, --file and --stdin: one of them")
    if file is not None:
        from gateway.microphone.files import FileSource

        if rate is not None or channels != 1:
            raise click.UsageError("--file says its rate and its channels itself")
        return FileSource(file, is_fast=is_fast)
    if is_fast:
        raise click.UsageError("--fast goes with --file")
    if is_stdin:
        from gateway.microphone.pcm import StdinSource

        if rate is None:
            raise click.UsageError("--stdin needs --rate: bare samples do not say it")
        return StdinSource(sys.stdin.fileno(), sample_rate=rate, channels=channels)
    from gateway.microphone.capture import MicrophoneSource

    return MicrophoneSource(device, sample_rate=rate, channels=channels)
