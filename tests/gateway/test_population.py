"""The table of whom a gateway turned away, against figures counted by hand."""

from __future__ import annotations

import pytest

from gateway.cli.population import Spoken, tables, totals
from recognizer.decision import Outcome
from recognizer.defense import DefenseName

REJECTED, ACCEPTED, BAD = Outcome.REJECTED, Outcome.ACCEPTED, Outcome.BAD_INPUT


def said(defense: DefenseName, speaker: str, gender: str, outcome: Outcome, *, correct: bool, ms: float) -> Spoken:
    return Spoken(defense, speaker, {"gender": gender}, outcome, correct, ms)


SPOKEN = [
    said(DefenseName.NONE, "a", "female", ACCEPTED, correct=True, ms=1),
    said(DefenseName.NONE, "a", "female", ACCEPTED, correct=False, ms=2),
    said(DefenseName.NONE, "b", "male", ACCEPTED, correct=True, ms=9),
    said(DefenseName.NEURAL_REJECTION, "a", "female", REJECTED, correct=False, ms=3),
    said(DefenseName.NEURAL_REJECTION, "a", "female", ACCEPTED, correct=True, ms=3),
    said(DefenseName.NEURAL_REJECTION, "b", "male", ACCEPTED, correct=True, ms=3),
    said(DefenseName.SMOOTHING, "a", "female", REJECTED, correct=False, ms=5),
    said(DefenseName.SMOOTHING, "a", "female", REJECTED, correct=False, ms=5),
    said(DefenseName.SMOOTHING, "b", "male", BAD, correct=False, ms=5),
]


def test_totals_are_shares_and_medians() -> None:
    found = totals(SPOKEN)
    assert found["none"] == pytest.approx({"rejected": 0, "correct": 2 / 3, "milliseconds": 2})
    assert found["neural_rejection"] == pytest.approx({"rejected": 1 / 3, "correct": 2 / 3, "milliseconds": 3})
    assert found["smoothing"] == pytest.approx({"rejected": 2 / 3, "correct": 0, "milliseconds": 5})


def test_each_group_has_a_row_with_its_speakers_and_commands() -> None:
    everybody, by_gender = tables(SPOKEN, ["gender"])
    assert everybody.rows == (("all", "2", "3", "0.0/33.3/66.7", "66.7/66.7/0.0"),)
    assert by_gender.rows == (
        ("female", "1", "2", "0.0/50.0/100.0", "50.0/50.0/0.0"),
        ("male", "1", "1", "0.0/0.0/0.0", "100.0/100.0/0.0"),
    )
