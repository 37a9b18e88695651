"""The console of a gateway that asks for keys, and of one that is gone."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from browser import CHROMIUM
from console_page import Console, console
from robot import Spoken, rows_of
from test_served import Server

from gateway.access.keys import add_key, revoke_key
from gateway.access.routes import Role

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here; Debian's package is chromium")

KEPT = """[...Object.values(localStorage), ...Object.values(sessionStorage), document.cookie, location.href,
           document.documentElement.outerHTML, ...[...document.querySelectorAll('input')].map(i => i.value)].join()"""
ASKED = "!document.querySelector('#key').hidden"


@pytest.fixture
def keys_file(tmp_path: Path) -> Path:
    return tmp_path / "keys.json"


@pytest.fixture
def keys(keys_file: Path) -> dict[str, str]:
    return {role.value: add_key(keys_file, role=role, name="a") for role in Role}


@pytest.fixture
def server(bundle: Path, keys: dict[str, str], keys_file: Path, tmp_path: Path) -> Iterator[Server]:
    assert keys
    environment = {"EVENVOICE_DEADLINE_MS": "3500", "EVENVOICE_VALID_FOR_MS": "4000"}
    started = Server(tmp_path / "home", bundle, ("--keys", str(keys_file)), environment)
    try:
        yield started.ready()
    finally:
        started.kill()


def use(tab: Console, key: str) -> None:
    """Typed, with Enter."""
    tab.until(ASKED)
    tab.page.evaluate("document.querySelector('#key-field').focus()")
    tab.page.ask("Input.insertText", text=key)
    tab.key("keyDown", "Enter")
    tab.key("keyUp", "Enter")


def test_a_key_opens_it_is_kept_nowhere_and_a_gateway_that_is_gone_means_hold(
    server: Server, spoken: Spoken, keys: dict[str, str], keys_file: Path, tmp_path: Path
) -> None:
    (tmp_path / "chromium").mkdir()
    with console(tmp_path / "chromium", spoken.path) as tab:
        tab.open(server.port)
        tab.until(ASKED)
        assert tab.page.evaluate("document.querySelector('#key-field').type") == "password"
        tab.mouse("mousePressed")
        tab.mouse("mouseReleased")
        assert tab.text("#status").endswith("nothing can be sent.")
        assert (tab.tracks, tab.sent) == ([], 0)
        tab.page.requests.clear()
        tab.page.evaluate("new Promise(done => setTimeout(done, 6000))")
        assert tab.page.requests == []  # it doesn't spend this address' refusals

        use(tab, "ev_000000000000_" + "x" * 43)
        tab.until("document.querySelector('#status').textContent.startsWith('That key was refused')")
        tab.page.complaints.clear()  # the browser writes down each refusal

        use(tab, keys["robot"])
        tab.ready()
        tab.until("document.querySelector('#panels-status').textContent.includes('metrics or operator')")
        assert keys["robot"] not in tab.page.evaluate(KEPT)
        assert not tab.page.evaluate(ASKED)
        tab.choose(defense="none")
        tab.key("keyDown", "Tab")
        tab.page.evaluate("document.querySelector('#talk').focus()")
        tab.key("keyDown", " ")
        tab.heard(1.0)
        tab.key("keyUp", " ")
        assert tab.answered(1).startswith(f"Accepted: {spoken.command}")
        assert [row["command"] for row in rows_of(server.state)] == [spoken.command]
        assert all("403" in text for text in tab.page.complaints)

        revoke_key(keys_file, keys["robot"].split("_")[1])
        tab.until(ASKED)
        assert "refused" in tab.text("#status")
        use(tab, keys["operator"])
        tab.ready()
        tab.until("document.querySelector('#panels').textContent.includes('Nothing is released yet')")
        assert tab.page.evaluate("document.querySelectorAll('#defense option[value=none]').length") == 1

        server.kill()
        tab.drop(spoken.path)
        assert tab.answered(2) == "Hold. No answer came from the gateway in time. "
        assert tab.text(".verdict").endswith("Hold")
        assert tab.text("#validity") == "Start no new motion."
        tab.until("document.querySelector('#panels-status').textContent.includes(\"doesn't answer\")")
        assert "older" in tab.text("#panels-status")
        for key in keys.values():
            assert key not in tab.page.evaluate(KEPT)
        assert tab.page.evaluate("violations") == []
