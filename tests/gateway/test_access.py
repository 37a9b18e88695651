"""Who gets in, over raw ASGI: keys, roles, rates, WebSockets, and nobody by mistake."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from starlette.routing import compile_path
from starlette.types import Message, Receive, Scope, Send

from gateway.access.keys import Keyring, add_key, revoke_key
from gateway.access.rates import Rates
from gateway.access.routes import ROUTES, WEBSOCKET, Role, route_of
from gateway.middleware.access import Access
from gateway.middleware.log import noted

LABEL = "/v1/commands/1b671a64-40d5-491e-99b0-da01ff1f3341/label"
OPEN = ("/livez", "/readyz", "/healthz", "/docs", "/openapi.json", "/static_content/swagger-ui.css")
ANYBODY, ROBOT, METRICS = {"robot", "metrics", "operator"}, {"robot", "operator"}, {"metrics", "operator"}
ALLOWED = {
    ("POST", "/v1/commands"): ROBOT,
    ("POST", LABEL): ROBOT,
    (WEBSOCKET, "/v1/stream"): ROBOT,
    ("GET", "/v1/model"): ANYBODY,
    ("GET", "/metrics"): METRICS,
    ("GET", "/v1/fairness"): METRICS,
    ("GET", "/fairness"): METRICS,
    ("GET", "/v1/speakers"): {"operator"},
    ("POST", "/v1/speakers"): {"operator"},
    ("DELETE", "/v1/speakers/s-17"): {"operator"},
    # What the table does not know is an operator's, however it is written.
    ("GET", "/"): {"operator"},
    ("GET", "/docs.json"): {"operator"},
    ("GET", "/schema.json"): {"operator"},
    ("GET", "/v1/anything/new"): {"operator"},
    ("DELETE", "/v1/commands"): {"operator"},
    ("POST", "/v1/commands/"): {"operator"},
    ("POST", "//v1/commands"): {"operator"},
    ("POST", "/v1/Commands"): {"operator"},
    ("GET", "/metrics\n"): {"operator"},
    ("GET", "/livez/../metrics"): {"operator"},
    ("GET", "/static_content/../metrics"): {"operator"},
    ("GET", "/v1/stream"): {"operator"},
    (WEBSOCKET, "/v1/commands"): {"operator"},
    (WEBSOCKET, "/livez"): {"operator"},
    ("POST", "/v1/commands/a/b/label"): {"operator"},
}


class Inner:
    """An application that says that it was reached."""

    def __init__(self) -> None:
        self.reached: list[Scope] = []

    async def __call__(self, scope: Scope, _: Receive, send: Send) -> None:
        self.reached.append(scope)
        if scope["type"] == "websocket":
            await send({"type": "websocket.accept"})
        else:
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b""})


def scope_of(
    method: str, path: str, headers: dict[str, str] | None = None, client: str | None = "127.0.0.1", **more: Any
) -> Scope:
    """A connection as uvicorn describes it."""
    raw = {"host": "127.0.0.1:3000", **(headers or {})}
    return {
        "type": "websocket" if method == WEBSOCKET else "http",
        **({} if method == WEBSOCKET else {"method": method}),
        "path": path,
        "query_string": b"",
        "headers": [(name.encode(), value.encode()) for name, value in raw.items()],
        "client": None if client is None else (client, 1234),
        "extensions": {"websocket.http.response": {}},
        "subprotocols": [],
        **more,
    }


def ask(app: Any, scope: Scope) -> list[Message]:
    """What is sent for one connection, none of whose body may be read."""
    sent: list[Message] = []

    async def unread() -> Message:
        raise AssertionError("the body was read")

    async def send(message: Message) -> None:
        sent.append(message)

    asyncio.run(app(scope, unread, send))
    return sent


def status_of(sent: list[Message]) -> int:
    first = sent[0]
    return 101 if first["type"] == "websocket.accept" else int(first["status"])


def headers_of(sent: list[Message]) -> dict[str, str]:
    return {name.decode(): value.decode() for name, value in sent[0]["headers"]}


def bearer(key: str) -> dict[str, str]:
    return {"authorization": f"Bearer {key}"}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "keys.json"


@pytest.fixture
def keys(path: Path) -> dict[str, str]:
    return {role.value: add_key(path, role=role, name="a") for role in Role}


@pytest.fixture
def inner() -> Inner:
    return Inner()


@pytest.fixture
def guarded(inner: Inner, keys: dict[str, str], path: Path) -> Access:
    assert keys
    return Access(inner, keyring=Keyring(path), per_minute=1000)


@pytest.mark.parametrize(("method", "path_asked"), ALLOWED, ids=lambda part: repr(part))
def test_each_role_reaches_its_own_and_nothing_else(
    guarded: Access, inner: Inner, keys: dict[str, str], method: str, path_asked: str
) -> None:
    for role, key in keys.items():
        inner.reached.clear()
        status = status_of(ask(guarded, scope_of(method, path_asked, bearer(key))))
        is_allowed = role in ALLOWED[method, path_asked]
        assert bool(inner.reached) == is_allowed, role
        assert status == ((101 if method == WEBSOCKET else 200) if is_allowed else 403), role
    inner.reached.clear()
    assert status_of(ask(guarded, scope_of(method, path_asked))) == 401
    assert inner.reached == []


@pytest.mark.parametrize("path_asked", OPEN)
def test_probes_and_documentation_need_no_key(guarded: Access, path_asked: str) -> None:
    for method in ("GET", "HEAD"):
        assert status_of(ask(guarded, scope_of(method, path_asked))) == 200
    assert status_of(ask(guarded, scope_of("POST", path_asked))) == 401


def test_a_refusal_is_a_problem_that_holds_and_says_how_to_come_in(guarded: Access, keys: dict[str, str]) -> None:
    for headers, status in (({}, 401), (bearer(keys["metrics"]), 403)):
        for method, path_asked in (("POST", "/v1/commands"), (WEBSOCKET, "/v1/stream")):
            sent = ask(guarded, scope_of(method, path_asked, headers))
            assert sent[0]["type"].removeprefix("websocket.") == "http.response.start"
            body = json.loads(b"".join(message["body"] for message in sent[1:]))
            assert (body["status"], body["decision"], body["safe_action"]) == (status, "abstain", "hold")
            assert headers_of(sent)["content-type"] == "application/problem+json"
            assert headers_of(sent).get("www-authenticate", "").startswith("Bearer") == (status == 401)


def test_a_server_that_cannot_answer_a_websocket_closes_it_before_it_is_accepted(guarded: Access) -> None:
    sent = ask(guarded, scope_of(WEBSOCKET, "/v1/stream", extensions={}))
    assert sent == [{"type": "websocket.close", "code": 1008}]


@pytest.mark.parametrize(
    "header", ["", "Bearer", "Bearer ", "Basic {}", "{}", "Bearer Bearer {}", "Bearer {}x", "Token {}", "Bearer {} {}"]
)
def test_a_key_that_is_not_shown_as_a_bearer_token_is_none(guarded: Access, keys: dict[str, str], header: str) -> None:
    shown = {"authorization": header.replace("{}", keys["operator"])}
    assert status_of(ask(guarded, scope_of("GET", "/metrics", shown))) == 401


def test_the_word_bearer_is_read_in_any_case(guarded: Access, keys: dict[str, str]) -> None:
    for word in ("bearer", "BEARER"):
        shown = {"authorization": f"{word} {keys['operator']}"}
        assert status_of(ask(guarded, scope_of("GET", "/metrics", shown))) == 200


def test_a_key_in_the_query_opens_nothing(guarded: Access, keys: dict[str, str]) -> None:
    query = f"key={keys['operator']}&access_token={keys['operator']}".encode()
    assert status_of(ask(guarded, scope_of("GET", "/metrics", query_string=query))) == 401


def test_a_browser_shows_its_key_as_a_subprotocol_which_is_neither_passed_on_nor_sent_back(
    guarded: Access, inner: Inner, keys: dict[str, str]
) -> None:
    offered = ["evenvoice.v1", f"evenvoice.key.{keys['robot']}"]
    headers = {"sec-websocket-protocol": ", ".join(offered)}
    sent = ask(guarded, scope_of(WEBSOCKET, "/v1/stream", headers, subprotocols=offered))
    assert sent == [{"type": "websocket.accept", "subprotocol": "evenvoice.v1"}]
    assert inner.reached[0]["subprotocols"] == ["evenvoice.v1"]
    assert keys["robot"] not in repr(inner.reached[0])
    wrong = ["evenvoice.v1", f"evenvoice.key.{keys['metrics']}"]
    assert status_of(ask(guarded, scope_of(WEBSOCKET, "/v1/stream", subprotocols=wrong))) == 403


def test_a_client_that_offers_no_protocol_gets_none_chosen(guarded: Access, keys: dict[str, str]) -> None:
    assert ask(guarded, scope_of(WEBSOCKET, "/v1/stream", bearer(keys["robot"]))) == [{"type": "websocket.accept"}]


def test_the_keys_id_is_noted_and_its_secret_is_not(guarded: Access, keys: dict[str, str]) -> None:
    scope = scope_of("POST", "/v1/commands", bearer(keys["robot"]))
    ask(guarded, scope)
    assert noted(scope).key == keys["robot"].split("_")[1]


def test_a_revoked_key_and_a_file_that_is_gone_open_nothing(inner: Inner, keys: dict[str, str], path: Path) -> None:
    now = [0.0]
    guarded = Access(inner, keyring=Keyring(path, lambda: now[0]), per_minute=1000)
    revoke_key(path, keys["robot"].split("_")[1])
    assert status_of(ask(guarded, scope_of("POST", "/v1/commands", bearer(keys["robot"])))) == 401
    assert status_of(ask(guarded, scope_of("GET", "/metrics", bearer(keys["metrics"])))) == 200
    path.unlink()
    now[0] = 2.0
    for key in keys.values():
        assert status_of(ask(guarded, scope_of("GET", "/metrics", bearer(key)))) == 401


def test_a_key_above_its_rate_gets_429_and_others_and_probes_do_not(
    guarded: Access, path: Path, keys: dict[str, str]
) -> None:
    slow = add_key(path, role=Role.ROBOT, name="slow", per_minute=5)
    answers = [ask(guarded, scope_of("POST", "/v1/commands", bearer(slow))) for _ in range(7)]
    assert [status_of(sent) for sent in answers] == [200] * 5 + [429] * 2
    assert 1 <= int(headers_of(answers[-1])["retry-after"]) <= 12
    assert json.loads(answers[-1][1]["body"])["decision"] == "abstain"
    assert status_of(ask(guarded, scope_of("POST", "/v1/commands", bearer(keys["robot"])))) == 200
    assert status_of(ask(guarded, scope_of("GET", "/livez", bearer(slow)))) == 200


def test_the_setting_limits_a_key_that_has_no_rate_of_its_own(inner: Inner, keys: dict[str, str], path: Path) -> None:
    guarded = Access(inner, keyring=Keyring(path), per_minute=3)
    statuses = [status_of(ask(guarded, scope_of("GET", "/metrics", bearer(keys["metrics"])))) for _ in range(4)]
    assert statuses == [200, 200, 200, 429]


def test_wrong_keys_of_one_address_share_a_bucket_and_lock_no_right_key_out(
    guarded: Access, keys: dict[str, str]
) -> None:
    def guess(i: int, client: str) -> int:
        wrong = f"ev_{i:012x}_{'A' * 43}"
        return status_of(ask(guarded, scope_of("GET", "/metrics", bearer(wrong), client)))

    assert Counter(guess(i, "192.0.2.1") for i in range(40)) == {401: 30, 429: 10}
    assert guess(0, "192.0.2.2") == 401
    assert status_of(ask(guarded, scope_of("GET", "/metrics", bearer(keys["metrics"]), "192.0.2.1"))) == 200


def test_all_addresses_of_an_ipv6_network_share_a_bucket(guarded: Access) -> None:
    def refused(client: str) -> int:
        return status_of(ask(guarded, scope_of("GET", "/metrics", client=client)))

    assert {refused(f"2001:db8::{i:x}") for i in range(1, 31)} == {401}
    assert refused("2001:db8::ffff") == 429
    assert refused("2001:db8:0:1::1") == 401
    assert refused("::ffff:192.0.2.1") == refused("::ffff:192.0.2.2") == 401


@pytest.mark.parametrize(
    ("client", "host", "origin"),
    [
        ("127.0.0.1", "127.0.0.1:3000", None),
        ("127.0.0.1", "localhost:3000", None),
        ("::1", "[::1]:3000", None),
        ("127.0.0.1", "localhost:3000", "http://localhost:3000"),
    ],
)
def test_without_keys_programs_on_this_machine_are_served(
    inner: Inner, client: str, host: str, origin: str | None
) -> None:
    anonymous = Access(inner, keyring=None, per_minute=1)
    headers = {"host": host} | ({"origin": origin} if origin else {})
    for method, path_asked in (("POST", "/v1/commands"), (WEBSOCKET, "/v1/stream"), ("GET", "/metrics")):
        assert status_of(ask(anonymous, scope_of(method, path_asked, headers, client))) in (200, 101)


@pytest.mark.parametrize(
    ("client", "host", "origin"),
    [
        ("192.0.2.1", "127.0.0.1:3000", None),  # another machine
        (None, "127.0.0.1:3000", None),
        ("127.0.0.1", "evil.example:3000", None),  # a name that was pointed at this machine
        ("127.0.0.1", "127.0.0.1.evil.example", None),
        ("127.0.0.1", "localhost.evil.example", None),
        ("127.0.0.1", "127.0.0.1:3000", "https://evil.example"),  # a page from elsewhere
        ("127.0.0.1", "127.0.0.1:3000", "null"),
        ("127.0.0.1", "127.0.0.1:3000", "http://[::1"),
        ("127.0.0.1", "", None),
    ],
)
def test_without_keys_nobody_else_is_served_unless_it_is_said(
    inner: Inner, client: str | None, host: str, origin: str | None
) -> None:
    headers = {"host": host} | ({"origin": origin} if origin else {})
    anonymous = Access(inner, keyring=None, per_minute=1)
    for method, path_asked in (("POST", "/v1/commands"), (WEBSOCKET, "/v1/stream"), ("GET", "/metrics")):
        assert status_of(ask(anonymous, scope_of(method, path_asked, headers, client))) == 401
    assert inner.reached == []
    assert status_of(ask(anonymous, scope_of("GET", "/livez", headers, client))) == 200
    everybody = Access(inner, keyring=None, per_minute=1, allow_anonymous=True)
    assert status_of(ask(everybody, scope_of("POST", "/v1/commands", headers, client))) == 200


def test_allow_anonymous_opens_nothing_where_there_are_keys(inner: Inner, keys: dict[str, str], path: Path) -> None:
    assert keys
    guarded = Access(inner, keyring=Keyring(path), per_minute=1000, allow_anonymous=True)
    assert status_of(ask(guarded, scope_of("POST", "/v1/commands"))) == 401


def test_what_is_no_connection_passes(guarded: Access) -> None:
    passed: list[str] = []

    async def inner(scope: Scope, *_: Any) -> None:
        passed.append(scope["type"])

    guarded.app = inner
    ask_lifespan = guarded({"type": "lifespan"}, None, None)  # type: ignore[arg-type]
    with pytest.raises(StopIteration):
        ask_lifespan.send(None)
    assert passed == ["lifespan"]


def simulated(per_minute: int, gaps: list[float]) -> list[bool]:
    """A token bucket by the book, in exact steps of a minute's share."""
    tokens, answers = float(per_minute), []
    for gap in gaps:
        tokens = min(per_minute, tokens + gap * per_minute / 60)
        answers.append(tokens >= 1)
        tokens -= tokens >= 1
    return answers


def test_a_bucket_fills_as_the_book_says() -> None:
    now = [0.0]
    rates = Rates(10, lambda: now[0])
    gaps = [0.0] * 8 + [1.0] * 20 + [90.0] + [0.25] * 40 + [7.0] * 10
    answers = []
    for gap in gaps:
        now[0] += gap
        answers.append(rates.take("a", 6) == 0)
    assert answers == simulated(6, gaps)
    assert sum(answers[:8]) == 6


def test_the_seconds_to_wait_are_right_to_the_moment() -> None:
    now = [0.0]
    rates = Rates(10, lambda: now[0])
    assert rates.take("a", 1) == 0
    now[0] = 20.0
    assert rates.take("a", 1) == pytest.approx(40.0)
    now[0] = 59.999
    assert rates.take("a", 1) > 0
    now[0] = 60.0
    assert rates.take("a", 1) == 0


def test_buckets_are_bounded_and_the_one_asked_for_is_kept() -> None:
    now = [0.0]
    rates = Rates(3, lambda: now[0])
    for i in range(1000):
        rates.take("always", 1)
        rates.take(f"stranger {i}", 1)
        assert len(rates) <= 3
    assert rates.take("always", 1) > 0


def test_a_route_is_named_by_its_template_and_a_path_by_nothing_that_a_client_wrote() -> None:
    assert route_of(scope_of("POST", LABEL)).template == "/v1/commands/{request_id}/label"
    assert route_of(scope_of("PATCH", LABEL)).template == "/v1/commands/{request_id}/label"
    assert route_of(scope_of("DELETE", "/v1/speakers/Mrs%20Smith")).template == "/v1/speakers/{speaker}"
    assert route_of(scope_of("GET", "/Mrs Smith")).template == "other"
    assert not any(route.is_open and route.roles for route in ROUTES)


def test_a_path_that_looks_like_a_template_is_read_as_a_path() -> None:
    assert route_of(scope_of("POST", "/v1/commands/{request_id}/label")).template == "/v1/commands/{request_id}/label"
    assert route_of(scope_of("GET", "/static_content/{file}")).is_open  # a file of that name, which is not there
    assert route_of(scope_of("GET", "/v1/{name}")).template == "other"


def test_patterns_match_what_starlettes_router_matches() -> None:
    paths = [path for _, path in ALLOWED] + [
        LABEL + "/", LABEL + "\n", "/v1/commands//label", "/v1/commands/%2F/label", "/v1/speakers/", "/v1/speakers/a/b",
    ]  # fmt: skip
    for route in ROUTES:
        theirs, _, _ = compile_path(route.template)
        for path in paths:
            ours = route_of(scope_of(route.method, path)).template == route.template
            if ours:
                assert theirs.match(path), (route, path)  # what opens for us is the same route for the router
            elif not path.endswith("\n"):  # "$" lets a line's end pass, which is an operator's here
                assert not theirs.match(path), (route, path)
