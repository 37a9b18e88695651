"""A folder that is made anew by each run, and that is never another's."""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class FolderTaken(ValueError):
    """The folder is not this run's to clear."""


@contextmanager
def claimed(folder: Path, *, kind: str) -> Iterator[None]:
    """Empty the folder of an earlier run and keep it for this one, until the block ends.

    Args:
        kind: of run, such as `demo`: the folder of another kind is not cleared.

    Raises:
        FolderTaken: it holds something else, or another run is at work in it.
    """
    marker = folder / f".evenvoice-{kind}"
    if folder.exists() and any(folder.iterdir()) and not marker.is_file():
        raise FolderTaken(f"{folder} holds something else than a {kind}; give another --folder")
    if marker.is_file():
        os.close(_lock(marker, kind))
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    marker.write_text(f"Made by `evenvoice {kind}`, which removes this folder when it runs again.\n")
    descriptor = _lock(marker, kind)
    try:
        yield
    finally:
        os.close(descriptor)


def _lock(marker: Path, kind: str) -> int:
    descriptor = os.open(marker, os.O_RDWR)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise FolderTaken(f"another {kind} runs in {marker.parent}; give another --folder") from None
    return descriptor
