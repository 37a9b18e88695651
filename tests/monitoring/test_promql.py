"""PromQL of shares, intervals, gaps and evidence, asked of a real Prometheus and compared with scipy and plain sums."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import pytest
from prometheus_server import Prometheus, needs_prometheus
from scipy.stats import binomtest

from monitoring import promql
from monitoring.betting import BETS, SIDES, alarm_level, log_evidence

pytestmark = needs_prometheus

START = 1_700_000_040  # a whole minute
MINUTES = 60
END = START + 60 * MINUTES
GROUPS = {"north": (200, 30), "south": (100, 40), "east": (8, 0), "undeclared": (50, 5)}
"""Commands accepted and rejected in the hour, over both ledgers."""
HOUR = "1h"
SAME = {"attribute": "accent", "defense": "smoothing", "model": "abc"}


@dataclass
class History:
    """OpenMetrics text, a sample a minute."""

    lines: dict[str, list[str]] = field(default_factory=dict)

    def add(self, name: str, labels: dict[str, str], minute: int, value: float) -> None:
        text = ",".join(f'{key}="{label}"' for key, label in labels.items())
        self.lines.setdefault(name, []).append(f"{name}{{{text}}} {value} {START + 60 * minute}")

    @property
    def text(self) -> str:
        """Every series under a family of its own, unknown in type: PromQL does not look at types."""
        families = (f"# TYPE {name} unknown\n" + "\n".join(lines) for name, lines in self.lines.items())
        return "\n".join((*families, "# EOF\n"))


WEALTH = {
    (ledger, side, bet): float(v)
    for (ledger, side, bet), v in zip(
        itertools.product(("one", "two"), SIDES, BETS),
        np.random.default_rng(0).normal(0.5, 2.0, 2 * len(SIDES) * len(BETS)),
        strict=True,
    )
}


def history() -> str:
    """Ledger `one`: gateway a until minute 30, then b, which goes on counting. Ledger `two`: gateway c.

    Ledger one rejects only while a runs; all else comes evenly.
    """
    made = History()
    for minute in range(MINUTES + 1):
        part = minute / MINUTES
        for group, (accepted, rejected) in GROUPS.items():
            counts = {"accepted": accepted, "rejected": rejected}
            early = min(2 * part, 1.0)
            for ledger, instances in (("one", ("a",) if minute < 30 else ("b",)), ("two", ("c",))):
                for instance in instances:
                    for outcome, total in counts.items():
                        seen = early if ledger == "one" and outcome == "rejected" else part
                        labels = {"instance": instance, "ledger": ledger, "group": group, "outcome": outcome, **SAME}
                        made.add("evenvoice_group_commands_total", labels, minute, 7 + total / 2 * seen)
            for end, value in (("sum", 3.0 * minute), ("count", 12.0 * minute)):
                labels = {"instance": "c", "ledger": "two", "group": group, **SAME}
                made.add(f"evenvoice_rejection_score_{end}", labels, minute, value if group == "north" else 0.0)
        for (ledger, side, bet), wealth in WEALTH.items():
            for instance in ("a", "b"):  # both gateways of a ledger export it
                labels = {
                    "instance": instance,
                    "ledger": ledger,
                    "group": "north",
                    "side": side,
                    "bet": str(bet),
                    **SAME,
                }
                made.add("evenvoice_fairness_log_wealth", labels, minute, wealth)
        for ledger in ("one", "two"):
            level = alarm_level(4, 0.05)
            made.add("evenvoice_fairness_alarm_log_wealth", {"ledger": ledger, "model": "abc"}, minute, level)
    return made.text


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    started = Prometheus(tmp_path_factory.mktemp("prometheus"), history=history())
    yield started
    started.stop()


def by_group(prometheus: Prometheus, expr: str, at: float = END) -> dict[str, float]:
    return {labels["group"]: value for labels, value in prometheus.query(expr, at=at)}


N = promql.decided(window=HOUR, by=("group",))
HITS = promql.rejected(window=HOUR, by=("group",))
RATE = promql.ratio(HITS, N)


def test_counts_are_whole_although_a_gateway_was_replaced_by_another(prometheus: Prometheus) -> None:
    assert by_group(prometheus, N) == pytest.approx({g: a + r for g, (a, r) in GROUPS.items()})
    assert by_group(prometheus, HITS) == pytest.approx({g: r for g, (_, r) in GROUPS.items()})


def test_the_increase_of_each_gateways_own_series_would_bias_the_share(prometheus: Prometheus) -> None:
    series = "max by (ledger, group, outcome) (increase(evenvoice_group_commands_total{%s}[1h]))"
    hits, n = (f"sum by (group) ({series % outcome})" for outcome in (promql.REJECTED, promql.DECIDED))
    naive = by_group(prometheus, promql.ratio(hits, n))
    assert naive["south"] > 1.2 * 40 / 140


def test_two_gateways_of_one_ledger_count_once_and_two_ledgers_are_added(prometheus: Prometheus) -> None:
    wealth = promql.over_ledgers("evenvoice_fairness_log_wealth", by=("group", "side", "bet"))
    found = {(labels["side"], float(labels["bet"])): value for labels, value in prometheus.query(wealth, at=END)}
    assert found == pytest.approx(
        {(s, b): WEALTH["one", s, b] + WEALTH["two", s, b] for s, b in itertools.product(SIDES, BETS)}
    )


def test_wilson_is_scipys(prometheus: Prometheus) -> None:
    lower, upper = (by_group(prometheus, of(HITS, N)) for of in (promql.wilson_lower, promql.wilson_upper))
    for group, (accepted, rejected) in GROUPS.items():
        interval = binomtest(rejected, accepted + rejected).proportion_ci(0.95, method="wilson")
        assert (lower[group], upper[group]) == pytest.approx((interval.low, interval.high), abs=1e-6)
    assert lower["east"] == 0.0


def test_a_share_has_no_value_where_nothing_came(prometheus: Prometheus) -> None:
    assert by_group(prometheus, RATE) == pytest.approx({g: r / (a + r) for g, (a, r) in GROUPS.items()})
    for expr in (
        RATE, promql.wilson_lower(HITS, N), promql.wilson_upper(HITS, N), promql.gap(RATE, by=()),
        promql.undeclared_share(window=HOUR), promql.mean("evenvoice_rejection_score", window=HOUR),
    ):  # fmt: skip
        assert prometheus.query(expr, at=START - 60) == []


def test_a_share_has_no_value_where_counters_stand_still(prometheus: Prometheus) -> None:
    quiet = START + 3600 + 240  # the last samples are still looked at, and nothing grew
    n, hits = (of(window="2m", by=("group",)) for of in (promql.decided, promql.rejected))
    assert set(by_group(prometheus, n, at=quiet).values()) == {0.0}
    for expr in (promql.ratio(hits, n), promql.wilson_lower(hits, n), promql.wilson_upper(hits, n)):
        assert prometheus.query(expr, at=quiet) == []


def test_a_mean_is_that_of_the_window_and_none_where_nothing_was_observed(prometheus: Prometheus) -> None:
    mean = promql.mean("evenvoice_rejection_score", window=HOUR, by=("group",))
    assert by_group(prometheus, mean) == {"north": pytest.approx(0.25)}


def test_little_traffic_is_not_judged(prometheus: Prometheus) -> None:
    assert set(by_group(prometheus, promql.with_traffic(RATE, N, 100))) == {"north", "south"}
    assert set(by_group(prometheus, promql.with_traffic(RATE, N))) == {"north"}
    assert promql.TRAFFIC_FLOOR == 200


def test_a_gap_leaves_the_undeclared_out_and_needs_two_groups(prometheus: Prometheus) -> None:
    n = promql.decided(promql.DECLARED, window=HOUR, by=("group",))
    hits = promql.rejected(promql.DECLARED, window=HOUR, by=("group",))
    rates = promql.with_traffic(promql.ratio(hits, n), n, 100)
    ((_, found),) = prometheus.query(promql.gap(rates, by=()), at=END)
    assert found == pytest.approx(40 / 140 - 30 / 230)
    assert prometheus.query(promql.gap(promql.with_traffic(promql.ratio(hits, n), n, 200), by=()), at=END) == []
    lower, upper = (promql.with_traffic(of(hits, n), n, 100) for of in (promql.wilson_lower, promql.wilson_upper))
    ((_, beyond),) = prometheus.query(promql.gap_lower(lower, upper, by=()), at=END)
    south = binomtest(40, 140).proportion_ci(0.95, method="wilson")
    north = binomtest(30, 230).proportion_ci(0.95, method="wilson")
    assert beyond == pytest.approx(max(south.low - north.high, 0.0), abs=1e-6)
    assert beyond > 0


def test_evidence_is_the_gamblers_whole_wealth(prometheus: Prometheus) -> None:
    ((labels, found),) = prometheus.query(promql.log_evidence(), at=END)
    together = np.array([[WEALTH["one", s, b] + WEALTH["two", s, b] for b in BETS] for s in SIDES])
    assert found == pytest.approx(float(log_evidence(together)))
    assert labels == {"group": "north", **SAME}


def test_an_alarm_is_evidence_at_its_bundles_level(prometheus: Prometheus) -> None:
    level = promql.alarm_level()
    ((_, found),) = prometheus.query(level, at=END)
    assert found == pytest.approx(math.log(4 / 0.05))
    evidence = promql.log_evidence()
    assert prometheus.query(promql.against_alarm_level(f"({evidence} + 100)", level), at=END)
    assert prometheus.query(promql.against_alarm_level(f"({evidence} - 100)", level), at=END) == []


def test_much_wealth_does_not_overflow(prometheus: Prometheus) -> None:
    much = promql.log_evidence().replace("(evenvoice_fairness_log_wealth)", "(evenvoice_fairness_log_wealth + 5000)")
    ((_, found),) = prometheus.query(much, at=END)
    assert found == pytest.approx(700)


def test_the_undeclared_share_is_of_all_commands(prometheus: Prometheus) -> None:
    ((_, share),) = prometheus.query(promql.undeclared_share(window=HOUR), at=END)
    assert share == pytest.approx(55 / sum(a + r for a, r in GROUPS.values()))


def test_the_time_since_a_moment_is_told(prometheus: Prometheus) -> None:
    ((_, seconds),) = prometheus.query(
        promql.age("timestamp(evenvoice_fairness_alarm_log_wealth)", by=("model",)), at=END + 90
    )
    assert seconds == pytest.approx(90)


def test_what_is_no_series_of_a_ledger_is_refused() -> None:
    with pytest.raises(KeyError):
        promql.per_ledger("evenvoice_commands_total")
