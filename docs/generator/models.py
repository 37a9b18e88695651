"""Pydantic models as tables of their fields: what they are called, take, are by default and mean."""

from __future__ import annotations

import re
import types
from collections.abc import Iterable, Iterator
from datetime import datetime
from enum import Enum
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from annotated_types import BaseMetadata
from pydantic import BaseModel, SecretStr
from pydantic.fields import FieldInfo

from docs.generator.attributes import documented
from docs.generator.markdown import code, prose, table

HEADS = ("field", "takes", "default", "meaning")


def fields_of(model: type[BaseModel], *, but: str | None = None) -> str:
    """A table with a row a field, but for the one of a name."""
    meanings = documented(model)
    return table(
        HEADS,
        (
            (code(info.alias or name), takes(info), default_of(info), meanings.get(name) or _meaning(info))
            for name, info in model.model_fields.items()
            if name != but
        ),
    )


def sections(models: Iterable[type[BaseModel]]) -> str:
    """A section a model: its docstring and its fields."""
    return "\n\n".join(
        "\n\n".join(part for part in (f"## {model.__name__}", prose(_own_words(model)), fields_of(model)) if part)
        for model in models
    )


def with_parts(model: type[BaseModel]) -> list[type[BaseModel]]:
    """A model and the models that its fields hold, each once, in the order in which they are met."""
    found: dict[type[BaseModel], None] = {}
    waiting = [model]
    while waiting:
        current = waiting.pop(0)
        if current not in found:
            found[current] = None
            waiting += [part for info in current.model_fields.values() for part in _models_in(info.annotation)]
    return list(found)


def takes(info: FieldInfo) -> str:
    """The type and the bounds of a field, as `number >= 0`."""
    return _bounded(type_name(info.annotation), info.metadata)


def default_of(info: FieldInfo) -> str:
    """The default as it would be written, or that there must be a value."""
    if info.is_required():
        return "required"
    value = info.get_default(call_default_factory=True)
    if isinstance(value, BaseModel) or (isinstance(value, tuple) and any(isinstance(v, BaseModel) for v in value)):
        return "its own defaults" if isinstance(value, BaseModel) else "; ".join(code(_short(v)) for v in value)
    if isinstance(value, Enum):
        value = value.value
    if isinstance(value, bool):
        return code(str(value).lower())
    return "" if value is None or value in ((), {}, [], "") else code(value)


def type_name(annotation: Any) -> str:
    """What a value is, in words and code."""
    origin, inside = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _bounded(type_name(inside[0]), [m for part in inside[1:] for m in getattr(part, "metadata", (part,))])
    if origin in (Union, types.UnionType):
        return " or ".join(dict.fromkeys(type_name(part) for part in inside if part is not type(None)))
    if origin is Literal:
        return ", ".join(code(value) for value in inside)
    if origin in (tuple, list, set, frozenset):
        return f"list of {type_name(inside[0])}"
    if origin is not None and inside and len(inside) == 2:
        return f"{type_name(inside[0])} → {type_name(inside[1])}"
    if isinstance(annotation, type) and issubclass(annotation, Enum):
        return ", ".join(code(member.value) for member in annotation)
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return f"[{annotation.__name__}](#{annotation.__name__.lower()})"
    return _WORDS.get(annotation, getattr(annotation, "__name__", str(annotation)))


_WORDS: dict[Any, str] = {
    str: "text",
    int: "whole number",
    float: "number",
    bool: "true or false",
    Any: "anything",
    dict: "mapping",
    Path: "path",
    SecretStr: "text, kept secret",
    datetime: "a time, ISO 8601",
}
_SIGNS = {"ge": "≥", "gt": ">", "le": "≤", "lt": "<"}


def _bounded(name: str, metadata: Iterable[Any]) -> str:
    return f"{name} {', '.join(b for b in map(_bound, metadata) if b)}".strip()


def _bound(metadata: Any) -> str:
    if pattern := getattr(metadata, "pattern", None):
        return f"matching `{pattern}`"
    if not isinstance(metadata, BaseMetadata):
        return ""
    found = [f"{sign} {getattr(metadata, name):g}" for name, sign in _SIGNS.items() if hasattr(metadata, name)]
    if (least := getattr(metadata, "min_length", 0)) and not found:
        found = [f"of {least} at least"]
    return ", ".join(found)


def _short(value: BaseModel) -> str:
    return ", ".join(f"{name}={found}" for name, found in value.model_dump(exclude_none=True).items())


def _meaning(info: FieldInfo) -> str:
    """Its own, else what the model that it holds says of itself in its first line."""
    held = next(_models_in(info.annotation), None)
    return info.description or (_own_words(held).strip().partition("\n")[0] if held else "")


def _own_words(model: type[BaseModel]) -> str:
    text = "" if model.__doc__ == BaseModel.__doc__ else (model.__doc__ or "")
    return "" if re.fullmatch(r"See the module\.", text.strip()) else text


def _models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for part in get_args(annotation):
        yield from _models_in(part)
