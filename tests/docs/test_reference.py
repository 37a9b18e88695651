"""The reference is what the code is: every page equals what is made of it now, and holds what else can be asked."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml
from doc_blocks import ROOT

from docs.generator.pages import PAGES
from gateway.app import create_app
from gateway.settings import Settings

REFERENCE = ROOT / "docs" / "reference"


@pytest.mark.parametrize("name", sorted(PAGES))
def test_a_page_is_what_the_code_says(name: str) -> None:
    assert (REFERENCE / name).read_text(encoding="utf-8") == PAGES[name](), "`make docs` writes it anew"


def test_there_is_no_page_that_nothing_writes() -> None:
    assert {path.name for path in REFERENCE.iterdir()} == set(PAGES)


@pytest.mark.parametrize("name", sorted(PAGES))
def test_no_row_goes_without_a_meaning(name: str) -> None:
    assert re.findall(r"^\|.*\|\s*\|$", _text(name), re.MULTILINE) == []


def test_every_alert_and_series_that_prometheus_loads_is_there() -> None:
    loaded = yaml.safe_load((ROOT / "deploy" / "prometheus" / "rules.yml").read_text(encoding="utf-8"))
    rules = [rule for group in loaded["groups"] for rule in group["rules"]]
    text = _text("alerts.md")
    assert len(rules) > 20
    assert [rule for rule in rules if rule.get("alert", rule.get("record")) not in text] == []


def test_every_metric_that_a_rule_or_a_dashboard_reads_is_there() -> None:
    places = [*(ROOT / "deploy" / "grafana").rglob("*.json"), ROOT / "deploy" / "prometheus" / "rules.yml"]
    asked = {
        name for place in places for name in re.findall(r"(?<![:\w])evenvoice_\w+", place.read_text(encoding="utf-8"))
    }
    described = set(re.findall(r"`(evenvoice_\w+)`", _text("metrics.md")))
    of_series = {re.sub(r"_(bucket|sum|count|lower|upper)$", "", name) for name in asked}
    groups = {group["name"] for group in yaml.safe_load(places[-1].read_text(encoding="utf-8"))["groups"]}
    unknown = of_series - described - groups
    assert len(of_series & described) > 10
    assert {name for name in unknown if name not in ("evenvoice_audit",)} == set()


def test_every_path_and_every_setting_is_there() -> None:
    api = _text("http.md")
    assert [path for path in create_app().openapi()["paths"] if f" {path}\n" not in api] == []
    settings = _text("settings.md")
    assert [name for name in Settings.model_fields if f"`EVENVOICE_{name.upper()}`" not in settings] == []


def test_nothing_of_this_machine_is_in_it() -> None:
    text = "".join(_text(name) for name in PAGES)
    assert [word for word in (str(ROOT), str(Path.home()) + "/") if word in text] == []


def _text(name: str) -> str:
    return (REFERENCE / name).read_text(encoding="utf-8")
