"""The dashboards as an operator sees them: a real gateway, real audio, a real audit, and a real Prometheus between.

The checked-in JSON is read as Grafana reads it: each variable asks Prometheus what there is to choose, and each query
is sent with the choices put in.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from prometheus_server import Prometheus, Pushgateway, Series, needs_prometheus
from test_served import SILENCE, Server

from monitoring.promql import LEDGER_SERIES
from recognizer.manifest import load_manifest, write_table

pytestmark = [needs_prometheus, pytest.mark.timeout(400)]

Json = dict[str, Any]

FOLDER = Path(__file__).parents[2] / "deploy" / "grafana" / "dashboards"
DASHBOARDS = ("fairness", "operations", "audits", "defenses")
ENVIRONMENT = {
    "EVENVOICE_LEDGER_SECONDS": "0.2",
    "EVENVOICE_LEDGER_GRACE_SECONDS": "0",
    "EVENVOICE_SESSION_SECONDS": "1",
    "EVENVOICE_DEADLINE_MS": "60000",
    "EVENVOICE_VALID_FOR_MS": "90000",
}
READER = {"window": "1h", "floor": "50", "resolution": "1s", "__rate_interval": "1m"}
"""What a reader chose, or Grafana; each but the hidden one is among the choices."""


@dataclass(frozen=True)
class Query:
    """One query of a panel, with its choices put in."""

    dashboard: str
    panel: str
    name: str
    expr: str

    def __str__(self) -> str:
        return f"{self.dashboard}: {self.panel}: {self.name}: {self.expr}"


@pytest.fixture(scope="module")
def server(bundle: Path, speakers_csv: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The gateway as it comes, but that sessions last a second: released in lots of 10 commands from 3 speakers."""
    home = tmp_path_factory.mktemp("dashboards")
    started = Server(home, bundle, ("--speakers", str(speakers_csv)), ENVIRONMENT)
    try:
        yield started.ready()
    finally:
        started.kill()


@pytest.fixture(scope="module")
def pushed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pushgateway]:
    gateway = Pushgateway(tmp_path_factory.mktemp("pushgateway"))
    yield gateway
    gateway.stop()


@pytest.fixture(scope="module")
def prometheus(server: Server, pushed: Pushgateway, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    targets = {"evenvoice": (f"127.0.0.1:{server.port}",), "evenvoice_audit": (pushed.host,)}
    started = Prometheus(tmp_path_factory.mktemp("prometheus"), targets)
    yield started
    started.stop()


@pytest.fixture(scope="module")
def before(prometheus: Prometheus) -> dict[str, list[Series]]:
    """What every query said before any traffic, with the gateway there for some seconds."""
    prometheus.until("count_over_time(evenvoice_group_commands_total[1h]) >= 4")
    return {str(query): prometheus.query(query.expr) for query in queries(prometheus)}


@pytest.fixture(scope="module")
def after(
    before: dict[str, list[Series]],
    server: Server,
    prometheus: Prometheus,
    pushed: Pushgateway,
    tone_manifest: Path,
    bundle: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Prometheus:
    """After real traffic, labels and an audit, when all that is released has been scraped."""
    del before
    audit(bundle, tone_manifest, pushed, tmp_path_factory.mktemp("audit"))
    # one take of three, and no noise: 72 commands of 12 speakers
    everything = load_manifest(tone_manifest).table
    commands = everything[everything["path"].map(lambda path: Path(path).stem).str.contains("_[03]|left_5")]
    with ThreadPoolExecutor(4) as pool:
        for _ in range(2):  # two visits of everyone, in sessions of their own
            list(pool.map(lambda row: say(server, row), commands.to_dict("records")))
            time.sleep(1.1)
        list(pool.map(lambda path: server.decide(Path(path).read_bytes()), commands["path"][:30]))
        list(pool.map(lambda path: server.decide(Path(path).read_bytes(), defense="none"), commands["path"][:30]))
    server.decide(SILENCE)
    prometheus.until("evenvoice_audit_last_success_timestamp_seconds > 0")
    wanted = {(g["attribute"], g["group"]): g["outcomes"] for g in fairness(server) if g["defense"] == "smoothing"}
    assert wanted["gender", "female"]["accepted"] > 0
    ends = time.monotonic() + 30
    while time.monotonic() < ends:
        seen = prometheus.query('evenvoice_group_commands_total{defense="smoothing", outcome="accepted"}')
        if {(s["attribute"], s["group"]): v for s, v in seen} == {key: o["accepted"] for key, o in wanted.items()}:
            return prometheus
        time.sleep(0.5)
        wanted = {(g["attribute"], g["group"]): g["outcomes"] for g in fairness(server) if g["defense"] == "smoothing"}
    raise AssertionError(f"Prometheus never saw {wanted}")


def say(server: Server, row: Json) -> None:
    """One command of a registered speaker; for every other one the true command is told afterwards."""
    answer = server.decide(Path(row["path"]).read_bytes(), speaker=row["speaker"]).json()
    if int(Path(row["path"]).stem[-1]) % 2:
        server.label(answer["request_id"], row["command"])


def audit(bundle: Path, tones: Path, pushed: Pushgateway, folder: Path) -> None:
    """Over 72 speakers, every take by another one, so that groups can be compared; of neural rejection, a fast one."""
    table = load_manifest(tones).table
    table = table[table["command"] == "go"]
    take = table["path"].map(lambda path: Path(path).stem.rpartition("_")[2])
    write_table(table.assign(speaker=table["speaker"] + "-" + take, split="test"), folder / "many.csv")
    program = Path(sys.executable).with_name("evenvoice")
    run = [program, "audit", "run", "--bundle", bundle, "--manifest", folder / "many.csv", "--out", folder / "out"]
    options = ("--defense", "neural_rejection", "--min-speakers", "10", "--attacked-clips", "40")
    done = subprocess.run([*run, *options], capture_output=True, text=True)
    assert (folder / "out" / "audit.json").is_file(), done.stderr
    export = [program, "audit", "export", folder / "out" / "audit.json", "--pushgateway", f"http://{pushed.host}"]
    subprocess.run(export, capture_output=True, check=True)


def fairness(server: Server) -> list[Json]:
    groups: list[Json] = server.ask("GET", "/v1/fairness").json()["groups"]
    return groups


def read(name: str) -> Json:
    loaded: Json = json.loads((FOLDER / f"{name}.json").read_text())
    return loaded


def chosen(prometheus: Prometheus, dashboard: Json) -> dict[str, list[str]]:
    """The choices of each variable, in Grafana's order; the first one stands when the dashboard is opened."""
    found: dict[str, list[str]] = {name: [value] for name, value in READER.items()}
    for variable in dashboard["templating"]["list"]:
        name, query = variable["name"], variable.get("query", "")
        if variable["type"] != "query":
            if variable["type"] == "custom" and name != "resolution":
                assert READER[name] in query.split(",")
            found.setdefault(name, [query])
            continue
        query = filled(query, {key: values[0] if values else "" for key, values in found.items()})
        if labels := re.fullmatch(r"label_values\((.*), (\w+)\)", query):
            found[name] = sorted(s[labels[2]] for s, _ in prometheus.query(f"count by ({labels[2]}) ({labels[1]})"))
        else:
            result = prometheus.query(re.fullmatch(r"query_result\((.*)\)", query)[1])  # type: ignore[index]
            texts = (
                "{" + ", ".join(f'{k}="{v}"' for k, v in labels.items()) + f"}} {value}" for labels, value in result
            )
            pattern = variable["regex"].strip("/")
            found[name] = [match[1] for text in texts if (match := re.search(pattern, text))]
    return found


def filled(text: str, values: dict[str, str]) -> str:
    return re.sub(r"\$\{?([a-z_]\w*)\}?", lambda match: values.get(match[1], match[0]), text)


def queries(prometheus: Prometheus) -> list[Query]:
    """Every query of every dashboard; of a panel that is there once a group, for each declared group."""
    found = []
    for name in DASHBOARDS:
        dashboard = read(name)
        choices = chosen(prometheus, dashboard)
        first = {key: values[0] if values else "" for key, values in choices.items()}
        for panel in dashboard["panels"]:
            groups = choices["group"] if panel.get("repeat") == "group" else [first.get("group", "")]
            for group in groups:
                if panel.get("repeat") and group in ("other", "undeclared"):
                    continue  # nobody of another group speaks here, and nobody bets on the undeclared
                for target in panel.get("targets", ()):
                    title = filled(panel["title"], first | {"group": group})
                    column = panel_name(panel, target)
                    found.append(Query(name, title, column, filled(target["expr"], first | {"group": group})))
    return found


def panel_name(panel: Json, target: Json) -> str:
    if panel["type"] != "table":
        return str(target.get("legendFormat", ""))
    names = panel["transformations"][1]["options"]["renameByName"]
    return str(names.get(f"Value #{target['refId']}") or names["Value"])


def column(prometheus: Prometheus, panel: str, name: str, by: str = "group") -> dict[str, float]:
    """One column of a table, as it stands on the screen."""
    (query,) = (q for q in queries(prometheus) if (q.panel, q.name) == (panel, name))
    return {labels[by]: value for labels, value in prometheus.query(query.expr)}


def test_before_traffic_no_share_mean_or_quantile_is_shown(
    before: dict[str, list[Series]], prometheus: Prometheus
) -> None:
    del prometheus
    ratios = {text: found for text, found in before.items() if " / " in text or "histogram_quantile" in text}
    assert len(ratios) >= 40
    assert [text for text, found in ratios.items() if found] == []
    audits = {text: found for text, found in before.items() if text.startswith("audits:") and found}
    assert audits == {}


def test_before_traffic_the_gateway_and_its_bundle_are_shown(before: dict[str, list[Series]]) -> None:
    up = next(found for text, found in before.items() if text.startswith("operations: Gateways"))
    assert [value for _, value in up] == [1.0]
    assert next(found for text, found in before.items() if text.startswith("operations: What is served"))


def test_after_traffic_every_query_of_every_panel_has_data(after: Prometheus) -> None:
    asked = queries(after)
    assert {query.dashboard for query in asked} == set(DASHBOARDS)
    without = [str(query) for query in asked if not after.query(query.expr)]
    assert not without, "\n".join(without)


def test_the_busiest_defense_stands_first_and_every_group_has_a_panel(after: Prometheus) -> None:
    choices = chosen(after, read("fairness"))
    assert choices["defense"][0] == "smoothing"
    assert choices["attribute"] == ["accent", "gender"]
    assert {"north", "south", "undeclared"} <= set(choices["group"])


def test_the_shares_on_the_screen_are_those_that_the_gateway_tells(after: Prometheus, server: Server) -> None:
    rates = column(after, "Turned away, by group", "turned away")
    told = {g["group"]: g for g in fairness(server) if (g["attribute"], g["defense"]) == ("accent", "smoothing")}
    assert rates == pytest.approx(
        {group: g["rejection_rate"] for group, g in told.items() if g["rejection_rate"] is not None}
    )
    right = column(after, "Right, wrong and turned away, by group", "right")
    labelled = {group: g["labelled"] for group, g in told.items() if sum(g["labelled"].values())}
    assert right == pytest.approx({group: r["correct"] / sum(r.values()) for group, r in labelled.items()})
    scores = column(after, "Mean rejection score, by group", "mean score")
    assert scores == pytest.approx(
        {group: g["rejection_score"] for group, g in told.items() if g["rejection_score"] is not None}
    )


def test_the_evidence_on_the_screen_is_that_which_the_gateway_tells(after: Prometheus, server: Server) -> None:
    table = "Evidence that a group fares differently from the rest"
    told = {
        g["group"]: g["evidence"]
        for g in fairness(server)
        if (g["attribute"], g["defense"]) == ("accent", "smoothing") and g["evidence"]
    }
    for name, key in (("evidence", "log_wealth"), ("sessions", "sessions"), ("speakers", "speakers")):
        shown = column(after, table, name)
        assert {g: shown[g] for g in told} == pytest.approx({g: e[key] for g, e in told.items()}, abs=1e-6), name
    assert {column(after, table, "it speaks of")[group] for group in told} == {0.0}  # 12 speakers


def test_the_series_of_a_ledger_have_the_labels_that_the_queries_count_on(after: Prometheus) -> None:
    for metric, labels in LEDGER_SERIES.items():
        for series, _ in after.query(metric):
            assert set(series) == {"__name__", "instance", "job", "ledger", *labels}, metric


def test_the_verdicts_on_the_screen_are_the_audits(after: Prometheus) -> None:
    (query,) = (q for q in queries(after) if (q.panel, q.name) == ("Verdicts of this corpus", "judged"))
    shown = after.query(query.expr)
    assert {labels["metric"] for labels, _ in shown} >= {"accuracy", "rejection", "auc_fpr"}
    assert {labels["verdict"] for labels, _ in shown} <= {"disparity", "equivalent", "inconclusive", "insufficient"}
