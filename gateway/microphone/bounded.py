"""Calls into the sound system that are given up after a while.

PortAudio waits without end for a sound server that stands still, and no signal gets through to whoever is inside of it.
"""

from __future__ import annotations

import atexit
import sys
import threading
from collections.abc import Callable
from typing import TypeVar

from gateway.microphone.sources import SourceError

T = TypeVar("T")

OPENING_SECONDS = 15.0
"""For devices to be found and one to be opened; one without a wire may take some."""
CLOSING_SECONDS = 3.0


class SoundSystemStuck(SourceError):
    """PortAudio does not come back from a call; nothing more can be recorded in this process."""


def within(seconds: float, work: Callable[[], T]) -> T:
    """What `work` returns, which a thread of its own does.

    Raises:
        SoundSystemStuck: it takes longer; its thread is left behind, and ends with the process.
        Exception: what `work` raises.
    """
    returned: list[T] = []
    raised: list[Exception] = []

    def run() -> None:
        try:
            returned.append(work())
        except Exception as error:  # raised again by whoever waits
            raised.append(error)

    thread = threading.Thread(target=run, name="sound system", daemon=True)
    thread.start()
    try:
        thread.join(seconds)
    finally:
        at_exit = getattr(sys.modules.get("sounddevice"), "_exit_handler", None)
        if thread.is_alive() and at_exit is not None:
            atexit.unregister(at_exit)  # it would wait for the same
    if thread.is_alive():
        raise SoundSystemStuck(
            f"the sound system does not answer within {seconds:g} s; restart the sound server "
            "(PulseAudio, PipeWire), then begin again"
        )
    if raised:
        raise raised[0]
    return returned[0]
