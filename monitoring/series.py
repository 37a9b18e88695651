"""The series of groups that Prometheus gets, made of what is released. Every series of a bundle exists from the start.

Sum them within one attribute, never over all: each command counts once in every attribute. Every gateway of one ledger
shows the same ones: take `max by (ledger, ...)` first, and sum over ledgers after.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import accumulate

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from monitoring.betting import BETS, SIDES, Evidence
from monitoring.evidence import Standing
from monitoring.fairness import Snapshot
from monitoring.scores import scored_live
from monitoring.tally import DRAWS_BUCKETS, Distribution

_GROUP = ("ledger", "attribute", "group", "defense", "model")


class GroupSeries(Collector):
    """Collects a snapshot."""

    def __init__(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot

    def collect(self) -> Iterator[Metric]:
        yield from self._counts()
        yield from self._draws()
        yield from self._evidence()
        yield from self._ledger()

    def _counts(self) -> Iterator[Metric]:
        commands = CounterMetricFamily(
            "evenvoice_group_commands",
            "Commands answered, by the speaker's group; released in lots.",
            labels=(*_GROUP, "outcome"),
        )
        labelled = CounterMetricFamily(
            "evenvoice_group_labelled",
            "Commands whose true command is known, by the speaker's group; released in lots.",
            labels=(*_GROUP, "result"),
        )
        scores = HistogramMetricFamily(
            "evenvoice_rejection_score",
            "Rejection score of a command; sum / count is the live AUC_FPR. Of a combined defense, its first part's.",
            labels=_GROUP,
        )
        for cell in self._snapshot.cells:
            tally = self._snapshot.tally(cell)
            where = (self._snapshot.ledger, cell.attribute, cell.group)
            for outcome, count in tally.outcomes.items():
                commands.add_metric((*where, cell.defense, cell.model, outcome), count)
            for result, count in tally.labelled.items():
                labelled.add_metric((*where, cell.defense, cell.model, result), count)
            buckets = _buckets(tally.scores)
            scores.add_metric((*where, scored_live(cell.defense), cell.model), buckets, sum_value=tally.scores.sum)
        yield from (commands, labelled, scores)

    def _draws(self) -> Iterator[Metric]:
        by_group: dict[tuple[str, str, str], Distribution] = {}
        for cell in self._snapshot.cells:
            of_group = by_group.setdefault((cell.attribute, cell.group, cell.model), Distribution(DRAWS_BUCKETS))
            of_group.add(self._snapshot.tally(cell).draws)
        draws = HistogramMetricFamily(
            "evenvoice_smoothing_draws",
            "Draws that randomized smoothing took for a command, where it ran.",
            labels=("ledger", "attribute", "group", "model"),
        )
        for labels, of_group in by_group.items():
            draws.add_metric((self._snapshot.ledger, *labels), _buckets(of_group), sum_value=of_group.sum)
        yield draws

    def _evidence(self) -> Iterator[Metric]:
        wealth = GaugeMetricFamily(
            "evenvoice_fairness_log_wealth",
            "Logarithm of what a bet on a group's being turned away more, or less, than the rest has come to.",
            labels=(*_GROUP, "side", "bet"),
        )
        sessions = GaugeMetricFamily(
            "evenvoice_fairness_sessions", "Sessions of the group that the evidence rests on.", labels=_GROUP
        )
        speakers = GaugeMetricFamily(
            "evenvoice_fairness_speakers",
            "Distinct speakers that the evidence rests on: of the group, or of the rest where those are fewer.",
            labels=_GROUP,
        )
        nothing = Standing(Evidence(self._snapshot.settings.tolerance))
        for cell in self._snapshot.bet_on:
            standing = self._snapshot.standings.get(cell, nothing)
            labels = (self._snapshot.ledger, cell.attribute, cell.group, cell.defense, cell.model)
            sessions.add_metric(labels, standing.sessions)
            speakers.add_metric(labels, standing.speakers)
            for side, purses in zip(SIDES, standing.evidence.log_wealth.tolist(), strict=True):
                for bet, purse in zip(BETS, purses, strict=True):
                    wealth.add_metric((*labels, side, str(bet)), purse)
        yield from (wealth, sessions, speakers)

    def _ledger(self) -> Iterator[Metric]:
        level = GaugeMetricFamily(
            "evenvoice_fairness_alarm_log_wealth",
            "Logarithm of the wealth at which the evidence on a group is an alarm: groups / alpha.",
            labels=("ledger", "model"),
        )
        for model, value in self._snapshot.alarm_levels.items():
            level.add_metric((self._snapshot.ledger, model), value)
        passed = GaugeMetricFamily(
            "evenvoice_ledger_last_pass_timestamp_seconds",
            "When stored decisions were last looked through for what may be counted.",
            labels=("ledger",),
        )
        passed.add_metric((self._snapshot.ledger,), self._snapshot.passed_at)
        yield from (level, passed)


def exposition(snapshot: Snapshot) -> bytes:
    """A snapshot in Prometheus' text format."""
    registry = CollectorRegistry()
    registry.register(GroupSeries(snapshot))
    return generate_latest(registry)


def _buckets(distribution: Distribution) -> list[tuple[str, float]]:
    """Cumulative, as Prometheus has them."""
    bounds = (*(str(float(bound)) for bound in distribution.bounds), "+Inf")
    return list(zip(bounds, accumulate(distribution.counts), strict=True))
