"""The comparison of two APIs finds what would break a client, and nothing else."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest

from gateway.app import create_app
from releasing.compatible import api_breaks, schema_breaks

Document = dict[str, Any]


@pytest.fixture(scope="module")
def api() -> Document:
    return create_app().openapi()


def schemas(api: Document) -> Document:
    found: Document = api["components"]["schemas"]
    return found


def command(api: Document) -> Document:
    found: Document = api["paths"]["/v1/commands"]["post"]
    return found


def drop(mapping: Document, name: str) -> None:
    del mapping[name]


BREAKS: dict[str, tuple[Callable[[Document], object], str]] = {
    "a path": (lambda d: drop(d["paths"], "/v1/model"), "GET /v1/model is gone"),
    "a method": (
        lambda d: drop(d["paths"]["/v1/speakers/{speaker}"], "delete"),
        "DELETE /v1/speakers/{speaker} is gone",
    ),
    "a parameter": (lambda d: command(d)["parameters"].pop(0), "the parameter"),
    "a parameter needed": (
        lambda d: command(d)["parameters"].append(
            {"in": "query", "name": "robot", "required": True, "schema": {"type": "string"}}
        ),
        "the parameter robot is required now",
    ),
    "a media type": (lambda d: drop(command(d)["requestBody"]["content"], "audio/flac"), "body: audio/flac is gone"),
    "a field sent needed": (lambda d: schemas(d)["LabelRequest"]["required"].append("why"), "why is required now"),
    "a field sent gone": (lambda d: drop(schemas(d)["LabelRequest"]["properties"], "command"), ".command is gone"),
    "a field sent of another type": (
        lambda d: schemas(d)["LabelRequest"]["properties"]["command"].update(type="integer"),
        "string has become integer",
    ),
    "a field sent shorter": (
        lambda d: schemas(d)["LabelRequest"]["properties"]["command"].update(maxLength=3),
        "maxLength is 3 now, was none",
    ),
    "a status": (lambda d: drop(command(d)["responses"], "422"), "the answer 422 is gone"),
    "a field read gone": (
        lambda d: drop(schemas(d)["CommandResponse"]["properties"], "safe_action"),
        ".safe_action is gone",
    ),
    "a field read that may be missing": (
        lambda d: schemas(d)["CommandResponse"]["required"].remove("valid_for_ms"),
        ".valid_for_ms may be missing now",
    ),
    "a field read of another type": (
        lambda d: schemas(d)["CommandResponse"]["properties"]["valid_for_ms"].update(type="number"),
        "integer has become number",
    ),
    "a field read that may be null": (
        lambda d: schemas(d)["CommandResponse"]["properties"].update(
            detail={"anyOf": [{"type": "string"}, {"type": "null"}]}
        ),
        "null may come now",
    ),
    "a reason gone": (lambda d: schemas(d)["Reason"]["enum"].remove("deadline"), "deadline is gone"),
    "a reason new": (lambda d: schemas(d)["Reason"]["enum"].append("tired"), "tired may come now"),
}

HARMLESS: dict[str, Callable[[Document], object]] = {
    "nothing": lambda _: None,
    "a path": lambda d: d["paths"].update({"/v1/new": d["paths"]["/v1/model"]}),
    "a parameter that may be left out": lambda d: command(d)["parameters"].append(
        {"in": "query", "name": "robot", "schema": {"type": "string"}}
    ),
    "a media type": lambda d: command(d)["requestBody"]["content"].update({"audio/opus": {}}),
    "a field that may be sent": lambda d: schemas(d)["LabelRequest"]["properties"].update(why={"type": "string"}),
    "another way to send a field": lambda d: schemas(d)["LabelRequest"]["properties"].update(
        command={"anyOf": [{"type": "string"}, {"type": "integer"}]}
    ),
    "a status": lambda d: command(d)["responses"].update({"418": {"description": "a teapot"}}),
    "a field read that is new": lambda d: schemas(d)["CommandResponse"]["properties"].update(mood={"type": "string"}),
    "other words": lambda d: d["info"].update(description="new"),
}


@pytest.mark.parametrize("name", BREAKS)
def test_a_break_is_found_once_and_named(api: Document, name: str) -> None:
    change, words = BREAKS[name]
    changed = copy.deepcopy(api)
    change(changed)
    found = api_breaks(api, changed)
    assert found
    assert all(words in line for line in found), found


@pytest.mark.parametrize("name", HARMLESS)
def test_what_harms_no_client_is_no_break(api: Document, name: str) -> None:
    changed = copy.deepcopy(api)
    HARMLESS[name](changed)
    assert api_breaks(api, changed) == []


@pytest.mark.parametrize(
    ("old", "new", "sent", "read"),
    [
        ({"type": "integer"}, {"type": "number"}, True, False),
        ({"type": "number"}, {"type": "integer"}, False, True),
        ({"type": "string"}, {}, True, False),
        ({}, {"type": "string"}, False, True),
        ({"const": "a"}, {"enum": ["a", "b"]}, True, False),
        ({"type": "string", "maxLength": 5}, {"type": "string", "maxLength": 9}, True, True),
        ({"type": "string", "pattern": "^a$"}, {"type": "string", "pattern": "^b$"}, False, True),
        (
            {"type": "object", "properties": {}, "additionalProperties": False},
            {"type": "object", "properties": {"mood": {"type": "string"}}, "additionalProperties": False},
            True,
            False,
        ),
        ({"type": "array", "items": {"type": "string"}}, {"type": "array", "items": {"type": "integer"}}, False, False),
    ],
)
def test_what_is_sent_may_widen_and_what_is_read_may_narrow(
    old: Document, new: Document, sent: bool, read: bool
) -> None:
    assert (schema_breaks(old, new, "sent") == []) is sent
    assert (schema_breaks(old, new, "read") == []) is read


def test_a_schema_that_holds_itself_is_compared() -> None:
    tree: Document = {
        "$ref": "#/$defs/T",
        "$defs": {"T": {"type": "object", "properties": {"below": {"$ref": "#/$defs/T"}}}},
    }
    changed = copy.deepcopy(tree)
    changed["$defs"]["T"]["properties"].clear()
    assert schema_breaks(tree, copy.deepcopy(tree), "read") == []
    assert schema_breaks(tree, changed, "read") == [".below is gone"]
