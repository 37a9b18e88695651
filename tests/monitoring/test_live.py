"""Live counting against sums made by hand, and against an onlooker who compares one scrape with the next."""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry

from monitoring.counters import Counters
from monitoring.live import LiveMonitor, label_result
from recognizer.combined import agreement
from recognizer.decision import OUTCOME_OF, UNKNOWN, Certificate, Decision, Outcome, Part, Reason, abstention

VOCABULARY = {"accent": ("north", "south"), "gender": ("female", "male")}
SPEAKERS = {
    f"s{i}": {"accent": ("north", "south")[i % 2], "gender": ("female", "male", "undeclared")[i % 3]} for i in range(9)
}
REASONS = (Reason.OK, Reason.LOW_CONFIDENCE, Reason.SMOOTHING_TIE, Reason.NOT_A_COMMAND)
COMMANDS, LABELS = "evenvoice_group_commands_total", "evenvoice_group_labelled_total"
Series = dict[tuple[str, frozenset[tuple[str, str]]], float]


class Watch:
    """A monitor and its registry."""

    def __init__(self, commands: int, speakers: int) -> None:
        self.registry = CollectorRegistry()
        counters = Counters(self.registry)
        counters.serve(
            vocabulary=VOCABULARY,
            defenses=("none", "neural_rejection", "smoothing", "neural_rejection.smoothing"),
            model="m",
            version="v",
        )
        self.monitor = LiveMonitor(counters, model="m", release_commands=commands, release_speakers=speakers)

    def scrape(self) -> Series:
        return {
            (s.name, frozenset(s.labels.items())): s.value
            for metric in self.registry.collect()
            for s in metric.samples
            if not s.name.endswith("_created")
        }

    def total(self, name: str, **labels: str) -> float:
        return sum(v for (n, have), v in self.scrape().items() if n == name and set(labels.items()) <= have)

    def decided(self, decision: Decision, speaker: str | None, defense: str = "none") -> None:
        groups = SPEAKERS[speaker] if speaker else dict.fromkeys(VOCABULARY, "undeclared")
        self.monitor.decided(decision, defense=defense, groups=groups, speaker=speaker)


def decision(reason: Reason = Reason.OK, confidence: float = 0.5, certificate: Certificate | None = None) -> Decision:
    command = "left" if reason is Reason.OK else None
    return Decision(command, reason, "", confidence, certificate=certificate)


def smoothed(p: float, draws: int = 100) -> Decision:
    return decision(certificate=Certificate(defense="smoothing", p_value=p, draws=draws))


def of_group(series: Series, attribute: str, group: str) -> Series:
    return {k: v for k, v in series.items() if {("attribute", attribute), ("group", group)} <= k[1]}


@pytest.mark.parametrize(
    ("outcome", "said", "truth", "result"),
    [
        (Outcome.ACCEPTED, "left", "left", "correct"),
        (Outcome.ACCEPTED, "left", "right", "wrong"),
        (Outcome.ACCEPTED, "left", UNKNOWN, "wrong"),
        (Outcome.REJECTED, None, "left", "rejected"),
        (Outcome.REJECTED, None, UNKNOWN, "correct"),
        (Outcome.BAD_INPUT, None, "left", None),
        (Outcome.SERVICE, None, "left", None),
    ],
)
def test_what_a_label_makes_of_a_decision(outcome: Outcome, said: str | None, truth: str, result: str | None) -> None:
    assert label_result(outcome, said, truth) == result


events = st.lists(
    st.tuples(
        st.sampled_from(sorted(SPEAKERS)),
        st.sampled_from([*REASONS, "label"]),
        st.sampled_from(["none", "neural_rejection", "smoothing"]),
    ),
    max_size=80,
)


@settings(max_examples=25, deadline=None)
@given(events, st.integers(1, 10), st.integers(1, 4))
def test_an_onlooker_never_sees_a_change_made_by_too_few(events: list[tuple[str, Any, str]], k: int, m: int) -> None:
    watch = Watch(k, m)
    waiting: defaultdict[tuple[str, str, str, str], list[str]] = defaultdict(list)
    before = watch.scrape()
    for speaker, what, defense in events:
        name = LABELS if what == "label" else COMMANDS
        if what == "label":
            watch.monitor.labelled("wrong", defense=defense, groups=SPEAKERS[speaker], speaker=speaker)
        else:
            watch.decided(decision(what), speaker, defense)
        for attribute, group in SPEAKERS[speaker].items():
            waiting[attribute, group, defense, name].append(speaker)
        after = watch.scrape()
        for (attribute, group, by, counter), lot in waiting.items():
            of_lot = [
                key for key in of_group(after, attribute, group) if key[0] == counter and ("defense", by) in key[1]
            ]
            if step := sum(after[key] - before[key] for key in of_lot):
                assert step == len(lot) >= k
                assert len(set(lot)) >= m
                waiting[attribute, group, by, counter] = []
        changed = {key[0] for key, value in after.items() if value != before[key]} - {"evenvoice_commands_total"}
        assert changed == set() or changed & {COMMANDS, LABELS}  # no histogram moves by itself
        before = after


def test_a_defense_that_one_person_alone_was_given_is_not_seen_in_a_lot_of_others() -> None:
    watch = Watch(10, 3)
    for number in range(12):
        watch.decided(decision(), ("s0", "s2", "s4")[number % 3], "none")
    watch.decided(decision(Reason.SMOOTHING_TIE), "s6", "smoothing")
    assert watch.total(COMMANDS, attribute="accent", group="north", defense="none") == 10
    assert watch.total(COMMANDS, attribute="accent", group="north", defense="smoothing") == 0


def test_commands_without_a_speaker_release_no_registered_one() -> None:
    watch = Watch(3, 3)
    watch.decided(decision(Reason.SMOOTHING_TIE), "s2", "smoothing")  # of undeclared gender
    for _ in range(4):
        watch.decided(decision(), None, "smoothing")
    assert watch.total(COMMANDS, attribute="gender", group="undeclared", outcome="accepted") == 3
    assert watch.total(COMMANDS, attribute="gender", group="undeclared", outcome="rejected") == 0


@settings(max_examples=15, deadline=None)
@given(events)
def test_with_nothing_held_back_every_attribute_adds_up_to_the_total(events: list[tuple[str, Any, str]]) -> None:
    watch = Watch(1, 1)
    said = [(speaker, what, defense) for speaker, what, defense in events if what != "label"]
    for speaker, what, defense in said:
        watch.decided(decision(what), speaker, defense)
    outcomes = Counter(str(OUTCOME_OF[what]) for _, what, _ in said)
    for outcome, count in outcomes.items():
        assert watch.total("evenvoice_commands_total", outcome=outcome) == count
        for attribute in VOCABULARY:
            assert watch.total("evenvoice_group_commands_total", attribute=attribute, outcome=outcome) == count
    by_cell = Counter((SPEAKERS[speaker]["gender"], defense) for speaker, _, defense in said)
    for (gender, defense), count in by_cell.items():
        found = watch.total("evenvoice_group_commands_total", attribute="gender", group=gender, defense=defense)
        assert found == count


def test_the_total_is_counted_at_once_while_the_groups_wait() -> None:
    watch = Watch(10, 3)
    watch.decided(decision(), "s0")
    assert watch.total("evenvoice_commands_total") == 1
    assert watch.total("evenvoice_group_commands_total") == 0


def test_one_label_among_many_commands_is_not_seen_until_there_are_enough_labels() -> None:
    watch = Watch(4, 2)
    for speaker in ("s0", "s2", "s4", "s6"):  # all of them north
        watch.decided(decision(), speaker)
    assert watch.total(COMMANDS, attribute="accent", group="north") == 4
    for speaker, seen in (("s0", 0), ("s2", 0), ("s0", 0), ("s2", 4)):
        watch.monitor.labelled("rejected", defense="none", groups=SPEAKERS[speaker], speaker=speaker)
        assert watch.total(LABELS, attribute="accent", group="north", result="rejected") == seen


def test_a_decision_that_came_too_late_says_nothing_of_the_defense() -> None:
    watch = Watch(1, 1)
    watch.decided(smoothed(0.5).but_abstain(Reason.DEADLINE, "no decision within 10 ms"), "s0", "smoothing")
    assert watch.total(COMMANDS, attribute="gender", outcome="service") == 1
    assert watch.total("evenvoice_rejection_score_count", attribute="gender") == 0


def test_a_refused_command_is_counted() -> None:
    watch = Watch(1, 1)
    watch.monitor.refused(Outcome.SERVICE, "overloaded")
    assert watch.total("evenvoice_commands_total", outcome="service", reason="overloaded") == 1


def test_rejection_scores_are_the_mean_of_what_eq_2_makes_of_each_decision() -> None:
    rng = np.random.default_rng(0)
    confidence, p = rng.uniform(0.2, 1.0, 50), np.append(rng.uniform(0.0, 1.0, 48), [0.0005, 1.0])
    watch = Watch(1, 1)
    for value in confidence:
        watch.decided(
            decision(confidence=float(value), certificate=Certificate(defense="neural_rejection")),
            "s0",
            "neural_rejection",
        )
    for value in p:
        watch.decided(smoothed(float(value)), "s0", "smoothing")
    for defense, mean in (
        ("neural_rejection", (1 - confidence).mean()),
        ("smoothing", np.maximum(p - 0.001, 0).mean()),
    ):
        for attribute in VOCABULARY:
            labels = {"attribute": attribute, "defense": defense}
            count = watch.total("evenvoice_rejection_score_count", **labels)
            assert count == 50
            assert watch.total("evenvoice_rejection_score_sum", **labels) / count == pytest.approx(mean)


def test_the_plain_network_and_clips_that_were_not_heard_have_no_score() -> None:
    watch = Watch(1, 1)
    watch.decided(decision(), "s0")
    watch.decided(abstention(Reason.NO_SPEECH, ""), "s0", "smoothing")
    assert watch.total("evenvoice_rejection_score_count") == 0
    assert watch.total("evenvoice_group_commands_total", attribute="accent", outcome="bad_input") == 1


def combined(confidence: float, p: float | None, *, reason: Reason = Reason.OK, draws: int = 100) -> Decision:
    """Neural rejection, and where p is given smoothing after it, which has this reason."""
    rejecting = Reason.OK if p is not None else Reason.LOW_CONFIDENCE
    parts = [Part("neural_rejection", decision(rejecting, confidence, Certificate(defense="neural_rejection")))]
    if p is not None:
        vote = Certificate(defense="smoothing", p_value=p, draws=draws)
        parts.append(Part("smoothing", decision(reason, 0.5, vote)))
    return agreement(parts)


def test_of_a_combined_defense_the_first_parts_score_is_exported_of_every_clip() -> None:
    """Whatever became of the second part, which heard only some; its own scores would be of a selection."""
    combination = "neural_rejection.smoothing"
    watch = Watch(1, 1)
    seen = [combined(0.9, 0.0), combined(0.3, None), combined(0.8, 1.0, reason=Reason.SMOOTHING_TIE)]
    seen += [combined(0.7, 1.0, reason=Reason.DEADLINE)]  # the vote ran out of time
    for each in seen:
        watch.decided(each, "s0", combination)
    name, labels = "evenvoice_rejection_score", {"attribute": "accent", "group": "north"}
    scored = {**labels, "defense": f"{combination}/neural_rejection"}
    assert watch.total(f"{name}_count", **scored) == watch.total(f"{name}_count", **labels) == 4
    assert watch.total(f"{name}_sum", **scored) == pytest.approx(0.1 + 0.7 + 0.2 + 0.3)
    outcomes = {
        outcome: watch.total(COMMANDS, defense=combination, outcome=outcome, **labels)
        for outcome in ("accepted", "rejected", "service")
    }
    assert outcomes == {"accepted": 1, "rejected": 2, "service": 1}


def test_draws_are_counted_where_smoothing_ran_whoever_settled_it() -> None:
    watch = Watch(1, 1)
    watch.decided(combined(0.3, None), "s0", "neural_rejection.smoothing")
    watch.decided(combined(0.9, 0.0, draws=20), "s0", "neural_rejection.smoothing")
    turned_away_first = agreement([*combined(0.3, None).parts, *combined(0.9, 0.0, draws=30).parts[1:]])
    watch.decided(turned_away_first, "s0", "neural_rejection.smoothing")
    assert watch.total("evenvoice_smoothing_draws_sum", attribute="accent", group="north") == 50
    assert watch.total("evenvoice_smoothing_draws_count", attribute="accent", group="north") == 2


def test_draws_are_counted_by_group() -> None:
    watch = Watch(1, 1)
    watch.decided(smoothed(0.1, draws=100), "s0", "smoothing")
    watch.decided(smoothed(0.1, draws=40), "s2", "smoothing")
    labels = {"attribute": "accent", "group": "north"}
    assert watch.total("evenvoice_smoothing_draws_sum", **labels) == 140
    assert watch.total("evenvoice_smoothing_draws_count", **labels) == 2


def test_commands_of_nobody_in_particular_are_undeclared() -> None:
    watch = Watch(3, 3)
    for _ in range(3):
        watch.decided(decision(), None)
    assert watch.total("evenvoice_group_commands_total", attribute="accent", group="undeclared") == 3


def test_seconds_are_counted_by_defense_and_stage() -> None:
    watch = Watch(10, 3)
    watch.monitor.times(defense="smoothing", total=0.25, stages={"decode": 0.05, "decide": 0.125})
    assert watch.total("evenvoice_decision_seconds_sum", defense="smoothing") == 0.25
    assert watch.total("evenvoice_stage_seconds_sum", stage="decide") == 0.125
    assert watch.total("evenvoice_stage_seconds_count", stage="queue") == 0
