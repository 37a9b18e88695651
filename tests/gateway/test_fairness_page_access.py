"""Who sees the fairness page: roles as for `/v1/fairness`, and a browser whose user types the key."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import pytest
from robot import ask, assert_problem

from gateway.access.keys import Keyring, add_key
from gateway.access.routes import ROUTES, Role
from gateway.middleware.access import Access


async def inner(_: Any, __: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b""})


@pytest.fixture
def keys(tmp_path: Path) -> dict[str, str]:
    return {role.value: add_key(tmp_path / "keys.json", role=role, name="a") for role in Role}


@pytest.fixture
def guarded(keys: dict[str, str], tmp_path: Path) -> Access:
    assert keys
    return Access(inner, keyring=Keyring(tmp_path / "keys.json"), per_minute=1000)


def basic(password: str, user: str = "me") -> dict[str, str]:
    return {"authorization": "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()}


def test_the_password_of_a_browser_is_the_key_and_its_role_counts(guarded: Access, keys: dict[str, str]) -> None:
    statuses = {role: ask(guarded, "GET", "/fairness", headers=basic(key)).status_code for role, key in keys.items()}
    assert statuses == {"robot": 403, "operator": 200, "metrics": 200}
    bearer = {"authorization": f"Bearer {keys['metrics']}"}
    assert ask(guarded, "GET", "/fairness", headers=bearer).status_code == 200
    assert ask(guarded, "GET", "/fairness", headers=basic(keys["metrics"], user="")).status_code == 200


def test_a_browser_without_a_key_is_asked_for_one(guarded: Access) -> None:
    answer = ask(guarded, "GET", "/fairness")
    assert_problem(answer, 401)
    assert answer.headers["www-authenticate"] == 'Basic realm="evenvoice", charset="UTF-8"'
    assert "as the password" in answer.json()["detail"]


def test_a_password_opens_no_other_path(guarded: Access, keys: dict[str, str]) -> None:
    """A browser that has been told one sends it wherever a page of another site points it."""
    assert [route.template for route in ROUTES if route.is_page] == ["/fairness"]
    for route in ROUTES:
        if route.method in ("WEBSOCKET", "HEAD") or route.is_open or route.is_page:
            continue
        path = route.template.replace("{request_id}", "x").replace("{speaker}", "x")
        answer = ask(guarded, route.method, path, headers=basic(keys["operator"]))
        assert_problem(answer, 401)
        assert answer.headers["www-authenticate"].startswith("Bearer")
    for method in ("POST", "PUT", "DELETE"):
        assert_problem(ask(guarded, method, "/fairness", headers=basic(keys["operator"])), 401)


@pytest.mark.parametrize(
    "header",
    [
        "Basic", "Basic ", "Basic !!!", "Basic {key}", "Basic " + base64.b64encode(b"\xff\xfe:x").decode(),
        "Basic " + base64.b64encode(b"no colon").decode(), "Basic " + base64.b64encode(b"user:").decode(), "Digest x",
    ],
)  # fmt: skip
def test_what_holds_no_password_opens_nothing(guarded: Access, keys: dict[str, str], header: str) -> None:
    shown = {"authorization": header.replace("{key}", keys["operator"])}
    assert_problem(ask(guarded, "GET", "/fairness", headers=shown), 401)


def test_wrong_passwords_of_one_address_are_limited_as_wrong_keys_are(guarded: Access) -> None:
    statuses = [ask(guarded, "GET", "/fairness", headers=basic(f"wrong {i}")).status_code for i in range(32)]
    assert statuses == [401] * 30 + [429] * 2
