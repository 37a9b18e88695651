"""The series of groups as Prometheus reads them, from a snapshot made by hand."""

from __future__ import annotations

import math
import shutil
import subprocess

import numpy as np
import pytest
from prometheus_client.parser import text_string_to_metric_families

from monitoring.betting import BETS, Evidence
from monitoring.evidence import Standing
from monitoring.fairness import Bundle, Snapshot
from monitoring.live import LiveSettings
from monitoring.series import exposition
from monitoring.tally import Cell, Tally
from recognizer.decision import Outcome

VOCABULARY = {"accent": ("north", "south"), "gender": ("female", "male"), "native": ()}
DEFENSES = ("none", "smoothing", "opus.neural_rejection.smoothing")
MODEL = "0123456789ab"
GROUPS = {
    ("accent", "north"), ("accent", "south"), ("accent", "other"), ("accent", "undeclared"), ("gender", "female"),
    ("gender", "male"), ("gender", "other"), ("gender", "undeclared"), ("native", "other"), ("native", "undeclared"),
}  # fmt: skip
Found = dict[str, dict[frozenset[tuple[str, str]], float]]


def snapshot(**changes: object) -> Snapshot:
    given: dict[str, object] = {
        "ledger": "5e3a91c4",
        "passed_at": 1795000000.5,
        "settings": LiveSettings(),
        "bundles": (Bundle(MODEL, VOCABULARY, DEFENSES),),
        "tallies": {},
        "standings": {},
    }
    return Snapshot(**{**given, **changes})  # type: ignore[arg-type]


def scrape(seen: Snapshot) -> Found:
    found: Found = {}
    for family in text_string_to_metric_families(exposition(seen).decode()):
        for sample in family.samples:
            found.setdefault(sample.name, {})[frozenset(sample.labels.items())] = sample.value
    return found


def labels_of(found: Found, name: str, *names: str) -> set[tuple[str, ...]]:
    return {tuple(dict(labels)[n] for n in names) for labels in found[name]}


def test_every_series_of_a_bundle_is_there_at_zero() -> None:
    found = scrape(snapshot())
    always = {"evenvoice_fairness_alarm_log_wealth", "evenvoice_ledger_last_pass_timestamp_seconds"}
    for name, values in found.items():
        if name not in always:
            assert set(values.values()) == {0.0}, name
    where = ("ledger", "attribute", "group", "defense", "model")
    for name, last, kinds in (
        ("evenvoice_group_commands_total", "outcome", {str(o) for o in Outcome}),
        ("evenvoice_group_labelled_total", "result", {"correct", "wrong", "rejected"}),
    ):
        expected = {("5e3a91c4", *g, d, MODEL, kind) for g in GROUPS for d in DEFENSES for kind in kinds}
        assert labels_of(found, name, *where, last) == expected
    scores = labels_of(found, "evenvoice_rejection_score_count", "attribute", "group", "defense")
    of_scores = ("none", "smoothing", "opus.neural_rejection.smoothing/neural_rejection")
    assert scores == {(*g, d) for g in GROUPS for d in of_scores}
    assert labels_of(found, "evenvoice_smoothing_draws_count", "attribute", "group") == GROUPS
    declared = {g for g in GROUPS if g[1] != "undeclared"}
    wealth = labels_of(found, "evenvoice_fairness_log_wealth", *where, "side", "bet")
    expected = {
        ("5e3a91c4", *g, d, MODEL, side, str(bet))
        for g in declared for d in DEFENSES for side in ("more", "less") for bet in BETS
    }  # fmt: skip
    assert wealth == expected
    for name in ("sessions", "speakers"):
        assert labels_of(found, f"evenvoice_fairness_{name}", "attribute", "group") == declared


def test_types_and_words_are_the_designs() -> None:
    families = list(text_string_to_metric_families(exposition(snapshot()).decode()))
    assert {family.name: family.type for family in families} == {
        "evenvoice_group_commands": "counter",
        "evenvoice_group_labelled": "counter",
        "evenvoice_rejection_score": "histogram",
        "evenvoice_smoothing_draws": "histogram",
        "evenvoice_fairness_log_wealth": "gauge",
        "evenvoice_fairness_sessions": "gauge",
        "evenvoice_fairness_speakers": "gauge",
        "evenvoice_fairness_alarm_log_wealth": "gauge",
        "evenvoice_ledger_last_pass_timestamp_seconds": "gauge",
    }
    assert all(family.documentation for family in families)


def test_the_alarm_is_at_one_part_of_alpha_for_each_group_that_is_bet_on() -> None:
    found = scrape(snapshot())
    groups = len([g for g in GROUPS if g[1] != "undeclared"])
    level = {frozenset({("ledger", "5e3a91c4"), ("model", MODEL)}): pytest.approx(math.log(groups / 0.05))}
    assert found["evenvoice_fairness_alarm_log_wealth"] == level
    passed = found["evenvoice_ledger_last_pass_timestamp_seconds"]
    assert list(passed.values()) == [1795000000.5]


def test_numbers_stand_where_they_belong_and_evidence_can_be_had_from_them() -> None:
    cell = Cell(MODEL, "smoothing", "accent", "north")
    tally = Tally()
    tally.outcomes["rejected"], tally.labelled["wrong"] = 7, 2
    for value in (0.0005, 0.3, 1.0):
        tally.scores.observe(value)
    tally.draws.observe(30)
    other = Tally()
    other.draws.observe(20_000)
    evidence = Evidence(0.02)
    evidence.add([0.5, 0.25, -0.125])
    standing = Standing(evidence, sessions=9, own_speakers=4, rest_speakers=30)
    seen = snapshot(tallies={cell: tally, cell._replace(defense="none"): other}, standings={cell: standing})
    found = scrape(seen)
    where = {"ledger": "5e3a91c4", "attribute": "accent", "group": "north", "model": MODEL}

    def value(name: str, **labels: str) -> float:
        return found[name][frozenset({**where, **labels}.items())]

    assert value("evenvoice_group_commands_total", defense="smoothing", outcome="rejected") == 7
    assert value("evenvoice_group_labelled_total", defense="smoothing", result="wrong") == 2
    buckets = {
        le: value("evenvoice_rejection_score_bucket", defense="smoothing", le=le) for le in ("0.001", "0.5", "+Inf")
    }
    assert buckets == {"0.001": 1, "0.5": 2, "+Inf": 3}
    assert value("evenvoice_rejection_score_sum", defense="smoothing") == pytest.approx(1.3005)
    assert value("evenvoice_smoothing_draws_sum") == 20_030
    assert value("evenvoice_fairness_sessions", defense="smoothing") == 9
    assert value("evenvoice_fairness_speakers", defense="smoothing") == 4
    purses = [
        v
        for labels, v in found["evenvoice_fairness_log_wealth"].items()
        if dict(labels).items() >= {**where, "defense": "smoothing"}.items()
    ]
    assert len(purses) == 16
    assert math.log(np.mean(np.exp(purses))) == pytest.approx(evidence.log_evidence)
    assert (seen.is_alarm(cell), seen.is_alarm(cell._replace(group="south"))) == (False, False)


def test_a_group_at_its_level_is_an_alarm() -> None:
    cell = Cell(MODEL, "smoothing", "accent", "north")
    evidence = Evidence(0.02)
    evidence.add([1.0] * 12)
    assert snapshot(standings={cell: Standing(evidence)}).is_alarm(cell)


def test_strange_names_of_groups_survive_the_text_format() -> None:
    strange = 'a "quoted" \\ name\nof two lines, größer'
    found = scrape(snapshot(bundles=(Bundle(MODEL, {"accent": (strange,)}, ("none",)),)))
    assert strange in {group for (group,) in labels_of(found, "evenvoice_smoothing_draws_count", "group")}


def test_a_group_named_as_one_of_the_two_extra_ones_is_there_once() -> None:
    text = exposition(snapshot(bundles=(Bundle(MODEL, {"accent": ("other",)}, ("none",)),))).decode()
    assert text.count("evenvoice_smoothing_draws_count{") == 2


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed")
def test_promtool_finds_nothing_wrong() -> None:
    done = subprocess.run(
        ["promtool", "check", "metrics"], input=exposition(snapshot()), capture_output=True, check=False
    )
    assert (done.returncode, done.stderr.decode()) == (0, "")
