"""The dashboards' JSON: what is checked in, what Grafana understands, what a reader can understand."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from dashboard_lint import Json, expressions, lint, panels, variables
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.dashboard import Dashboard
from prometheus_server import Prometheus, needs_prometheus

from monitoring.counters import REFUSALS, STAGES
from monitoring.dashboards.style import Colour
from monitoring.dashboards.writing import DASHBOARDS, grafana_files, write_grafana
from recognizer.decision import OUTCOME_OF, Outcome

DEPLOY = Path(__file__).parents[2] / "deploy" / "grafana"
NAMES = ("fairness", "operations", "audits", "defenses")


def load(name: str) -> Json:
    loaded: Json = json.loads((DEPLOY / "dashboards" / f"{name}.json").read_text())
    return loaded


def test_there_are_four() -> None:
    assert tuple(DASHBOARDS) == NAMES
    assert {path.stem for path in (DEPLOY / "dashboards").iterdir()} == set(NAMES)


def test_what_is_checked_in_is_what_is_built() -> None:
    there = {str(path.relative_to(DEPLOY)): path.read_text() for path in DEPLOY.rglob("*") if path.is_file()}
    assert there == grafana_files(), "run: evenvoice dashboards write"


def test_writing_again_changes_nothing(tmp_path: Path) -> None:
    written = write_grafana(tmp_path)
    before = {path: path.read_bytes() for path in written}
    assert write_grafana(tmp_path) == written
    assert {path: path.read_bytes() for path in written} == before


@pytest.mark.parametrize("name", NAMES)
def test_every_key_is_one_that_grafana_has(name: str) -> None:
    raw = load(name)
    assert json.loads(json.dumps(Dashboard.from_json(copy.deepcopy(raw)), cls=JSONEncoder)) == raw


def test_a_misspelt_key_would_not_survive_that() -> None:
    raw = load("fairness")
    raw["panels"][2]["titel"] = "x"
    assert json.loads(json.dumps(Dashboard.from_json(copy.deepcopy(raw)), cls=JSONEncoder)) != raw


@pytest.mark.parametrize("name", NAMES)
def test_the_lint_finds_nothing(name: str) -> None:
    assert lint(load(name)) == []


def test_dashboards_and_their_links_have_uids_of_their_own() -> None:
    loaded = [load(name) for name in NAMES]
    uids = {dashboard["uid"] for dashboard in loaded}
    assert len(uids) == len(NAMES)
    for dashboard in loaded:
        for panel in panels(dashboard):
            for link in panel.get("options", {}).get("content", "").split("(/d/")[1:]:
                assert link.partition(")")[0] in uids


def _first(dashboard: Json, kind: str) -> Json:
    found: Json = next(panel for panel in panels(dashboard) if panel["type"] == kind)
    return found


def _spoilt(change: str) -> Callable[[Json], None]:
    def spoil(dashboard: Json) -> None:
        line, table = _first(dashboard, "timeseries"), _first(dashboard, "table")
        match change:
            case "no unit":
                del line["fieldConfig"]["defaults"]["unit"]
            case "no description":
                line["description"] = "x"
            case "fixed datasource":
                line["targets"][0]["datasource"] = {"type": "prometheus", "uid": "mine"}
            case "bare counter":
                line["targets"][0]["expr"] = "sum by (reason) (evenvoice_commands_total)"
            case "every gateway counted":
                line["targets"][0]["expr"] = "sum(increase(evenvoice_group_commands_total[1d]))"
            case "made-up zero":
                line["targets"][0]["expr"] += " or vector(0)"
            case "colour alone":
                for override in line["fieldConfig"]["overrides"]:
                    for item in override["properties"]:
                        if item["id"] == "custom.lineStyle":
                            item["value"] = {"fill": "solid"}
            case "threshold":
                line["fieldConfig"]["defaults"]["thresholds"] = {"mode": "absolute", "steps": []}
            case "undeclared variable":
                line["targets"][0]["expr"] = 'sum(rate(evenvoice_commands_total{job="$jop"}[5m]))'
            case "state without a word":
                table["fieldConfig"]["overrides"][-1]["properties"] = [{"id": "unit", "value": "none"}]
                table["targets"][-1]["expr"] = "x > bool 1"
                for item in table["fieldConfig"]["overrides"]:
                    item["properties"].append({"id": "mappings", "value": [{"options": {"1": {}}}]})
            case "overlap":
                line["gridPos"] = dict(table["gridPos"])
            case "misspelt property":
                line["fieldConfig"]["overrides"][0]["properties"][0]["id"] = "colour"

    return spoil


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("no unit", "no unit"),
        ("no description", "no description"),
        ("fixed datasource", "not the variable"),
        ("bare counter", "only its growth"),
        ("every gateway counted", "once for each gateway"),
        ("made-up zero", "makes up"),
        ("colour alone", "only their colour"),
        ("threshold", "colour alone"),
        ("undeclared variable", "nobody declares"),
        ("state without a word", "without a word"),
        ("overlap", "in one place"),
        ("misspelt property", "does not have"),
    ],
)
def test_the_lint_sees(change: str, words: str) -> None:
    dashboard = load("fairness")
    _spoilt(change)(dashboard)
    assert any(words in finding for finding in lint(dashboard)), lint(dashboard)


def _strokes(dashboard: Json, legend: str) -> set[str]:
    (panel,) = (
        p for p in panels(dashboard) if [t.get("legendFormat") for t in p.get("targets", ())] == [legend]
        and p["type"] == "timeseries"
    )  # fmt: skip
    return {override["matcher"]["options"] for override in panel["fieldConfig"]["overrides"]}


def test_every_outcome_stage_and_fault_has_a_stroke() -> None:
    operations = load("operations")
    assert _strokes(operations, "{{outcome}}") == {str(outcome) for outcome in Outcome}
    assert _strokes(operations, "{{stage}}") == set(STAGES)
    faults = {str(reason) for reason, outcome in OUTCOME_OF.items() if outcome is Outcome.SERVICE}
    faults |= {refusal for refusal, outcome in REFUSALS.items() if outcome is Outcome.SERVICE}
    assert _strokes(operations, "{{reason}}") == faults


def test_colours_are_told_apart_by_their_lightness_too_or_by_their_hue() -> None:
    """Okabe & Ito's, and grey."""
    assert {str(colour) for colour in Colour} <= {
        "#E69F00", "#56B4E9", "#009E73", "#F0E442", "#0072B2", "#D55E00", "#CC79A7", "#999999",
    }  # fmt: skip


def test_the_provisioning_files_name_what_there_is() -> None:
    (source,) = yaml.safe_load((DEPLOY / "provisioning/datasources/prometheus.yaml").read_text())["datasources"]
    assert source["type"] == "prometheus"
    (provider,) = yaml.safe_load((DEPLOY / "provisioning/dashboards/evenvoice.yaml").read_text())["providers"]
    assert provider["type"] == "file"
    assert provider["folderUid"] == "evenvoice"


@needs_prometheus
def test_without_any_series_every_query_is_understood_and_says_nothing(tmp_path: Path) -> None:
    prometheus = Prometheus(tmp_path)
    try:
        for name in NAMES:
            dashboard = load(name)
            asked = expressions(dashboard) + [
                variable["query"].removeprefix("query_result(").removesuffix(")")
                for variable in variables(dashboard)
                if str(variable["query"]).startswith("query_result(")
            ]
            for expr in asked:
                assert prometheus.query(_plain(expr)) == [], expr
    finally:
        prometheus.stop()


def _plain(expr: str) -> str:
    """The expression with variables of some values."""
    for name, value in (("$window", "1d"), ("$resolution", "1m"), ("$__rate_interval", "1m"), ("$floor", "200")):
        expr = expr.replace(name, value)
    return expr.replace("$tolerance", "0.02")
