"""What each worker process counts by itself: every series is there from the start."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families

from monitoring.counters import CONTENT_TYPE, Counters, exposition
from recognizer.decision import OUTCOME_OF, Reason, abstention

DEFENSES = ("none", "smoothing", "opus.neural_rejection.smoothing")


@pytest.fixture
def registry(monkeypatch: pytest.MonkeyPatch) -> CollectorRegistry:
    monkeypatch.delenv("PROMETHEUS_MULTIPROC_DIR", raising=False)
    return CollectorRegistry()


@pytest.fixture
def counters(registry: CollectorRegistry) -> Counters:
    counters = Counters(registry)
    counters.serve(defenses=DEFENSES, version="sha256:0123")
    return counters


def scrape(registry: CollectorRegistry) -> dict[str, dict[frozenset[tuple[str, str]], float]]:
    found: dict[str, dict[frozenset[tuple[str, str]], float]] = {}
    for family in text_string_to_metric_families(exposition(registry).decode()):
        for sample in family.samples:
            found.setdefault(sample.name, {})[frozenset(sample.labels.items())] = sample.value
    return found


def series(name: str, registry: CollectorRegistry) -> list[dict[str, str]]:
    return [dict(labels) for labels in scrape(registry)[name]]


@pytest.mark.usefixtures("counters")
def test_every_series_is_there_at_zero_from_the_start(registry: CollectorRegistry) -> None:
    found = scrape(registry)
    for name, values in found.items():
        if not name.endswith("_created") and name != "evenvoice_model_info":
            assert set(values.values()) == {0.0}, name
    commands = {(s["outcome"], s["reason"]) for s in series("evenvoice_commands_total", registry)}
    refusals = {("bad_input", "unusable_audio"), ("service", "overloaded"), ("service", "failed")}
    assert commands == {(str(OUTCOME_OF[r]), str(r)) for r in Reason} | refusals
    seconds = {s["defense"] for s in series("evenvoice_decision_seconds_count", registry)}
    assert seconds == set(DEFENSES)
    stages = {s["stage"] for s in series("evenvoice_stage_seconds_count", registry)}
    assert stages == {"read", "decode", "queue", "decide", "record"}


@pytest.mark.usefixtures("counters")
def test_the_bundle_is_named_by_a_gauge_of_one(registry: CollectorRegistry) -> None:
    assert scrape(registry)["evenvoice_model_info"] == {
        frozenset({("version", "sha256:0123"), ("defense", d)}): 1.0 for d in DEFENSES
    }


def test_the_names_and_types_are_the_designs(registry: CollectorRegistry, counters: Counters) -> None:
    del counters
    types = {f.name: f.type for f in text_string_to_metric_families(exposition(registry).decode())}
    expected = {
        "evenvoice_commands": "counter",
        "evenvoice_decision_seconds": "histogram",
        "evenvoice_stage_seconds": "histogram",
        "evenvoice_model_info": "gauge",
    }
    assert {name: kind for name, kind in types.items() if not name.endswith("_created")} == expected


def test_every_metric_has_words_of_help(registry: CollectorRegistry, counters: Counters) -> None:
    del counters
    families = text_string_to_metric_families(exposition(registry).decode())
    assert all(family.documentation for family in families)


def test_what_a_process_decides_refuses_and_takes_is_counted_at_once(
    registry: CollectorRegistry, counters: Counters
) -> None:
    counters.decided(abstention(Reason.NO_SPEECH, ""))
    counters.refused("overloaded")
    counters.times(defense="smoothing", total=0.25, stages={"decode": 0.05, "decide": 0.125})
    found = scrape(registry)
    commands = {labels: value for labels, value in found["evenvoice_commands_total"].items() if value}
    assert commands == {
        frozenset({("outcome", "bad_input"), ("reason", "no_speech")}): 1,
        frozenset({("outcome", "service"), ("reason", "overloaded")}): 1,
    }
    assert found["evenvoice_decision_seconds_sum"][frozenset({("defense", "smoothing")})] == 0.25
    assert found["evenvoice_stage_seconds_sum"][frozenset({("stage", "decide")})] == 0.125
    assert found["evenvoice_stage_seconds_count"][frozenset({("stage", "queue")})] == 0


def test_the_content_type_is_the_text_formats() -> None:
    assert CONTENT_TYPE.startswith("text/plain; version=")


def test_what_a_killed_worker_said_is_forgotten_and_what_it_counted_stays(tmp_path: Path) -> None:
    """In processes of their own: the client library reads its folder's variable once."""
    program = """if True:
        import os, sys
        from prometheus_client import CollectorRegistry
        from monitoring.counters import Counters, exposition, forget_dead_workers
        registry = CollectorRegistry()
        if sys.argv[1] == "count":
            counters = Counters(registry)
            counters.serve(defenses=("none",), version="v")
            counters.commands.labels("service", "overloaded").inc()
        else:
            forget_dead_workers()
            print(exposition(registry).decode())
    """
    environment = {**os.environ, "PROMETHEUS_MULTIPROC_DIR": str(tmp_path)}
    for what in ("count", "count"):
        subprocess.run([sys.executable, "-c", program, what], env=environment, check=True)
    assert len(list(tmp_path.glob("gauge_livemax_*.db"))) == 2
    text = subprocess.run(
        [sys.executable, "-c", program, "read"], env=environment, check=True, capture_output=True, text=True
    ).stdout
    assert 'evenvoice_commands_total{outcome="service",reason="overloaded"} 2.0' in text
    assert "evenvoice_model_info{" not in text
