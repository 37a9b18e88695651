"""A file that is written whole or not at all."""

from __future__ import annotations

import os
import platform
from pathlib import Path

UNFINISHED = ".unfinished"
"""How the name ends of what a killed run had begun to write."""


def write_whole(path: Path, data: bytes, *, error: type[Exception]) -> None:
    """Replace a file; a kill at any moment leaves the old or the new one.

    Args:
        error: what is raised where it can't be written.

    Raises:
        error: it can't be written, for instance because the disk is full; the old one stays.
    """
    writer = f"{platform.node()}.{os.getpid()}"  # several machines may write to one folder
    unfinished = path.with_name(f"{path.name}.{writer}{UNFINISHED}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with unfinished.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        unfinished.replace(path)
    except OSError as reason:
        unfinished.unlink(missing_ok=True)
        raise error(
            f"{path} can't be written: {reason.strerror or reason}. What is finished stays; "
            "mend that and give the same command again to go on"
        ) from reason
