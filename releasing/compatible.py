"""Whether a client of an older release can go on: two OpenAPI documents compared, and two JSON Schemas.

What a client sends must still be accepted, so what is sent may only become wider. What it reads must still be there,
and be what it was told it would be, so what is read may not become wider: a client that was told of a closed list of
fields refuses an answer with another one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Literal

Document = Mapping[str, Any]
Direction = Literal["sent", "read"]

_UPPER = ("maxLength", "maxItems", "maxProperties", "maximum", "exclusiveMaximum")
_LOWER = ("minLength", "minItems", "minProperties", "minimum", "exclusiveMinimum")
_SAME = ("pattern", "format", "multipleOf", "uniqueItems")


def api_breaks(old: Document, new: Document) -> list[str]:
    """What a client of the old OpenAPI document sends or reads and the new one no longer has, a line each."""
    return list(_Comparison(old, new).paths())


def schema_breaks(old: Document, new: Document, direction: Direction) -> list[str]:
    """The same of two JSON Schemas with `$defs` of their own."""
    return list(_Comparison(old, new).schemas(old, new, direction, ""))


class _Comparison:
    def __init__(self, old: Document, new: Document) -> None:
        self._old, self._new = old, new
        self._under_way: set[tuple[int, int, Direction]] = set()

    def paths(self) -> Iterator[str]:
        for path, methods in self._old["paths"].items():
            now = self._new["paths"].get(path, {})
            for method, operation in methods.items():
                where = f"{method.upper()} {path}"
                if method in now:
                    yield from self._operations(operation, now[method], where)
                else:
                    yield f"{where} is gone"

    def _operations(self, old: Document, new: Document, where: str) -> Iterator[str]:
        yield from self._parameters(old, new, where)
        body, now = (_resolved(o.get("requestBody"), d) for o, d in ((old, self._old), (new, self._new)))
        if now.get("required") and not body.get("required"):
            yield f"{where}: a body is required now"
        if body:
            yield from self._contents(body, now, "sent", f"{where}, body")
        for status, answer in old["responses"].items():
            if status not in new["responses"]:
                yield f"{where}: the answer {status} is gone"
                continue
            before, after = _resolved(answer, self._old), _resolved(new["responses"][status], self._new)
            yield from self._contents(before, after, "read", f"{where}, {status}")

    def _parameters(self, old: Document, new: Document, where: str) -> Iterator[str]:
        before, after = (
            {(p["in"], p["name"]): p for p in (_resolved(p, document) for p in operation.get("parameters", ()))}
            for operation, document in ((old, self._old), (new, self._new))
        )
        for key, parameter in before.items():
            if key in after:
                yield from self.schemas(parameter["schema"], after[key]["schema"], "sent", f"{where}, {key[1]}")
            else:
                yield f"{where}: the parameter {key[1]} is gone"
        for key, parameter in after.items():
            if parameter.get("required") and not before.get(key, {}).get("required"):
                yield f"{where}: the parameter {key[1]} is required now"

    def _contents(self, old: Document, new: Document, direction: Direction, where: str) -> Iterator[str]:
        for media_type, content in old.get("content", {}).items():
            if media_type not in new.get("content", {}):
                yield f"{where}: {media_type} is gone"
            else:
                after = new["content"][media_type]
                yield from self.schemas(content.get("schema", {}), after.get("schema", {}), direction, where)

    def schemas(self, old: Document, new: Document, direction: Direction, where: str) -> Iterator[str]:
        """What breaks between two schemas, of which the documents hold what they refer to."""
        old, new = _resolved(old, self._old), _resolved(new, self._new)
        pair = (id(old), id(new), direction)
        if pair in self._under_way:  # a schema that holds itself
            return
        self._under_way.add(pair)
        try:
            befores, afters = _variants(old), _variants(new)
            if len(befores) == len(afters) == 1:
                yield from self._plain(befores[0], afters[0], direction, where)
            elif direction == "sent":
                for variant in befores:
                    if all(list(self.schemas(variant, after, direction, where)) for after in afters):
                        yield f"{where}: {_named(variant)} is no longer accepted"
            else:
                for variant in afters:
                    if all(list(self.schemas(before, variant, direction, where)) for before in befores):
                        yield f"{where}: {_named(variant)} may come now"
                for variant in befores:
                    if all(list(self.schemas(variant, after, direction, where)) for after in afters):
                        yield f"{where}: {_named(variant)} no longer comes"
        finally:
            self._under_way.discard(pair)

    def _plain(self, old: Document, new: Document, direction: Direction, where: str) -> Iterator[str]:
        yield from _types(old, new, direction, where)
        yield from _values(old, new, direction, where)
        if direction == "sent":
            yield from _bounds(old, new, where)
        yield from self._properties(old, new, direction, where)
        for part in ("items", "additionalProperties"):
            before, after = old.get(part), new.get(part)
            if isinstance(before, Mapping) and isinstance(after, Mapping):
                yield from self.schemas(before, after, direction, f"{where}[]")

    def _properties(self, old: Document, new: Document, direction: Direction, where: str) -> Iterator[str]:
        before, after = old.get("properties", {}), new.get("properties", {})
        for name, schema in before.items():
            if name in after:
                yield from self.schemas(schema, after[name], direction, f"{where}.{name}")
            else:
                yield f"{where}.{name} is gone"
        needed_before, needed_after = set(old.get("required", ())), set(new.get("required", ()))
        if direction == "sent":
            yield from (f"{where}.{name} is required now" for name in sorted(needed_after - needed_before))
            return
        yield from (f"{where}.{name} may be missing now" for name in sorted((needed_before - needed_after) & {*after}))
        if old.get("additionalProperties") is False:
            yield from (f"{where}.{name} is new, and clients were told of no other" for name in after.keys() - before)


def _resolved(part: Any, document: Document) -> Document:
    """What a reference points to, or the part itself."""
    found: Any = part or {}
    while "$ref" in found:
        steps = found["$ref"].removeprefix("#/").split("/")
        found = document
        for step in steps:
            found = found[step]
    resolved: Document = found
    return resolved


def _variants(schema: Document) -> list[Document]:
    for union in ("anyOf", "oneOf"):
        if union in schema:
            return list(schema[union])
    return [schema]


def _types(old: Document, new: Document, direction: Direction, where: str) -> Iterator[str]:
    before, after = _types_of(old), _types_of(new)
    narrow, wide = (before, after) if direction == "sent" else (after, before)
    if not wide or (narrow and narrow <= (wide | ({"integer"} if "number" in wide else set()))):
        return
    yield f"{where}: {_list(before)} has become {_list(after)}"


def _types_of(schema: Document) -> set[str]:
    found = schema.get("type", ())
    return {found} if isinstance(found, str) else set(found)


def _values(old: Document, new: Document, direction: Direction, where: str) -> Iterator[str]:
    before, after = _values_of(old), _values_of(new)
    if before is None or after is None:
        if after is not None and direction == "sent":
            yield f"{where}: only {_list(after)} is accepted now"
        if before is not None and direction == "read":
            yield f"{where}: other values than {_list(before)} may come now"
        return
    if gone := before - after:
        yield f"{where}: {_list(gone)} is gone"
    if direction == "read" and (added := after - before):
        yield f"{where}: {_list(added)} may come now, and clients were told of no other"


def _values_of(schema: Document) -> set[str] | None:
    if "const" in schema:
        return {str(schema["const"])}
    return {str(value) for value in schema["enum"]} if "enum" in schema else None


def _bounds(old: Document, new: Document, where: str) -> Iterator[str]:
    for bound in (*_UPPER, *_LOWER):
        if bound not in new:
            continue
        is_kept = bound in old and (new[bound] >= old[bound] if bound in _UPPER else new[bound] <= old[bound])
        if not is_kept:
            yield f"{where}: {bound} is {new[bound]} now, was {old.get(bound, 'none')}"
    for rule in _SAME:
        if rule in new and new[rule] != old.get(rule):
            yield f"{where}: {rule} is {new[rule]} now, was {old.get(rule, 'none')}"


def _named(schema: Document) -> str:
    return str(schema.get("title") or schema.get("$ref") or schema.get("type") or dict(schema))


def _list(values: set[str]) -> str:
    return " or ".join(sorted(values)) or "anything"
