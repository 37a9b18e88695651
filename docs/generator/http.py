"""The HTTP API, from the OpenAPI document that a gateway serves and its table of routes."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from docs.generator.markdown import code, fenced, prose, table, whole_page
from gateway.access.routes import ROUTES
from gateway.app import create_app

Schema = Mapping[str, Any]

_SHARED = ("401", "403", "429", "500", "503", "504")
"""Answers that every path has."""


def page() -> str:
    document = create_app().openapi()
    operations = list(_operations(document))
    some = operations[0][2]["responses"]
    return whole_page(
        "The HTTP API",
        "`/openapi.json` of a gateway is the same for programs, `/docs` shows it; [The HTTP API](../api.md) says how "
        "to use it. The audio stream is a [WebSocket](../streaming.md).",
        "## Who may ask for what",
        "Where the gateway has [keys](../security.md#api-keys); an `operator` may do everything.",
        table(("method", "path", "roles"), _routes()),
        "## Errors",
        "Every error is `application/problem+json` with the fields of [ProblemDetails](#problemdetails). Any path may "
        "answer:",
        table(("status", "title"), ((status, some[status]["description"]) for status in _SHARED)),
        *(_operation(method, path, found) for path, method, found in operations),
        "## Bodies",
        *(_schema(name, schema) for name, schema in document["components"]["schemas"].items()),
    )


def _operations(document: Schema) -> Iterator[tuple[str, str, Schema]]:
    for path, methods in document["paths"].items():
        for method, found in methods.items():
            yield path, method.upper(), found


def _routes() -> Iterator[tuple[str, str, str]]:
    for route in ROUTES:
        if route.method != "HEAD":
            roles = "no key" if route.is_open else ", ".join(sorted({*route.roles, "operator"}))
            yield route.method, code(route.template), roles


def _operation(method: str, path: str, found: Schema) -> str:
    body = found.get("requestBody", {}).get("content", {})
    return "\n\n".join(
        part
        for part in (
            f"## {method} {path}",
            prose(found.get("description", "")),
            table(
                ("parameter", "in", "takes", "meaning"),
                (
                    (code(p["name"]), p["in"], _type(p["schema"]), p.get("description", ""))
                    for p in found.get("parameters", ())
                ),
            ),
            table(("body", "what"), ((code(kind), _body(content)) for kind, content in body.items())),
            table(
                ("status", "answer"),
                (
                    (status, _answer(status, answer))
                    for status, answer in found["responses"].items()
                    if status not in _SHARED
                ),
            ),
            *_examples(found),
        )
        if part
    )


def _body(content: Schema) -> str:
    schema = content.get("schema", {})
    if "properties" in schema:
        return "fields " + ", ".join(code(name) for name in schema["properties"])
    return _type(schema)


def _answer(status: str, answer: Schema) -> str:
    if not status.startswith("2"):
        return str(answer["description"])
    content = answer.get("content", {}).get("application/json", {})
    return _type(content.get("schema", {}))


def _examples(found: Schema) -> Iterator[str]:
    for status, answer in found["responses"].items():
        content = answer.get("content", {}).get("application/json", {})
        examples = {"": {"value": content["example"]}} if "example" in content else content.get("examples", {})
        for name, example in examples.items():
            words = example.get("summary") or name.replace("_", " ")
            yield f"{status}, {words}:" if words else f"{status}:"
            yield fenced(json.dumps(example["value"], indent=2, ensure_ascii=False), "json")


def _schema(name: str, schema: Schema) -> str:
    needed = schema.get("required", ())
    rows = (
        (
            code(field),
            _type(found),
            "always" if field in needed else _default(found),
            found.get("description", ""),
        )
        for field, found in schema.get("properties", {}).items()
    )
    values = ", ".join(code(value) for value in schema.get("enum", ()))
    text = prose(schema.get("description", ""))
    return "\n\n".join(
        part for part in (f"### {name}", text, values, table(("field", "takes", "default", "meaning"), rows)) if part
    )


def _default(schema: Schema) -> str:
    value = schema.get("default")
    return "" if value in (None, [], {}) else code(value)


def _type(schema: Schema) -> str:
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return f"[{name}](#{name.lower()})"
    if "anyOf" in schema:
        return " or ".join(_type(part) for part in schema["anyOf"])
    if "const" in schema:
        return code(schema["const"])
    if "enum" in schema:
        return ", ".join(code(value) for value in schema["enum"])
    match schema.get("type"):
        case "array":
            return f"list of {_type(schema['items'])}"
        case "object" if isinstance(schema.get("additionalProperties"), dict):
            return f"text → {_type(schema['additionalProperties'])}"
        case "string" if schema.get("format") == "binary":
            return "bytes"
        case "null":
            return "null"
        case found:
            return " ".join(word for word in (_WORDS.get(str(found), ""), _bounds(schema)) if word)


_WORDS = {
    "string": "text",
    "integer": "whole number",
    "number": "number",
    "boolean": "true or false",
    "object": "mapping",
}


def _bounds(schema: Schema) -> str:
    found = [
        f"{sign} {schema[name]:g}"
        for name, sign in (("minimum", "≥"), ("exclusiveMinimum", ">"), ("maximum", "≤"), ("exclusiveMaximum", "<"))
        if name in schema
    ]
    if "pattern" in schema:
        found.append(f"matching {code(schema['pattern'])}")
    if schema.get("format") in ("date-time", "date"):
        found.append("(ISO 8601)")
    return ", ".join(found)
