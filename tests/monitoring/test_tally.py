"""Sums of commands: the same whatever they are added up by, and whether or not they were stored in between."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitoring.tally import DRAWS_BUCKETS, SCORE_BUCKETS, Distribution, Tally

VALUES = st.lists(st.floats(0, 2), max_size=50)


@given(VALUES)
def test_buckets_are_prometheus_le(values: list[float]) -> None:
    found = Distribution(SCORE_BUCKETS)
    for value in values:
        found.observe(value)
    cumulative = np.cumsum(found.counts).tolist()
    assert cumulative[:-1] == [sum(value <= bound for value in values) for bound in SCORE_BUCKETS]
    assert found.count == cumulative[-1] == len(values)
    assert found.mean == (pytest.approx(np.mean(values)) if values else None)


def tally_of(events: list[tuple[str, float, int]]) -> Tally:
    tally = Tally()
    for what, score, draws in events:
        (tally.labelled if what in tally.labelled else tally.outcomes)[what] += 1
        tally.scores.observe(score)
        tally.draws.observe(draws)
    return tally


EVENTS = st.lists(
    st.tuples(st.sampled_from(["accepted", "service", "wrong"]), st.floats(0, 1), st.integers(1, 20_000)), max_size=30
)


@given(EVENTS, EVENTS)
def test_tallies_add_up_and_survive_being_stored(
    first: list[tuple[str, float, int]], second: list[tuple[str, float, int]]
) -> None:
    whole, part = tally_of([*first, *second]), tally_of(first)
    stored = Tally.from_json(json.loads(json.dumps(part.to_json())))
    assert stored == part
    stored.add(tally_of(second))
    assert (stored.outcomes, stored.labelled) == (whole.outcomes, whole.labelled)
    assert (stored.scores.counts, stored.draws) == (whole.scores.counts, whole.draws)
    assert stored.scores.sum == pytest.approx(whole.scores.sum)
    assert stored.observations == len(first) + len(second)


def test_counts_over_other_buckets_are_refused() -> None:
    stored = Tally().to_json()
    stored["draws"] = {"counts": [0, 0, 0], "sum": 0.0}
    with pytest.raises(ValueError, match=f"3 counts; one a bound and one above them, {len(DRAWS_BUCKETS) + 1}"):
        Tally.from_json(stored)


def test_the_rate_is_of_what_a_defense_decided() -> None:
    tally = Tally()
    assert tally.rejection_rate is None
    tally.outcomes |= {"accepted": 3, "rejected": 1, "bad_input": 7, "service": 9}
    assert tally.rejection_rate == 0.25
