"""What is wrong with a dashboard's JSON: modelled on grafana/dashboard-linter, with rules for this project's series."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import combinations
from typing import Any

from monitoring.promql import LEDGER_SERIES

Json = dict[str, Any]

COUNTER_ENDS = ("_total", "_bucket", "_sum", "_count")
BUILT_IN = {"__rate_interval", "__interval", "__range"}
NEWEST = ("evenvoice_fairness_alarm_log_wealth", "evenvoice_ledger_last_pass_timestamp_seconds")
"""Whose largest value is meant, whichever ledger it comes from."""
OVERRIDES = {
    "color", "unit", "decimals", "mappings", "custom.lineStyle", "custom.fillBelowTo", "custom.fillOpacity",
}  # fmt: skip


def lint(dashboard: Json) -> list[str]:
    """One line a finding."""
    found = list(_of_dashboard(dashboard))
    for panel in panels(dashboard):
        found += [f"{panel.get('title')}: {finding}" for finding in _of_panel(panel)]
    return found


def panels(dashboard: Json) -> list[Json]:
    """Every panel but the rows."""
    return [panel for panel in dashboard["panels"] if panel["type"] != "row"]


def expressions(dashboard: Json) -> list[str]:
    return [target["expr"] for panel in panels(dashboard) for target in panel.get("targets", ())]


def variables(dashboard: Json) -> list[Json]:
    return list(dashboard["templating"]["list"])


def _of_dashboard(dashboard: Json) -> Iterator[str]:
    if not dashboard.get("uid", "").startswith("evenvoice-") or not dashboard.get("description"):
        yield "no uid or description"
    if dashboard.get("editable") is not False:
        yield "it may be edited in Grafana, where the edit would be lost"
    declared = {variable["name"] for variable in variables(dashboard)}
    first = variables(dashboard)[0]
    if (first["name"], first["type"], first["query"]) != ("datasource", "datasource", "prometheus"):
        yield "no datasource variable"
    asked = [variable.get("query", "") for variable in variables(dashboard)]
    repeats = [f"${panel['repeat']}" for panel in dashboard["panels"] if panel.get("repeat")]
    used = {
        name for text in (*expressions(dashboard), *asked, *repeats) for name in re.findall(r"\$\{?([a-z_]\w*)", text)
    }
    if strange := used - declared - BUILT_IN:
        yield f"variables that nobody declares: {sorted(strange)}"
    if idle := declared - used - {"datasource"}:
        yield f"variables that nobody uses: {sorted(idle)}"
    titles = [panel.get("title") for panel in dashboard["panels"]]
    if len(set(titles)) < len(titles):
        yield "two panels of one title"
    ids = [panel.get("id") for panel in dashboard["panels"]]
    if None in ids or len(set(ids)) < len(ids):
        yield "panels without an id of their own"
    places = [panel["gridPos"] for panel in dashboard["panels"]]
    if any(place["x"] + place["w"] > 24 for place in places):
        yield "a panel beyond the edge"
    if any(_overlap(a, b) for a, b in combinations(places, 2)):
        yield "two panels in one place"


def _of_panel(panel: Json) -> Iterator[str]:
    if not panel.get("title"):
        yield "no title"
    if panel["type"] == "text":
        return
    if len(panel.get("description", "")) < 60 or not panel["description"].endswith("."):
        yield "no description in a sentence"
    targets = panel.get("targets", [])
    if not targets:
        yield "no query"
    for holder in (panel, *targets):
        if holder.get("datasource") != {"type": "prometheus", "uid": "${datasource}"}:
            yield "a datasource that is not the variable"
    defaults = panel["fieldConfig"]["defaults"]
    if not defaults.get("unit") or not defaults.get("noValue"):
        yield "no unit, or no words for having no data"
    if "thresholds" in defaults:
        yield "a threshold, which is told by colour alone"
    for target in targets:
        yield from _of_expression(target["expr"])
    overrides = panel["fieldConfig"].get("overrides", [])
    for override in overrides:
        if strange := {p["id"] for p in override["properties"]} - OVERRIDES:
            yield f"properties that Grafana does not have: {sorted(strange)}"
    if panel["type"] == "timeseries":
        yield from _of_lines(panel)
    if panel["type"] == "table":
        yield from _of_table(panel)


def _of_lines(panel: Json) -> Iterator[str]:
    if not panel["options"]["legend"]["showLegend"]:
        yield "no legend"
    strokes = {o["matcher"]["options"]: _properties(o) for o in panel["fieldConfig"]["overrides"]}
    looks = [str((p.get("color"), p["custom.lineStyle"])) for p in strokes.values()]
    dashes = [str(p["custom.lineStyle"]) for p in strokes.values()]
    if len(set(looks)) < len(looks) or len(set(dashes)) < min(len(dashes), 4):
        yield "lines that only their colour tells apart"
    for target in panel["targets"]:
        legend = target.get("legendFormat", "")
        if not legend or ("{{" not in legend and legend not in strokes):
            yield f"a line without a name or a stroke: {legend!r}"
    for name, properties in strokes.items():
        if properties.get("custom.fillBelowTo", name) not in strokes:
            yield f"{name} is shaded down to a line that is not there"


def _of_table(panel: Json) -> Iterator[str]:
    merge, organize = (t["id"] for t in panel["transformations"])
    if (merge, organize) != ("merge", "organize"):
        yield "its queries are not merged into rows"
    names = panel["transformations"][1]["options"]["renameByName"]
    shown = {o["matcher"]["options"]: _properties(o) for o in panel["fieldConfig"]["overrides"]}
    if set(names.values()) != set(shown):
        yield "columns and their units do not have the same names"
    if len(set(names.values())) != len(panel["targets"]):
        yield "not a name a query"
    for target in panel["targets"]:
        field = "Value" if len(panel["targets"]) == 1 else f"Value #{target['refId']}"
        properties = shown[names[field]]
        if "unit" not in properties:
            yield f"{names[field]} has no unit"
        if " bool " in target["expr"] and set(properties["mappings"][0]["options"]) != {"0", "1"}:
            yield f"{names[field]} is a state without a word"
        if not target.get("instant") or target.get("format") != "table":
            yield f"{names[field]} is not a table of newest values"


def _of_expression(expr: str) -> Iterator[str]:
    if re.search(r"\bor\b", expr):
        yield f"it makes up what was not measured: {expr}"
    for found in re.finditer(r"\bevenvoice_\w+", expr):
        name = found[0]
        around = _enclosing(expr, found.start())
        if name.endswith(COUNTER_ENDS) and not {"rate", "increase"} & {call.split()[-1] for call in around if call}:
            yield f"{name} is a counter and only its growth means something"
        if name in LEDGER_SERIES and name not in NEWEST and not around[0].startswith("max by (ledger"):
            yield f"{name} is counted once for each gateway of a ledger"


def _enclosing(expr: str, place: int) -> list[str]:
    """What stands before each bracket around a place, from the inside: `max by (ledger)`, `increase`."""
    calls, depth = [], 0
    for at in range(place - 1, -1, -1):
        if expr[at] == ")":
            depth += 1
        elif expr[at] == "(":
            if depth == 0:
                before = re.search(r"(\w+ by \([^()]*\)|\w+)\s*$", expr[:at])
                calls.append(before[1] if before else "")
            else:
                depth -= 1
    return calls


def _properties(override: Json) -> Json:
    return {p["id"]: p["value"] for p in override["properties"]}


def _overlap(a: Json, b: Json) -> bool:
    beside = a["x"] + a["w"] <= b["x"] or b["x"] + b["w"] <= a["x"]
    below = a["y"] + a["h"] <= b["y"] or b["y"] + b["h"] <= a["y"]
    return not beside and not below
