"""The series that Prometheus gets: all there from the start, from a closed vocabulary."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families

from monitoring.counters import CONTENT_TYPE, Counters, exposition
from recognizer.decision import OUTCOME_OF, Outcome, Reason

VOCABULARY = {"accent": ("north", "south"), "gender": ("female", "male"), "native": ()}
DEFENSES = ("none", "smoothing", "opus.neural_rejection.smoothing")
GROUPS = {
    ("accent", "north"), ("accent", "south"), ("accent", "other"), ("accent", "undeclared"), ("gender", "female"),
    ("gender", "male"), ("gender", "other"), ("gender", "undeclared"), ("native", "other"), ("native", "undeclared"),
}  # fmt: skip


@pytest.fixture
def registry(monkeypatch: pytest.MonkeyPatch) -> CollectorRegistry:
    monkeypatch.delenv("PROMETHEUS_MULTIPROC_DIR", raising=False)
    return CollectorRegistry()


@pytest.fixture
def counters(registry: CollectorRegistry) -> Counters:
    counters = Counters(registry)
    counters.serve(vocabulary=VOCABULARY, defenses=DEFENSES, model="0123456789ab", version="sha256:0123")
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
    for name, last, values in (
        ("evenvoice_group_commands_total", "outcome", {str(o) for o in Outcome}),
        ("evenvoice_group_labelled_total", "result", {"correct", "wrong", "rejected"}),
    ):
        have = {(s["attribute"], s["group"], s["defense"], s["model"], s[last]) for s in series(name, registry)}
        assert have == {(*g, d, "0123456789ab", v) for g in GROUPS for d in DEFENSES for v in values}
    scores = {(s["attribute"], s["group"], s["defense"]) for s in series("evenvoice_rejection_score_count", registry)}
    of_scores = ("none", "smoothing", "opus.neural_rejection.smoothing/neural_rejection")
    assert scores == {(*g, d) for g in GROUPS for d in of_scores}
    draws = {(s["attribute"], s["group"]) for s in series("evenvoice_smoothing_draws_count", registry)}
    assert draws == GROUPS


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
        "evenvoice_group_commands": "counter",
        "evenvoice_group_labelled": "counter",
        "evenvoice_rejection_score": "histogram",
        "evenvoice_smoothing_draws": "histogram",
        "evenvoice_decision_seconds": "histogram",
        "evenvoice_stage_seconds": "histogram",
        "evenvoice_model_info": "gauge",
    }
    assert {name: kind for name, kind in types.items() if not name.endswith("_created")} == expected


def test_every_metric_has_words_of_help(registry: CollectorRegistry, counters: Counters) -> None:
    del counters
    families = text_string_to_metric_families(exposition(registry).decode())
    assert all(family.documentation for family in families)


def test_a_group_named_as_one_of_the_two_extra_ones_is_there_once(registry: CollectorRegistry) -> None:
    Counters(registry).serve(vocabulary={"accent": ("other",)}, defenses=("none",), model="m", version="v")
    groups = [s["group"] for s in series("evenvoice_smoothing_draws_count", registry)]
    assert sorted(groups) == ["other", "undeclared"]


def test_strange_names_of_groups_survive_the_text_format(registry: CollectorRegistry) -> None:
    strange = 'a "quoted" \\ name\nof two lines, größer'
    Counters(registry).serve(vocabulary={"accent": (strange,)}, defenses=("none",), model="m", version="v")
    assert strange in {s["group"] for s in series("evenvoice_smoothing_draws_count", registry)}


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
            counters.serve(vocabulary={}, defenses=("none",), model="m", version="v")
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
