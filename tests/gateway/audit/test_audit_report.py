"""`evenvoice audit report` and `card`, and their pages in a real browser: no outside requests, nothing wider than the
window or the sheet of paper, text that can be read in light and in dark."""

from __future__ import annotations

import json
from base64 import b64decode
from collections.abc import Iterator
from pathlib import Path

import pytest
from audit_reports import whole_report
from browser import CHROMIUM, Page, browser
from click.testing import CliRunner, Result

from gateway.cli.audit import command
from recognizer.bundle import version_of

needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")


def audit(*arguments: object) -> Result:
    return CliRunner().invoke(command, [str(argument) for argument in arguments])


def said(done: Result) -> str:
    """What a refused command gives its user: the message of a wrong option, or of what was raised."""
    return " ".join(f"{done.output} {done.exception}".split())


@pytest.fixture(scope="module")
def audited(bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the `audit.json` of the bundle that has every part."""
    folder = tmp_path_factory.mktemp("audited")
    report = whole_report().model_copy(update={"bundle_version": version_of(bundle)})
    (folder / "audit.json").write_text(report.model_dump_json(by_alias=True), encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def pages(audited: Path, bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`report.html`, `card.html` and `card.md`, as the commands write them."""
    out = tmp_path_factory.mktemp("pages")
    for arguments in (
        ("report", audited / "audit.json", "--out", out / "report.html"),
        ("card", bundle, audited / "audit.json", "--out", out / "card.html"),
        ("card", bundle, audited / "audit.json", "--out", out / "card.md"),
    ):
        done = audit(*arguments)
        assert done.exit_code == 0, said(done)
    return out


def test_the_page_lies_beside_the_audit_by_default(audited: Path, pages: Path) -> None:
    assert audit("report", audited / "audit.json").exit_code == 0
    assert (audited / "audit.html").read_bytes() == (pages / "report.html").read_bytes()


def test_the_card_has_mitchells_sections_in_their_order(pages: Path) -> None:
    headings = [line[3:] for line in (pages / "card.md").read_text("utf-8").splitlines() if line.startswith("## ")]
    assert headings == [
        "Model details",
        "Intended use",
        "Factors",
        "Metrics",
        "Evaluation data",
        "Training data",
        "Quantitative analyses",
        "Ethical considerations",
        "Caveats and recommendations",
    ]


def test_the_card_says_what_the_bundle_and_its_audit_say(audited: Path, bundle: Path, pages: Path) -> None:
    card = (pages / "card.md").read_text("utf-8")
    report, manifest = (json.loads(path.read_text()) for path in (audited / "audit.json", bundle / "bundle.json"))
    for part in (report["bundle_version"], report["clips_sha256"], manifest["data"]["fingerprint"]):
        assert f"`{part}`" in card
    assert "a spoken stop never replaces an emergency stop" in card
    for result in report["defenses"]:
        for attribute in result["attributes"]:
            for group in attribute["groups"]:
                rejection = group["rejection"]
                shown = f"{100 * rejection['mean']:.1f}"
                rows = [line for line in card.splitlines() if line.startswith(f"| {group['group']}")]
                assert any(shown in row and f"| {group['speakers']} |" in row for row in rows), (group, rows)
    for split, clips in manifest["data"]["clips"].items():
        assert f"| {split} | {clips:,} |" in card


def test_a_card_of_another_bundles_audit_is_refused(audited: Path, bundle: Path, tmp_path: Path) -> None:
    other = json.loads((audited / "audit.json").read_text())
    other["bundle_version"] = "sha256:" + "0" * 64
    (tmp_path / "audit.json").write_text(json.dumps(other))
    done = audit("card", bundle, tmp_path / "audit.json", "--out", tmp_path / "card.md")
    assert done.exit_code != 0
    assert "audit this bundle, or give the one that was audited" in said(done)
    assert not (tmp_path / "card.md").exists()


def test_a_card_ends_in_md_or_html(audited: Path, bundle: Path, tmp_path: Path) -> None:
    done = audit("card", bundle, audited / "audit.json", "--out", tmp_path / "card.pdf")
    assert done.exit_code != 0
    assert ".md and .html are accepted" in said(done)


def test_an_older_report_is_refused_with_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "audit.json").write_text('{"schema": "evenvoice.audit/1"}')
    done = audit("report", tmp_path / "audit.json")
    assert done.exit_code != 0
    assert "run the audit again" in said(done)
    assert not (tmp_path / "audit.html").exists()


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    with browser(tmp_path_factory.mktemp("chromium")) as opened:
        yield opened


@needs_chromium
@pytest.mark.parametrize("name", ["report.html", "card.html"])
@pytest.mark.parametrize("width", [1200, 400])
def test_nothing_is_asked_for_refused_or_wider_than_the_window(page: Page, pages: Path, name: str, width: int) -> None:
    page.look(width=width)
    page.open((pages / name).as_uri())
    assert page.requests == [(pages / name).as_uri()]
    assert page.complaints == []
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    cut = "[...document.querySelectorAll('svg')].filter(s => s.getBoundingClientRect().right > innerWidth).length"
    assert page.evaluate(cut) == 0
    style = "getComputedStyle(document.querySelector('h2')).borderTopStyle"
    assert page.evaluate(style) == "solid"  # the policy lets the style sheet in


@needs_chromium
def test_text_in_drawings_stays_within_them_and_apart(page: Page, pages: Path) -> None:
    page.look(width=1200)
    page.open((pages / "report.html").as_uri())
    outside = """[...document.querySelectorAll('svg text')].filter(t => {
        const b = t.getBBox(), v = t.ownerSVGElement.viewBox.baseVal;
        return !t.hasAttribute('transform') && (b.x < -1 || b.x + b.width > v.width + 1);
    }).map(t => t.textContent)"""
    assert page.evaluate(outside) == []
    crossed = """[...document.querySelectorAll('svg .row')].filter(row => {
        const [a, b] = [...row.querySelectorAll(':scope > text')].map(t => t.getBBox());
        return a.x + a.width > b.x;
    }).map(row => row.textContent)"""
    assert page.evaluate(crossed) == []


@needs_chromium
def test_light_and_dark_are_readable(page: Page, pages: Path) -> None:
    """Contrast of text to its background, by WCAG's formula: 4.5 or more."""
    luminance = """
    (() => {
        const channels = c => c.match(/[\\d.]+/g).slice(0, 3).map(v => v / 255)
            .map(v => v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
        const bright = c => { const [r, g, b] = channels(c); return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
        const behind = e => {
            for (; e; e = e.parentElement) {
                const c = getComputedStyle(e).backgroundColor;
                if (!c.startsWith('rgba(0, 0, 0, 0')) return c;
            }
            return 'rgb(255, 255, 255)';
        };
        let worst = 99;
        for (const e of document.querySelectorAll('p, h1, h2, h3, td, th, dt, dd, a, caption, .verdict, svg text')) {
            const style = getComputedStyle(e);
            const ink = bright(e instanceof SVGElement ? style.fill : style.color), back = bright(behind(e));
            worst = Math.min(worst, (Math.max(ink, back) + 0.05) / (Math.min(ink, back) + 0.05));
        }
        return worst;
    })()"""
    backgrounds = []
    for is_dark in (False, True):
        page.look(width=1200, is_dark=is_dark)
        page.open((pages / "report.html").as_uri())
        assert page.evaluate(luminance) >= 4.5
        backgrounds.append(page.evaluate("getComputedStyle(document.body).backgroundColor"))
    assert backgrounds[0] != backgrounds[1]


@needs_chromium
def test_it_prints_without_cutting_a_table(page: Page, pages: Path) -> None:
    page.open((pages / "report.html").as_uri())
    page.ask("Emulation.setEmulatedMedia", media="print")
    page.ask("Emulation.setDeviceMetricsOverride", width=688, height=900, deviceScaleFactor=1, mobile=False)  # A4
    wide = "[...document.querySelectorAll('table, svg')].filter(e => e.getBoundingClientRect().right > 689).length"
    assert page.evaluate(wide) == 0
    pdf = b64decode(page.ask("Page.printToPDF", preferCSSPageSize=True)["data"])
    assert pdf.startswith(b"%PDF")
