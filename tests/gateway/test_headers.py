"""Every answer tells a browser to store, guess and load nothing; the documentation may load its own files."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from robot import ask
from starlette.responses import PlainTextResponse, Response
from starlette.types import Message, Receive, Scope, Send

from gateway.middleware.headers import SecurityHeaders


def policy_of(answer: Any) -> dict[str, list[str]]:
    """directive -> sources."""
    parts = [part.split() for part in answer.headers["content-security-policy"].split(";")]
    return {name: sources for name, *sources in parts}


@pytest.mark.parametrize("path", ["/v1/commands", "/livez", "/metrics", "/", "/docs.json", "/static_content/x.js"])
@pytest.mark.parametrize("status", [200, 401, 500])
def test_an_answer_is_not_stored_not_guessed_and_loads_nothing(path: str, status: int) -> None:
    answer = ask(SecurityHeaders(PlainTextResponse("x", status_code=status)), "GET", path)
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["referrer-policy"] == "no-referrer"
    policy = policy_of(answer)
    assert policy["default-src"] == policy["frame-ancestors"] == ["'none'"]
    assert not any(name.endswith("-src") for name in policy if name != "default-src")


def test_the_documentation_loads_from_the_server_only_and_is_in_no_frame() -> None:
    policy = policy_of(ask(SecurityHeaders(Response("x")), "GET", "/docs"))
    assert policy["default-src"] == policy["frame-ancestors"] == ["'none'"]
    assert policy["connect-src"] == ["'self'"]
    sources = {source for name, found in policy.items() if name.endswith("-src") for source in found}
    assert sources == {"'none'", "'self'", "'unsafe-inline'", "data:"}  # no host, no scheme that reaches outside


def test_the_fairness_page_may_use_one_style_and_no_script() -> None:
    policy = policy_of(ask(SecurityHeaders(Response("x")), "GET", "/fairness"))
    sources = {name: found for name, found in policy.items() if name.endswith("-src")}
    (style,) = sources.pop("style-src")
    assert style.startswith("'sha256-")
    assert sources == {"default-src": ["'none'"], "img-src": ["data:"]}
    assert policy["frame-ancestors"] == policy["base-uri"] == policy["form-action"] == ["'none'"]


def test_what_the_application_says_of_these_is_replaced_and_the_rest_is_kept() -> None:
    inner = Response("x", headers={"Cache-Control": "public", "Allow": "GET", "Retry-After": "3"})
    answer = ask(SecurityHeaders(inner), "GET", "/v1/model")
    assert answer.headers.get_list("cache-control") == ["no-store"]
    assert (answer.headers["allow"], answer.headers["retry-after"]) == ("GET", "3")


def test_a_refused_websocket_has_them_too_and_an_accepted_one_is_left_alone() -> None:
    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    async def refuse(_: Scope, __: Receive, send: Send) -> None:
        await send({"type": "websocket.http.response.start", "status": 401, "headers": []})

    async def accept(_: Scope, __: Receive, send: Send) -> None:
        await send({"type": "websocket.accept"})

    for inner in (refuse, accept):
        asyncio.run(SecurityHeaders(inner)({"type": "websocket", "path": "/v1/stream"}, None, send))  # type: ignore[arg-type]
    assert (b"cache-control", b"no-store") in sent[0]["headers"]
    assert sent[1] == {"type": "websocket.accept"}
