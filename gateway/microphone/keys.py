"""The keys that push to talk."""

from __future__ import annotations

import os
import select
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

KEYS = (b" ", b"\n", b"\r")


@contextmanager
def pressed(descriptor: int, on_press: Callable[[], None]) -> Iterator[None]:
    """Call `on_press` at each space or Enter; where the descriptor is no terminal, at each line."""
    wake, stop = os.pipe()
    keys = KEYS if os.isatty(descriptor) else (b"\n",)

    def read() -> None:
        while wake not in select.select([descriptor, wake], [], [])[0]:
            key = os.read(descriptor, 1)
            if not key:
                return
            if key in keys:
                on_press()

    thread = threading.Thread(target=read, name="keys", daemon=True)
    try:
        with _each_key(descriptor):
            thread.start()
            try:
                yield
            finally:
                os.write(stop, b"x")
                thread.join()
    finally:
        os.close(wake)
        os.close(stop)


@contextmanager
def _each_key(descriptor: int) -> Iterator[None]:
    """A terminal that hands over keys without waiting for Enter, and does not show them; Ctrl-C still interrupts."""
    if not os.isatty(descriptor):
        yield
        return
    import termios
    import tty

    before = termios.tcgetattr(descriptor)
    try:
        tty.setcbreak(descriptor)
        yield
    finally:
        termios.tcsetattr(descriptor, termios.TCSADRAIN, before)
