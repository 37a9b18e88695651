"""The fairness page of a served gateway in a real browser: real clips, real counts, its policy, its readers."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from browser import CHROMIUM, Page, browser
from robot import assert_problem
from test_served import Server

from gateway.access.keys import add_key
from gateway.access.routes import Role
from recognizer.decision import UNKNOWN
from recognizer.manifest import load_manifest

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here; Debian's package is chromium")

PEOPLE = ("accent", "gender")


@dataclass(frozen=True)
class Site:
    """A served gateway, and an operator's key."""

    server: Server
    key: str

    def url(self, query: str = "") -> str:
        """The page's address with the key as its password, as somebody types it."""
        return f"http://me:{self.key}@127.0.0.1:{self.server.port}/fairness{query}"

    def ask(self, method: str, path: str, **options: Any) -> httpx.Response:
        headers = {"authorization": f"Bearer {self.key}", **options.pop("headers", {})}
        return self.server.ask(method, path, headers=headers, **options)

    @property
    def fairness(self) -> dict[str, Any]:
        return dict(self.ask("GET", "/v1/fairness").json())


@pytest.fixture(scope="module")
def new_site(bundle: Path, speakers_csv: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """Two workers, keys, and sessions of a second, so that there is something to bet on."""
    home = tmp_path_factory.mktemp("fairness-page")
    key = add_key(home / "keys.json", role=Role.OPERATOR, name="a", per_minute=100_000)
    environment = {
        "EVENVOICE_RELEASE_COMMANDS": "6",
        "EVENVOICE_RELEASE_SPEAKERS": "2",
        "EVENVOICE_SESSION_SECONDS": "1",
        "EVENVOICE_LEDGER_SECONDS": "0.2",
        "EVENVOICE_LEDGER_GRACE_SECONDS": "0",
        "EVENVOICE_DEADLINE_MS": "20000",
        "EVENVOICE_VALID_FOR_MS": "30000",
    }
    options = ("--workers", "2", "--speakers", str(speakers_csv), "--keys", str(home / "keys.json"))
    started = Server(home, bundle, options, environment)
    try:
        yield Site(started.ready(), key)
    finally:
        started.kill()


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    with browser(tmp_path_factory.mktemp("chromium")) as opened:
        opened.look(width=1200)
        yield opened


def speak(site: Site, manifest: Path) -> None:
    """Every clip of a command once, with its label; of every other southern one a burst of noise in its place."""
    table = load_manifest(manifest).table
    clips = table[table["command"] != UNKNOWN].to_dict("records")
    noises = {row["speaker"]: row["path"] for row in table[table["command"] == UNKNOWN].to_dict("records")}

    def say(number: int, clip: dict[str, str]) -> None:
        path = noises[clip["speaker"]] if clip["accent"] == "south" and number % 2 else clip["path"]
        query = {"speaker": clip["speaker"], "defense": "neural_rejection"}
        wav = {"content-type": "audio/wav"}
        answer = site.ask("POST", "/v1/commands", content=Path(path).read_bytes(), headers=wav, params=query)
        site.ask("POST", f"/v1/commands/{answer.json()['request_id']}/label", json={"command": clip["command"]})

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(say, range(len(clips)), clips))


@pytest.fixture(scope="module")
def site(new_site: Site, page: Page, tone_manifest: Path) -> Site:
    """The gateway after people spoke, and after all that will be released is; it was looked at before that."""
    page.open(new_site.url())
    assert "Nothing is released yet" in page.evaluate("document.body.innerText")
    assert page.evaluate("document.querySelectorAll('table').length") == 0
    speak(new_site, tone_manifest)
    found: dict[str, Any] = {}
    ends = time.monotonic() + 60
    while time.monotonic() < ends:
        time.sleep(1.5)
        before, found = found, new_site.fairness
        if before == found and any(group["evidence"] for group in found["groups"]):
            return new_site
    raise AssertionError(found)


def test_the_page_shows_what_the_api_says(site: Site, page: Page) -> None:
    page.open(site.url("?defense=neural_rejection"))
    rows = page.evaluate(
        """[...document.querySelectorAll('table')].filter(t => t.caption.firstChild.data.trim() === 'Turned away')
           .flatMap(t => [...t.tBodies[0].rows].map(r =>
             [t.tHead.rows[0].cells[0].innerText, ...[...r.cells].map(c => c.innerText)]))"""
    )
    shown = {(attribute, group): cells for attribute, group, _, *cells in rows}
    found = [g for g in site.fairness["groups"] if g["defense"] == "neural_rejection"]
    assert len(found) == len(shown) > 4
    for g in found:
        cells = shown[g["attribute"], g["group"]]
        decided = g["outcomes"]["accepted"] + g["outcomes"]["rejected"]
        if decided == 0:
            assert cells == ["not released yet"]
            continue
        share = cells[0].split("\n")[0].removesuffix("\xa0%")
        assert float(share) == pytest.approx(100 * g["rejection_rate"], abs=0.051)
        assert int(cells[1]) == decided
    south, north = (
        next(g for g in found if (g["attribute"], g["group"]) == ("accent", accent)) for accent in ("south", "north")
    )
    assert south["rejection_rate"] > north["rejection_rate"]
    text = page.evaluate("document.body.innerText")
    assert "Answered rightly" in text
    assert f"{south['evidence']['sessions']} session" in text


@pytest.mark.parametrize("is_dark", [False, True])
def test_a_browser_loads_one_document_and_complains_of_nothing(
    site: Site, page: Page, is_dark: bool, tmp_path: Path
) -> None:
    page.look(width=1200, is_dark=is_dark)
    page.open(site.url())
    assert page.complaints == []
    asked = [urlsplit(address) for address in page.requests if not address.startswith("data:")]
    assert {(to.hostname, to.port, to.path) for to in asked} == {("127.0.0.1", site.server.port, "/fairness")}
    assert page.statuses[-1] == 200
    page.shoot(tmp_path / "page.png", height=900)
    pixels = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (sum(map(int, pixels.removeprefix("rgb(").removesuffix(")").split(","))) < 200) == is_dark
    assert (tmp_path / "page.png").stat().st_size > 20_000
    page.look(width=1200)


def test_its_style_passes_the_policy_and_a_script_would_not(site: Site, page: Page) -> None:
    page.open(site.url())
    assert page.evaluate("getComputedStyle(document.querySelector('h1')).fontSize") == "25.6px"
    tried = page.evaluate(
        """new Promise(done => {
             document.addEventListener('securitypolicyviolation', e => done(e.effectiveDirective));
             const s = document.createElement('script'); s.textContent = 'window.ran = 1'; document.head.append(s);
             setTimeout(() => done('nothing'), 2000);
           })"""
    )
    assert tried == "script-src-elem"
    assert page.evaluate("window.ran") is None


@pytest.mark.parametrize("width", [320, 400, 1200])
def test_nothing_is_wider_than_the_window(site: Site, page: Page, width: int) -> None:
    page.look(width=width)
    page.open(site.url("?defense=neural_rejection"))
    page.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    wide = "[...document.querySelectorAll('.wide')].filter(e => e.scrollWidth > e.clientWidth).length"
    assert page.evaluate(wide) == 0
    page.look(width=1200)


def test_the_keyboard_reaches_the_figures_and_their_tables(site: Site, page: Page) -> None:
    page.open(site.url("?defense=neural_rejection"))
    page.press("Tab", 9)
    assert page.evaluate("document.activeElement.innerText") == "Skip to the figures"
    assert page.evaluate("document.activeElement.getBoundingClientRect().left") >= 0  # it is seen once it is reached
    page.press("Enter", 13)
    assert page.evaluate("location.hash") == "#figures"
    reached = set()
    for _ in range(60):
        page.press("Tab", 9)
        reached.add(page.evaluate("document.activeElement.tagName"))
    assert {"A", "SUMMARY"} <= reached


def test_a_screen_reader_finds_names_headings_and_tables(site: Site, page: Page) -> None:
    page.open(site.url("?defense=neural_rejection"))
    nodes = page.ask("Accessibility.getFullAXTree")["nodes"]
    named: dict[str, list[str]] = {}
    for node in nodes:
        if not node.get("ignored"):
            named.setdefault(node["role"]["value"], []).append(node.get("name", {}).get("value", "").strip())
    assert named["heading"][0] == "Whom the gateway turns away"
    assert {f"By {attribute}" for attribute in PEOPLE} <= set(named["heading"])
    assert len(named["table"]) >= 3 * len(PEOPLE)
    for role in ("link", "table", "heading", "region", "columnheader", "rowheader"):
        assert all(named[role]), role
    assert len(named["main"]) == 1
    assert "image" not in named  # figures repeat what their rows say


def test_it_works_without_script_and_refreshes_by_itself_when_asked(site: Site, page: Page) -> None:
    page.open(site.url())
    with_script = page.evaluate("document.querySelectorAll('td').length")
    page.ask("Emulation.setScriptExecutionDisabled", value=True)
    page.open(site.url("?refresh=10"))
    page.ask("Emulation.setScriptExecutionDisabled", value=False)
    assert page.evaluate("document.querySelectorAll('td').length") == with_script > 0
    first = page.evaluate("document.querySelector('time').dateTime")
    page.loaded()  # once more, by itself
    assert page.evaluate("document.querySelector('time').dateTime") > first


def test_links_lead_to_other_defenses_and_what_is_none_is_said(site: Site, page: Page) -> None:
    page.open(site.url())
    page.evaluate("[...document.querySelectorAll('nav a')].find(a => a.innerText === 'none').click()")
    page.loaded()
    assert "Defense none of the bundle" in page.evaluate("document.body.innerText")
    assert "Nothing is released yet" in page.evaluate("document.body.innerText")
    for query, status in (("?defense=magic", 422), ("?refresh=1", 422), ("?refresh=soon", 422)):
        assert_problem(site.ask("GET", f"/fairness{query}"), status)
    assert site.ask("GET", "/fairness").headers["content-type"] == "text/html; charset=utf-8"
