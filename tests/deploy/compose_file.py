"""`deploy/compose/compose.yaml` as Compose reads it: variables put in, anchors and merges resolved."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

Json = dict[str, Any]

DEPLOY = Path(__file__).parents[2] / "deploy"
FOLDER = DEPLOY / "compose"
_VARIABLE = re.compile(r"\$\{(\w+)(?:(:-|:\?)([^}]*))?\}")


def text_of() -> str:
    return (FOLDER / "compose.yaml").read_text(encoding="utf-8")


def variables() -> dict[str, str | None]:
    """Variable -> its default; None where it must be given."""
    return {name: words if kind == ":-" else None for name, kind, words in _VARIABLE.findall(text_of())}


def project(**given: str) -> Json:
    """The file with these variables.

    Raises:
        KeyError: a variable that must be given is not.
    """

    def value(found: re.Match[str]) -> str:
        name, kind, words = found.groups()
        if kind == ":-":
            return given.get(name, words)
        return given[name]

    loaded: Json = yaml.safe_load(_VARIABLE.sub(value, text_of()))
    return loaded


def mounts(service: Mapping[str, Any]) -> list[Json]:
    """The volumes of a service, each in the long form."""
    return [_long(volume) for volume in service.get("volumes", [])]


def _long(volume: str | Json) -> Json:
    if not isinstance(volume, str):
        return volume
    source, target, *options = volume.split(":")
    return {"type": "volume", "source": source, "target": target, "read_only": "ro" in options}
