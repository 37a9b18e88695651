"""What one decision, and one label, adds to its group's tally."""

from __future__ import annotations

import numpy as np
import pytest

from monitoring.live import count, count_label, label_result
from monitoring.tally import Tally
from recognizer.combined import agreement
from recognizer.decision import UNKNOWN, Certificate, Decision, Outcome, Part, Reason, abstention


def decision(reason: Reason = Reason.OK, confidence: float = 0.5, certificate: Certificate | None = None) -> Decision:
    command = "left" if reason is Reason.OK else None
    return Decision(command, reason, "", confidence, certificate=certificate)


def smoothed(p: float, draws: int = 100) -> Decision:
    return decision(certificate=Certificate(defense="smoothing", p_value=p, draws=draws))


def total(*decisions: Decision) -> Tally:
    tally = Tally()
    for each in decisions:
        count(each, tally)
    return tally


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


def test_a_label_is_one_observation_and_no_command() -> None:
    tally = Tally()
    count_label("wrong", tally)
    assert tally.labelled == {"correct": 0, "wrong": 1, "rejected": 0}
    assert (tally.observations, sum(tally.outcomes.values())) == (1, 0)


def test_a_decision_that_came_too_late_says_nothing_of_the_defense() -> None:
    tally = total(smoothed(0.5).but_abstain(Reason.DEADLINE, "no decision within 10 ms"))
    assert tally.outcomes == {"accepted": 0, "rejected": 0, "bad_input": 0, "service": 1}
    assert tally.scores.count == 0


def test_rejection_scores_are_the_mean_of_what_eq_2_makes_of_each_decision() -> None:
    rng = np.random.default_rng(0)
    confidence, p = rng.uniform(0.2, 1.0, 50), np.append(rng.uniform(0.0, 1.0, 48), [0.0005, 1.0])
    rejection = Certificate(defense="neural_rejection")
    for decisions, mean in (
        ([decision(confidence=float(c), certificate=rejection) for c in confidence], (1 - confidence).mean()),
        ([smoothed(float(value)) for value in p], np.maximum(p - 0.001, 0).mean()),
    ):
        tally = total(*decisions)
        assert tally.scores.count == 50
        assert tally.scores.mean == pytest.approx(mean)


def test_the_plain_network_and_clips_that_were_not_heard_have_no_score() -> None:
    tally = total(decision(), abstention(Reason.NO_SPEECH, ""))
    assert (tally.scores.count, tally.draws.count) == (0, 0)
    assert tally.outcomes == {"accepted": 1, "rejected": 0, "bad_input": 1, "service": 0}


def combined(confidence: float, p: float | None, *, reason: Reason = Reason.OK, draws: int = 100) -> Decision:
    """Neural rejection, and where p is given smoothing after it, which has this reason."""
    rejecting = Reason.OK if p is not None else Reason.LOW_CONFIDENCE
    parts = [Part("neural_rejection", decision(rejecting, confidence, Certificate(defense="neural_rejection")))]
    if p is not None:
        vote = Certificate(defense="smoothing", p_value=p, draws=draws)
        parts.append(Part("smoothing", decision(reason, 0.5, vote)))
    return agreement(parts)


def test_of_a_combined_defense_the_first_parts_score_is_counted_of_every_clip() -> None:
    """Whatever became of the second part, which heard only some; its own scores would be of a selection."""
    tally = total(
        combined(0.9, 0.0),
        combined(0.3, None),
        combined(0.8, 1.0, reason=Reason.SMOOTHING_TIE),
        combined(0.7, 1.0, reason=Reason.DEADLINE),  # the vote ran out of time
    )
    assert tally.scores.count == 4
    assert tally.scores.sum == pytest.approx(0.1 + 0.7 + 0.2 + 0.3)
    assert tally.outcomes == {"accepted": 1, "rejected": 2, "bad_input": 0, "service": 1}


def test_draws_are_counted_where_smoothing_ran_whoever_settled_it() -> None:
    turned_away_first = agreement([*combined(0.3, None).parts, *combined(0.9, 0.0, draws=30).parts[1:]])
    tally = total(combined(0.3, None), combined(0.9, 0.0, draws=20), turned_away_first, smoothed(0.1, draws=100))
    assert (tally.draws.sum, tally.draws.count) == (150, 3)
