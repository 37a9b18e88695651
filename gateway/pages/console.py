"""The console's own files, read once: the page, its scripts and its styles. None of them holds anything secret."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from gateway.pages.style import STYLE

_FOLDER = Path(__file__).parent / "static"
_MEDIA_TYPES = {".js": "text/javascript", ".css": "text/css"}


@dataclass(frozen=True)
class StaticFile:
    """A file as it is served."""

    text: str
    media_type: str


def _read() -> Mapping[str, StaticFile]:
    own = {
        path.name: StaticFile(path.read_text(encoding="utf-8"), _MEDIA_TYPES[path.suffix])
        for path in sorted(_FOLDER.iterdir())
        if path.suffix in _MEDIA_TYPES
    }
    return MappingProxyType(own | {"style.css": StaticFile(STYLE, "text/css")})


STATIC_FILES = _read()
"""File name -> what lies at `/console/static/<name>`; nothing else does, whatever a path says."""
CONSOLE = (Path(__file__).parent / "console.html").read_text(encoding="utf-8")
"""The page at /console."""
