"""Clips that are kept as they came, one file a request; only where someone agreed to it."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path

from gateway.settings import Sync

_EXTENSIONS = ("wav", "flac", "pcm")
_ID = re.compile(r"[A-Za-z0-9-]{1,36}")


class ClipFolder:
    """The folder of kept clips: `<request_id>.wav`, `.flac`, or `.pcm` for samples without a header."""

    def __init__(self, folder: Path, *, sync: Sync = Sync.NORMAL) -> None:
        """
        Raises:
            OSError: the folder can't be made.
        """
        self.folder = folder
        self._sync = sync
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)

    def keep(self, request_id: str, clip: bytes) -> None:
        """Write one clip; with `full` sync it survives a power cut when this returns.

        Raises:
            ValueError: the id is no file name.
            OSError: it can't be written; nothing of it is left.
        """
        if not _ID.fullmatch(request_id):
            raise ValueError("a request id of letters, digits and hyphens is needed to keep a clip")
        path = self.folder / f"{request_id}.{_extension(clip)}"
        try:
            with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
                file.write(clip)
                if self._sync is Sync.FULL:
                    file.flush()
                    os.fsync(file.fileno())
            if self._sync is Sync.FULL:
                self._sync_names()
        except OSError:
            path.unlink(missing_ok=True)
            raise

    def path_of(self, request_id: str) -> Path | None:
        """The kept clip of a request; None where there is none."""
        if not _ID.fullmatch(request_id):
            return None
        paths = (self.folder / f"{request_id}.{extension}" for extension in _EXTENSIONS)
        return next((path for path in paths if path.is_file()), None)

    def remove(self, request_ids: Iterable[str]) -> int:
        """Delete the clips of some requests; those that have none are passed over.

        Returns:
            How many there were.
        """
        paths = [self.folder / f"{i}.{e}" for i in request_ids if _ID.fullmatch(i) for e in _EXTENSIONS]
        return _unlink(path for path in paths if path.is_file())

    def remove_older(self, than: datetime) -> int:
        """Delete the clips that were written before a time, whether or not a decision belongs to them.

        Returns:
            How many there were.
        """
        files = (path for extension in _EXTENSIONS for path in self.folder.glob(f"*.{extension}"))
        return _unlink(path for path in files if _written(path) < than.timestamp())

    def _sync_names(self) -> None:
        folder = os.open(self.folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def _extension(clip: bytes) -> str:
    """By the clip's first bytes, as the decoder tells them apart; a content type may be wrong."""
    return {b"RIFF": "wav", b"fLaC": "flac"}.get(clip[:4], "pcm")


def _written(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except FileNotFoundError:
        return float("inf")


def _unlink(paths: Iterable[Path]) -> int:
    removed = 0
    for path in paths:
        path.unlink(missing_ok=True)
        removed += 1
    return removed
