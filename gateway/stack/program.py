"""A program that runs beside this one and ends with it, however this one ends."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

_END_SECONDS = 20.0
_LOOK_SECONDS = 0.2
_TAIL_CHARACTERS = 500


class ProgramFailed(RuntimeError):
    """A program that did not start, or ended; the message has the end of its log."""


@dataclass(frozen=True)
class Program:
    """One that was started."""

    name: str
    process: subprocess.Popen[bytes]
    log: Path

    def check(self) -> None:
        """
        Raises:
            ProgramFailed: it has ended.
        """
        if self.process.poll() is not None:
            said = self.log.read_text(encoding="utf-8", errors="replace").strip()[-_TAIL_CHARACTERS:]
            raise ProgramFailed(f"{self.name} ended with code {self.process.returncode}:\n{said}")

    def await_ready(self, is_ready: Callable[[], bool], *, seconds: float) -> None:
        """
        Raises:
            ProgramFailed: it ended, or was not ready in time.
        """
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            self.check()
            if is_ready():
                self.check()  # else it may be another program that answers at this address
                return
            time.sleep(_LOOK_SECONDS)
        raise ProgramFailed(f"{self.name} was not ready within {seconds:.0f} s; see {self.log}")

    def result(self) -> int:
        """Its exit code, once it has ended by itself."""
        return self.process.wait()


@contextmanager
def running(
    name: str,
    command: Sequence[str | Path],
    *,
    log: Path,
    folder: Path | None = None,
    environment: Mapping[str, str] | None = None,
) -> Iterator[Program]:
    """Start a program; it is asked to end when the block ends, and made to where it does not.

    It is in a session of its own, so that a terminal's Ctrl-C is for this process, which ends one after the other.

    Args:
        name: for messages.
        folder: where it runs; here by default.
        environment: all of it; this process' by default.
    """
    with log.open("wb") as file:
        process = subprocess.Popen(
            [*_ending_with_us(), *command],
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            yield Program(name, process, log)
        finally:
            _end(process)


def _ending_with_us() -> list[str]:
    """The words before a command that have the kernel end it with this process, of which a kill tells nobody."""
    setpriv = shutil.which("setpriv")  # util-linux: wherever there is Linux
    return [] if setpriv is None else [setpriv, "--pdeathsig", "TERM"]


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is not None:
        return
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(_END_SECONDS)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
