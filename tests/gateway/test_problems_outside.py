"""Errors that the application did not make leave as problems: other routers' words, faults, and silence."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest
from robot import ask, assert_problem
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route, WebSocketRoute
from starlette.types import Message, Receive, Scope, Send
from starlette.websockets import WebSocket

from gateway.middleware.body_limit import BodyLimit
from gateway.middleware.plain_errors import PlainErrors
from gateway.problems import MEDIA_TYPE, Overloaded


async def fails(_: Request) -> Response:
    raise RuntimeError("who spoke: s-17")


async def is_busy(_: Request) -> Response:
    raise Overloaded("32 commands are under way")


async def never_comes(_: Request) -> Response:
    await asyncio.sleep(60)
    raise AssertionError("it came")


async def trickles(_: Request) -> Response:
    async def parts() -> AsyncIterator[bytes]:
        for _ in range(4):
            await asyncio.sleep(0.1)
            yield b"part "

    return StreamingResponse(parts())


async def breaks_off(_: Request) -> Response:
    async def parts() -> AsyncIterator[bytes]:
        yield b"part "
        raise RuntimeError

    return StreamingResponse(parts())


async def waits_in_vain(_: Request) -> Response:
    raise TimeoutError


async def takes_a_body(request: Request) -> Response:
    return PlainTextResponse(str(len(await request.body())))


def answered(response: Response) -> Any:
    async def endpoint(_: Request) -> Response:
        return response

    return endpoint


async def talks(socket: WebSocket) -> None:
    await socket.accept()
    for _ in range(3):
        await asyncio.sleep(0.1)
        await socket.send_text("still here")
    await socket.close()


async def talks_and_fails(socket: WebSocket) -> None:
    await socket.accept()
    raise RuntimeError


ROUTER = Starlette(
    routes=[
        Route("/fails", fails),
        Route("/busy", is_busy),
        Route("/silent", never_comes),
        Route("/trickles", trickles),
        Route("/breaks", breaks_off),
        Route("/waits", waits_in_vain),
        Route("/body", takes_a_body, methods=["POST"]),
        Route("/bento", answered(JSONResponse({"error": "Too many requests"}, 429, {"Retry-After": "7"}))),
        Route("/dead", answered(PlainTextResponse("Service Unavailable", 503))),
        Route("/odd", answered(PlainTextResponse("?", 499))),
        Route("/ours", answered(JSONResponse({"mine": True}, 422, media_type=MEDIA_TYPE))),
        Route("/fine", answered(PlainTextResponse("fine"))),
        Route("/moved", answered(Response(status_code=307, headers={"Location": "/fine"}))),
        WebSocketRoute("/talks", talks),
        WebSocketRoute("/talks-and-fails", talks_and_fails),
    ]
)
"""A router that answers errors as text, as BentoML's does."""
PLAIN = PlainErrors(ROUTER, start_seconds=0.2)


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/nowhere", 404),
        ("DELETE", "/fine", 405),
        ("GET", "/bento", 429),
        ("GET", "/dead", 503),
        ("GET", "/odd", 499),
    ],
)
def test_text_and_foreign_json_become_problems_of_the_same_status(method: str, path: str, status: int) -> None:
    assert ask(ROUTER, method, path).headers["content-type"] != MEDIA_TYPE
    body = assert_problem(ask(PLAIN, method, path), status)
    assert body["detail"]


def test_what_says_how_to_do_better_is_kept() -> None:
    assert set(ask(PLAIN, "DELETE", "/fine").headers["allow"].split(", ")) == {"GET", "HEAD"}
    assert ask(PLAIN, "GET", "/bento").headers["retry-after"] == "7"


def test_problems_answers_and_redirections_pass_as_they_are() -> None:
    for path in ("/ours", "/fine", "/moved"):
        plain, bare = ask(PLAIN, "GET", path), ask(ROUTER, "GET", path)
        assert (plain.status_code, plain.headers, plain.content) == (bare.status_code, bare.headers, bare.content)


def test_a_fault_is_a_problem_at_once_and_its_words_are_not_told(caplog: pytest.LogCaptureFixture) -> None:
    async def raises(*_: Any) -> None:
        raise RuntimeError("who spoke: s-17")

    with caplog.at_level(logging.ERROR, logger="gateway"):
        for app in (PlainErrors(raises), PLAIN):
            began = time.monotonic()
            answer = ask(app, "GET", "/fails")
            assert time.monotonic() - began < 5
            assert_problem(answer, 500)
            assert "s-17" not in answer.text
    assert [record.exc_info is not None for record in caplog.records] == [True, True]


def test_a_problem_that_is_raised_past_the_application_keeps_its_status_and_header() -> None:
    async def raises(*_: Any) -> None:
        raise Overloaded("busy")

    answer = ask(PlainErrors(raises), "GET", "/")
    assert_problem(answer, 503)
    assert answer.headers["retry-after"] == "1"


def test_a_body_that_grows_too_large_is_413_through_a_router_that_knows_nothing_of_it() -> None:
    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(10):
            yield bytes(1000)

    app = PlainErrors(BodyLimit(ROUTER, max_bytes=5000))
    assert_problem(ask(app, "POST", "/body", content=chunks()), 413)
    assert ask(app, "POST", "/body", content=bytes(5000)).text == "5000"


def test_silence_ends_in_504_and_what_was_under_way_is_cancelled() -> None:
    began = time.monotonic()
    assert_problem(ask(PLAIN, "GET", "/silent"), 504)
    assert 0.2 <= time.monotonic() - began < 5


def test_an_application_that_answers_when_it_is_cancelled_is_not_heard() -> None:
    async def stubborn(_: Scope, __: Receive, send: Send) -> None:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            await send({"type": "http.response.start", "status": 200, "headers": []})
            raise

    assert_problem(ask(PlainErrors(stubborn, start_seconds=0.05), "GET", "/"), 504)


def test_an_answer_that_was_begun_may_take_its_time() -> None:
    assert ask(PLAIN, "GET", "/trickles").text == "part " * 4  # 0.4 s, twice the limit


def test_a_timeout_of_the_applications_own_is_a_fault_of_its_own() -> None:
    assert_problem(ask(PLAIN, "GET", "/waits"), 500)


def test_an_answer_that_breaks_off_is_not_followed_by_a_second_one() -> None:
    sent = messages_of(PLAIN, {"type": "http", "method": "GET", "path": "/breaks"})
    assert [m["type"] for m in sent].count("http.response.start") == 1
    assert not any(m["type"] == "http.response.body" and not m.get("more_body") for m in sent)


def test_a_websocket_outlives_the_limit_and_a_fault_in_one_closes_it() -> None:
    sent = messages_of(PLAIN, {"type": "websocket", "path": "/talks"})
    assert [m["type"] for m in sent] == ["websocket.accept", *["websocket.send"] * 3, "websocket.close"]
    sent = messages_of(PLAIN, {"type": "websocket", "path": "/talks-and-fails"})
    assert [m["type"] for m in sent] == ["websocket.accept", "websocket.close"]
    assert sent[-1]["code"] == 1011


def messages_of(app: Any, scope: Scope) -> list[Message]:
    """Everything that is sent for one connection without a body."""
    sent: list[Message] = []
    came = iter([{"type": "websocket.connect"} if scope["type"] == "websocket" else {"type": "http.request"}])

    async def receive() -> Message:
        for message in came:
            return message
        await asyncio.sleep(60)  # nothing more comes, and the client stays
        raise AssertionError("it came")

    async def send(message: Message) -> None:
        sent.append(message)

    full = {"query_string": b"", "headers": [], "subprotocols": [], "root_path": "", "extensions": {}, **scope}
    asyncio.run(app(full, receive, send))
    return sent
