"""PortAudio, loaded when it is needed: its devices, and its errors in words."""

from __future__ import annotations

import importlib
import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from types import ModuleType

from gateway.microphone.sources import SourceError

NOTHING = "no microphone is here: nothing that can be recorded from; plug one in, or give --file or --stdin"


class _Code(IntEnum):
    """PaErrorCode of portaudio.h."""

    INVALID_CHANNELS = -9998
    INVALID_RATE = -9997
    INVALID_DEVICE = -9996
    UNAVAILABLE = -9985


class NoPortAudio(SourceError):
    """The library or its Python package is missing."""


class NoDevice(SourceError):
    """No such microphone, or none at all."""


class DeviceBusy(SourceError):
    """Another program has the microphone."""


class UnsupportedLayout(SourceError):
    """The microphone has no such rate or number of channels."""


@dataclass(frozen=True)
class Device:
    """Something that can be recorded from."""

    number: int
    name: str
    host: str
    """The system through which PortAudio reaches it."""
    channels: int
    sample_rate: int
    """Hertz, its own."""
    is_default: bool


def load() -> ModuleType:
    """
    Raises:
        NoPortAudio: it is not installed; the message says how to.
    """
    try:
        with quiet():
            sounddevice = importlib.import_module("sounddevice")
    except ImportError:
        raise NoPortAudio("recording needs the package sounddevice; run pip install 'evenvoice[microphone]'") from None
    except OSError:
        raise NoPortAudio(
            "recording needs the PortAudio library; on Debian and Ubuntu run apt install libportaudio2"
        ) from None
    return sounddevice


def devices(sounddevice: ModuleType) -> list[Device]:
    """Those that can be recorded from."""
    hosts = [host["name"] for host in sounddevice.query_hostapis()]
    default = sounddevice.default.device[0]
    return [
        Device(
            number=int(found["index"]),
            name=str(found["name"]),
            host=hosts[found["hostapi"]],
            channels=int(found["max_input_channels"]),
            sample_rate=round(found["default_samplerate"]),
            is_default=found["index"] == default,
        )
        for found in sounddevice.query_devices()
        if found["max_input_channels"] > 0
    ]


def choose(found: list[Device], wanted: str | None) -> Device:
    """The device with a number, a name, or a part of a name that no other has; the default one where None.

    Raises:
        NoDevice: there is none such, or several.
    """
    if not found:
        raise NoDevice(NOTHING)
    known = "; ".join(f"{device.number}: {device.name}" for device in found)
    if wanted is None:
        return next((device for device in found if device.is_default), found[0])
    if wanted.isdecimal():
        matches = [device for device in found if device.number == int(wanted)]
    else:
        name = wanted.casefold()
        matches = [device for device in found if device.name.casefold() == name] or [
            device for device in found if name in device.name.casefold()
        ]
    if len(matches) != 1:
        count = f"{len(matches)} microphones are" if matches else "no microphone is"
        raise NoDevice(f"{count} {wanted!r}; here are {known}")
    return matches[0]


def stem(name: str) -> str:
    """A device's name without the place that ALSA gives it, `(hw:2,0)`, which changes when it is plugged in again."""
    return re.sub(r"\s*\(hw:\d+,\d+\)$", "", name)


def in_words(error: Exception, device: str) -> SourceError:
    """What a `sounddevice.PortAudioError` means for whoever sits in front of it."""
    words, code = str(error.args[0]) if error.args else str(error), error.args[1] if len(error.args) > 1 else None
    match code:
        case _Code.UNAVAILABLE:
            return DeviceBusy(f"{device} can't be opened: another program has it, or it is gone; close that program")
        case _Code.INVALID_RATE:
            return UnsupportedLayout(f"{device} does not record at this rate; leave --rate out, or give another")
        case _Code.INVALID_CHANNELS:
            return UnsupportedLayout(f"{device} does not record so many channels; give --channels 1 or 2")
        case _Code.INVALID_DEVICE:
            return NoDevice(f"{device} is not there any more; see --list-devices")
    return SourceError(f"{device} can't be recorded from: {words}; try another one of --list-devices")


@contextmanager
def quiet() -> Iterator[None]:
    """Keep what ALSA and PortAudio print about devices that are not there off the terminal: errors are raised too."""
    sys.stderr.flush()
    kept = os.dup(2)
    try:
        with Path(os.devnull).open("wb") as nowhere:
            os.dup2(nowhere.fileno(), 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
