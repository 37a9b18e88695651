"""The byte limit, with and without a declared length."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from robot import Door, Spoken, ask, assert_problem

from gateway.middleware.body_limit import BodyLimit
from gateway.problems import BodyTooLarge

LIMIT = 100_000
BOUNDARY = "multipart/form-data; boundary=x"
FORM = b'--x\r\nContent-Disposition: form-data; name="audio"; filename="a.wav"\r\n\r\n'


@pytest.fixture
def limited(door: Door) -> BodyLimit:
    return BodyLimit(door.app, max_bytes=LIMIT)


class Chunks:
    """A body sent without a length, in parts; counts those that were taken."""

    def __init__(self, part: bytes, count: int) -> None:
        self.part, self.count, self.taken = part, count, 0

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for _ in range(self.count):
            self.taken += 1
            yield self.part


def post(app: Any, body: Any, kind: str, path: str = "/v1/commands") -> Any:
    return ask(app, "POST", path, content=body, headers={"content-type": kind})


@pytest.mark.parametrize("kind", ["audio/wav", "audio/L16;rate=16000", BOUNDARY])
def test_a_body_that_says_it_is_too_large_is_refused_unread(limited: BodyLimit, kind: str) -> None:
    detail = assert_problem(post(limited, FORM + bytes(LIMIT), kind), 413)["detail"]
    assert f"{LIMIT:,}" in detail


@pytest.mark.parametrize("kind", ["audio/wav", "audio/L16;rate=16000", BOUNDARY])
def test_a_body_without_a_length_is_refused_as_soon_as_it_is_too_large(limited: BodyLimit, kind: str) -> None:
    body = Chunks(FORM + bytes(10_000), 1000)
    assert_problem(post(limited, body, kind), 413)
    assert body.taken <= LIMIT // 10_000 + 1


def test_a_label_without_a_length_has_the_same_limit(limited: BodyLimit) -> None:
    path = "/v1/commands/1b671a64-40d5-491e-99b0-da01ff1f3341/label"
    assert_problem(post(limited, Chunks(bytes(10_000), 1000), "application/json", path), 413)


def test_a_length_that_is_a_lie_does_not_help(limited: BodyLimit) -> None:
    header = {"content-type": "audio/wav", "content-length": "10"}
    answer = ask(limited, "POST", "/v1/commands", content=Chunks(bytes(10_000), 1000), headers=header)
    assert_problem(answer, 413)


def test_a_clip_under_the_limit_is_decided_with_and_without_a_length(door: Door, spoken: Spoken) -> None:
    exact = BodyLimit(door.app, max_bytes=len(spoken.data))
    assert post(exact, spoken.data, "audio/wav").status_code == 200
    assert post(exact, Chunks(spoken.data, 1), "audio/wav").status_code == 200
    assert_problem(post(BodyLimit(door.app, max_bytes=len(spoken.data) - 1), spoken.data, "audio/wav"), 413)


def test_what_is_no_http_passes() -> None:
    passed: list[str] = []

    async def inner(scope: Any, *_: Any) -> None:
        passed.append(scope["type"])

    coroutine = BodyLimit(inner, max_bytes=1)({"type": "lifespan"}, None, None)  # type: ignore[arg-type]
    with pytest.raises(StopIteration):
        coroutine.send(None)
    assert passed == ["lifespan"]


def test_the_problem_has_the_status_of_its_kind() -> None:
    assert BodyTooLarge.status == 413
