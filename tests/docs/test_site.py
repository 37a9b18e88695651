"""The documentation as a site: built without a warning, whole, and asking nobody else for anything."""

from __future__ import annotations

import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest
from doc_blocks import ROOT

_FETCHES = {
    ("link", "href"),
    ("script", "src"),
    ("img", "src"),
    ("iframe", "src"),
    ("source", "src"),
    ("object", "data"),
}


class Elements(HTMLParser):
    """What a page makes a browser fetch, where its links lead, and which places it has."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.fetched: list[str] = []
        self.links: list[str] = []
        self.places: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        found = {name: value for name, value in attributes if value is not None}
        if "id" in found:
            self.places.add(found["id"])
        if tag == "a" and "href" in found:
            self.links.append(found["href"])
        self.fetched += [value for name, value in found.items() if (tag, name) in _FETCHES]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As `make docs` builds it: a warning is an error."""
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "sphinx", "--fail-on-warning", "--keep-going", "-q", "-b", "html"]
    built = subprocess.run(
        [*command, "-d", folder / "doctrees", ROOT / "docs", folder / "html"], capture_output=True, text=True
    )
    assert built.returncode == 0, built.stderr
    assert built.stderr == ""
    return folder / "html"


@pytest.fixture(scope="module")
def elements(site: Path) -> dict[Path, Elements]:
    return {path: Elements(path.read_text(encoding="utf-8")) for path in sorted(site.rglob("*.html"))}


def test_every_page_is_there(site: Path) -> None:
    docs = ROOT / "docs"
    pages = [page.relative_to(docs).with_suffix(".html") for page in docs.rglob("*.md")]
    assert len(pages) > 30
    assert [page for page in pages if not (site / page).is_file()] == []


def test_nothing_is_fetched_from_elsewhere(site: Path, elements: dict[Path, Elements]) -> None:
    fetched = {address for page in elements.values() for address in page.fetched}
    assert len(fetched) > 10  # style sheets, scripts, figures
    assert [
        address for address in fetched if re.match(r"[a-z]+:|//", address) and not address.startswith("data:")
    ] == []
    styles = "".join(path.read_text(encoding="utf-8") for path in site.rglob("*.css"))
    assert re.findall(r"(?:url\(|@import)\s*['\"]?(?:https?:)?//[^)\s]+", styles) == []


def test_every_link_within_the_site_leads_somewhere(site: Path, elements: dict[Path, Elements]) -> None:
    broken = []
    for path, page in elements.items():
        for link in page.links:
            target, _, place = link.partition("#")
            if re.match(r"[a-z]+:", link) or not link or link == "#":
                continue
            there = (path.parent / target).resolve() if target else path
            if not there.is_file() or (place and there in elements and place not in elements[there].places):
                broken.append((str(path.relative_to(site)), link))
    assert broken == []


def test_it_is_light_and_dark(site: Path) -> None:
    page = (site / "index.html").read_text(encoding="utf-8")
    assert "prefers-color-scheme: dark" in page
    assert 'class="theme-toggle' in page
