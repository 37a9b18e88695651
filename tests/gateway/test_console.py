"""The console over HTTP: who gets which part of it, what the browser is told, and what is served at all."""

from __future__ import annotations

import re
import tomllib
from fnmatch import fnmatch
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from fairness_states import evidence, group, state
from robot import Door, ask, assert_problem
from starlette.responses import Response

from gateway.access.keys import Keyring, add_key
from gateway.access.routes import Role
from gateway.middleware.access import Access
from gateway.middleware.headers import SecurityHeaders
from gateway.pages.console import CONSOLE, STATIC_FILES
from gateway.pages.fairness import Source, fairness_view
from gateway.pages.render import console_panels

STATIC = Path(__file__).parents[2] / "gateway" / "pages" / "static"
HOSTILE = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)>"


class Elements(HTMLParser):
    """Each element's name and attributes, and the text outside of them."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


async def inner(_: Any, __: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b""})


def test_the_page_and_its_files_need_no_key_and_the_figures_one_that_reaches_them(tmp_path: Path) -> None:
    keys = {role.value: add_key(tmp_path / "keys.json", role=role, name="a") for role in Role}
    guarded = Access(inner, keyring=Keyring(tmp_path / "keys.json"), per_minute=1000)
    for path in ("/console", "/console/static/console.js", "/console/static/nothing.js"):
        for method, status in (("GET", 200), ("HEAD", 200), ("POST", 401)):
            assert ask(guarded, method, path).status_code == status, (method, path)
    assert_problem(ask(guarded, "GET", "/console/panels"), 401)
    bearers = {role: {"authorization": f"Bearer {key}"} for role, key in keys.items()}
    found = {role: ask(guarded, "GET", "/console/panels", headers=h).status_code for role, h in bearers.items()}
    assert found == {"robot": 403, "metrics": 200, "operator": 200}
    assert ask(guarded, "GET", "/console/panels").headers["www-authenticate"].startswith("Bearer")


def test_each_file_is_served_as_it_lies_there_and_nothing_else_is(door: Door) -> None:
    assert set(STATIC_FILES) == {path.name for path in STATIC.iterdir()} | {"style.css"}
    for path in STATIC.iterdir():
        answer = ask(door.app, "GET", f"/console/static/{path.name}")
        assert answer.status_code == 200
        assert answer.content == path.read_bytes()
        kind = {".js": "text/javascript", ".css": "text/css"}[path.suffix]
        assert answer.headers["content-type"] == f"{kind}; charset=utf-8"
        assert ask(door.app, "HEAD", f"/console/static/{path.name}").status_code == 200
    for name in ("nothing.js", "..%2fconsole.py", "%2e%2e%2fconsole.py", "%2fetc%2fpasswd", "", "a/b.js", "CONSOLE.js"):
        assert_problem(ask(door.app, "GET", f"/console/static/{name}"), 404)
    assert_problem(ask(door.app, "POST", "/console"), 405)


def test_the_page_loads_only_files_that_there_are(door: Door) -> None:
    page = ask(door.app, "GET", "/console")
    assert (page.status_code, page.text) == (200, CONSOLE)
    elements = Elements(page.text).found
    loaded = [
        attributes.get("src") or attributes.get("href") for tag, attributes in elements if tag in ("script", "link")
    ]
    assert len(loaded) == 4
    for address in loaded:
        assert address == "data:," or ask(door.app, "GET", str(address)).status_code == 200
    imported = {
        name
        for path in STATIC.glob("*.js")
        for name in re.findall(r'(?:from|import|addModule\()\s*"(?:\./|/console/static/)([^"]+)"', path.read_text())
    }
    assert len(imported) > 8
    assert imported | {"console.js", "console.css", "style.css"} == set(STATIC_FILES)


def test_no_part_of_it_names_another_place_stores_anything_or_runs_what_stands_in_the_page() -> None:
    texts = {name: file.text for name, file in STATIC_FILES.items()} | {"console.html": CONSOLE}
    for name, text in texts.items():
        assert not re.search(r"(https?|wss?):|[\"'`(]//", text), name
        for word in ("localStorage", "sessionStorage", "indexedDB", "cookie", "eval(", "Function("):
            assert word not in text, (name, word)
    for tag, attributes in Elements(CONSOLE).found:
        assert not any(attribute.startswith("on") or attribute == "style" for attribute in attributes), tag
        assert tag not in ("style", "iframe", "base", "object")
        assert tag != "script" or attributes == {"type": "module", "src": "/console/static/console.js"}


def test_the_policy_lets_its_own_files_pass_and_no_markup() -> None:
    headers = ask(SecurityHeaders(Response("x")), "GET", "/console").headers
    policy = {name: found for name, *found in (part.split() for part in headers["content-security-policy"].split(";"))}
    sources = {name: found for name, found in policy.items() if name.endswith("-src")}
    assert sources == {
        "default-src": ["'none'"],
        "script-src": ["'self'"],
        "style-src": ["'self'"],
        "connect-src": ["'self'"],
        "img-src": ["data:"],
    }
    assert policy["frame-ancestors"] == policy["base-uri"] == policy["form-action"] == ["'none'"]
    assert (policy["require-trusted-types-for"], policy["trusted-types"]) == (["'script'"], ["panels"])


@pytest.mark.parametrize(
    "path", ["/", "/fairness", "/docs", "/v1/model", "/console/panels", "/console/static/console.js"]
)
def test_the_console_alone_may_ask_for_the_microphone(path: str) -> None:
    def allowed(path: str) -> str:
        return str(ask(SecurityHeaders(Response("x")), "GET", path).headers["permissions-policy"])

    assert "microphone=(self)" in allowed("/console")
    assert "microphone=()" in allowed(path)
    assert all("camera=()" in allowed(of) for of in ("/console", path))


def test_the_panels_are_a_part_of_a_page_in_which_names_stay_words() -> None:
    evil = state(
        group(HOSTILE, HOSTILE, 300, 30, defense=HOSTILE, evidence=evidence(9, is_alarm=True), labelled=(9, 1, 0)),
        group(HOSTILE, HOSTILE + "2", 300, 90, defense=HOSTILE, evidence=evidence(4, speakers=3)),
    )
    model = evil.groups[0].model
    text = console_panels(fairness_view(evil, bundle=HOSTILE, served=Source(HOSTILE, model)))
    elements = Elements(text)
    assert not {"script", "img", "html", "body", "style"} & {tag for tag, _ in elements.found}
    assert not any(name.startswith("on") or name == "style" for _, attributes in elements.found for name in attributes)
    assert elements.text.count(HOSTILE) > 5


def test_the_same_figures_are_the_same_text_and_a_defense_that_is_none_is_refused(door: Door) -> None:
    first, again = (ask(door.app, "GET", "/console/panels") for _ in range(2))
    assert first.status_code == 200
    assert first.text == again.text
    assert "<html" not in first.text
    assert_problem(ask(door.app, "GET", "/console/panels", params={"defense": "magic"}), 422)


def test_an_install_has_the_page_and_its_files() -> None:
    project = tomllib.loads((STATIC.parents[2] / "pyproject.toml").read_text())
    patterns = project["tool"]["setuptools"]["package-data"]["gateway"]
    for path in [*STATIC.iterdir(), STATIC.parent / "console.html", STATIC.parent / "console_panels.html"]:
        name = path.relative_to(STATIC.parents[1]).as_posix()
        assert any(fnmatch(name, pattern) for pattern in patterns), name
