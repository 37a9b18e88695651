"""A clip through the loudspeakers."""

from __future__ import annotations

from pathlib import Path

import soundfile

from gateway.microphone.portaudio import load, quiet
from gateway.microphone.sources import SourceError


def play(path: Path) -> None:
    """Play a clip to its end.

    Raises:
        NoPortAudio: the library is missing.
        SourceError: there is nothing to play on.
    """
    sounddevice = load()
    samples, rate = soundfile.read(path, dtype="int16")
    try:
        with quiet():
            sounddevice.play(samples, rate, blocking=True)
    except sounddevice.PortAudioError as error:
        raise SourceError(f"{path} can't be played here: {error.args[0] if error.args else error}") from None
