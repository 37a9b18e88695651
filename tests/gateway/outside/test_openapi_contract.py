"""The gateway against its own OpenAPI document, by requests that schemathesis makes up from it."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from typing import Any

import jsonschema_rs
import pytest
import schemathesis
from hypothesis import strategies as st
from robot import RATE, Door, Spoken, encoded, lying_flac, tone
from schemathesis.config import SchemathesisConfig
from schemathesis.engine import events, from_schema

EXAMPLES = int(os.environ.get("EVENVOICE_CONTRACT_EXAMPLES", "8"))
"""Requests of each kind and operation; thousands find more, and take their time."""
SEED = int(os.environ.get("EVENVOICE_CONTRACT_SEED", "1"))
READING = {"GET /v1/model", "GET /v1/fairness", "GET /v1/speakers", "GET /v1/speakers/{speaker}"}
MODIFYING = {"POST /v1/speakers", "PUT /v1/speakers/{speaker}", "DELETE /v1/speakers/{speaker}"}
CONFIG: dict[str, Any] = {
    "seed": SEED,
    "generation": {"max-examples": EXAMPLES, "database": "none"},
    # Names come from closed vocabularies that depend on the bundle and the register: what a document can call valid
    # may still name nobody (422).
    "checks": {"positive_data_acceptance": {"enabled": False}},
}


@pytest.fixture
def clips_in_place_of_bytes(spoken: Spoken) -> None:
    """Where the document says binary, mostly clips."""
    pcm, rate = spoken.pcm
    assert rate == 16_000
    noise = st.binary(max_size=64)
    for kinds, clips in {
        ("audio/wav", "audio/flac"): [spoken.data, encoded(pcm, rate, "FLAC"), encoded(tone(0.05)), lying_flac()],
        ("audio/L16;rate=16000",): [pcm.astype(">i2").tobytes(), bytes(32_000)],
    }.items():
        for kind in kinds:
            schemathesis.openapi.media_type(kind, st.sampled_from(clips) | noise)


@pytest.fixture(params=["table", "file"])
def app(request: pytest.FixtureRequest, open_door: Callable[..., Door]) -> Any:
    """With a register that can be written, and with one that can't."""
    return open_door(is_file_register=request.param == "file").app


def scenarios(app: Any) -> Iterator[events.ScenarioFinished]:
    """Every scenario of every phase: the document's examples, its limits, what fuzzing makes of it, and sequences."""
    config = SchemathesisConfig.from_dict(CONFIG)
    schema = schemathesis.openapi.from_asgi("/openapi.json", app, config=config)
    for event in from_schema(schema).execute():
        assert not isinstance(event, events.NonFatalError | events.FatalError), event
        if isinstance(event, events.ScenarioFinished):
            yield event


@pytest.mark.usefixtures("clips_in_place_of_bytes")
def test_every_answer_is_as_the_document_says_and_every_error_a_problem(app: Any, request: Any) -> None:
    failures: dict[tuple[str, str], str] = {}
    seen: set[tuple[str, int]] = set()
    for scenario in scenarios(app):
        for case_id, interaction in scenario.recorder.interactions.items():
            answer = interaction.response
            assert answer is not None
            label = scenario.recorder.cases[case_id].value.operation.label
            seen.add((label, answer.status_code))
            assert answer.status_code < 500, (label, answer.status_code, answer.content)
            if answer.status_code >= 400 and interaction.request.method != "HEAD":
                assert answer.headers["content-type"] == ["application/problem+json"], (label, answer.headers)
                body = json.loads(answer.content)
                assert (body["status"], body["decision"], body["safe_action"]) == (
                    answer.status_code,
                    "abstain",
                    "hold",
                )
        for checks in scenario.recorder.checks.values():
            for check in checks:
                if check.failure_info is not None:
                    found = check.failure_info
                    failures.setdefault(
                        (check.name, found.failure.title), f"{found.failure.message}\n{found.code_sample}"
                    )
    assert failures == {}
    successes = {label for label, status in seen if status < 300}
    is_file = "file" in request.node.callspec.id
    assert successes >= (READING if is_file else READING | MODIFYING)  # the names that others need are hard to guess
    assert {("POST /v1/commands", status) for status in (415, 422)} <= seen
    assert is_file == any(
        label in MODIFYING and status == 409 for label, status in seen if label != "POST /v1/speakers"
    )


def test_the_answers_to_clips_are_as_the_document_says(door: Door, spoken: Spoken) -> None:
    schema = schemathesis.openapi.from_asgi("/openapi.json", door.app)
    answers = [
        schema["/v1/commands"]["POST"].Case(query=query, body=body, media_type=kind).call_and_validate()
        for defense in door.gateway.recognizer.defenses
        for query in ({"defense": defense}, {"defense": defense, "speaker": spoken.speaker})
        for body, kind in (
            (spoken.data, "audio/wav"),
            (encoded(spoken.pcm[0], RATE, "FLAC"), "audio/flac"),
            (bytes(32_000), "audio/L16;rate=16000"),
            ({"audio": spoken.data}, "multipart/form-data"),
        )
    ]
    assert {answer.status_code for answer in answers} == {200}
    assert {answer.json()["decision"] for answer in answers} == {"accept", "abstain"}


def test_the_answers_to_a_label_are_as_the_document_says(door: Door, spoken: Spoken) -> None:
    schema = schemathesis.openapi.from_asgi("/openapi.json", door.app)
    request_id = door.decide(spoken.data, defense="none").json()["request_id"]
    label = schema["/v1/commands/{request_id}/label"]["POST"].Case(
        path_parameters={"request_id": request_id}, body={"command": spoken.command}, media_type="application/json"
    )
    assert label.call_and_validate().status_code == 200
    assert label.call_and_validate().status_code == 409


def document_of(door: Door) -> dict[str, Any]:
    document: dict[str, Any] = door.ask("GET", "/openapi.json").json()
    return document


def examples_in(document: dict[str, Any]) -> Iterator[tuple[str, Any, Any]]:
    """Where, schema, value of each example of a body; a schema by itself counts its own."""
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            bodies = {"request": operation.get("requestBody", {}), **operation["responses"]}
            for where, body in bodies.items():
                for content in body.get("content", {}).values():
                    named = {name: one["value"] for name, one in content.get("examples", {}).items()}
                    if "example" in content:
                        named["example"] = content["example"]
                    for name, value in named.items():
                        yield f"{method} {path} {where} {name}", content["schema"], value
    for name, schema in document["components"]["schemas"].items():
        for value in schema.get("examples", []):
            yield name, schema, value


def test_every_example_is_valid_by_its_schema(door: Door) -> None:
    document = document_of(door)
    found = list(examples_in(document))
    for where, schema, value in found:
        whole = {**schema, "components": document["components"]}
        errors = [error.message for error in jsonschema_rs.Draft202012Validator(whole).iter_errors(value)]
        assert errors == [], where
    places = {where for where, _, _ in found}
    assert {"post /v1/commands 200 accept", "post /v1/commands 200 abstain", "post /v1/commands 503 example"} <= places
    assert {"LabelRequest", "EnrolBody", "SpeakerBody"} <= places


def test_every_operation_has_an_example_of_its_success_and_of_each_error(door: Door) -> None:
    shown = {where.rsplit(" ", 1)[0] for where, _, _ in examples_in(document_of(door))}
    for path, methods in document_of(door)["paths"].items():
        for method, operation in methods.items():
            for status in operation["responses"]:
                assert f"{method} {path} {status}" in shown


@pytest.mark.parametrize(
    ("path", "allowed"),
    [
        ("/v1/speakers", "GET, POST"),
        ("/v1/speakers/s-17", "DELETE, GET, PUT"),
        ("/v1/commands", "POST"),
        ("/docs", "GET, HEAD"),
        ("/openapi.json", "GET, HEAD"),
    ],
)
def test_a_method_that_is_not_taken_is_told_all_that_are(door: Door, path: str, allowed: str) -> None:
    answer = door.ask("PATCH", path)
    assert answer.status_code == 405
    assert answer.headers["allow"] == allowed
    for method in allowed.split(", "):
        assert door.ask(method, path).status_code != 405
