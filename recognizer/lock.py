"""A folder that one run at a time is at work in."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TextIO

LOCK = ".lock"


@contextmanager
def locked(folder: Path, *, error: type[Exception], busy: type[Exception] | None = None) -> Iterator[None]:
    """Make the folder where there is none, and keep other runs out of it; a killed run's lock is gone with it.

    Args:
        error: what is raised where the folder can't be written.
        busy: what is raised where another run is at work in it; `error` where there is none.

    Raises:
        error, busy: likewise.
    """
    path = folder / LOCK
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file = path.open("a+")
    except OSError as reason:
        raise error(f"{folder} can't be written: {reason.strerror}; give another folder") from reason
    with file:
        if not _is_taken(file, path):
            file.seek(0)
            raise (busy or error)(
                f"another run (process {file.read().strip() or 'unknown'}) is at work in {folder}; "
                "wait for it, or give another folder"
            )
        file.truncate(0)
        file.write(f"{os.getpid()}\n")
        file.flush()
        try:
            yield
        finally:
            with suppress(OSError):
                path.unlink()


def _is_taken(file: TextIO, path: Path) -> bool:
    """Whether the lock is ours now; one whose file another run took away since we opened it locks nothing."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except (BlockingIOError, FileNotFoundError):
        return False
