"""Every error is a problem that holds the robot, and says when to come again."""

from __future__ import annotations

import json
from typing import Any

import pytest

from gateway import problems
from recognizer import audio


def subclasses(kind: type) -> set[type]:
    return {kind}.union(*(subclasses(c) for c in kind.__subclasses__())) if kind.__subclasses__() else {kind}


@pytest.mark.parametrize("kind", sorted(subclasses(problems.Problem), key=lambda k: k.__name__))
def test_every_kind_of_problem_is_an_error_and_holds(kind: Any) -> None:
    answer = problems.response(kind.status, kind.title, "why", retry_after=kind.retry_after)
    body = json.loads(answer.body)
    assert 400 <= answer.status_code < 600
    assert answer.media_type == "application/problem+json"
    assert (body["decision"], body["safe_action"], body["detail"]) == ("abstain", "hold", "why")
    assert ("retry-after" in answer.headers) == (answer.status_code in (429, 503))


@pytest.mark.parametrize("kind", sorted(subclasses(audio.AudioError), key=lambda k: k.__name__))
def test_every_kind_of_bad_clip_is_an_error_or_an_abstention(kind: Any) -> None:
    assert 400 <= kind.status < 500
    assert kind.title


def test_the_details_refuse_to_carry_an_acceptance() -> None:
    with pytest.raises(ValueError, match="abstain"):
        problems.ProblemDetails(title="t", status=500, detail="d", decision="accept")  # type: ignore[arg-type]
