"""A defense's name says its steps, and nothing else is a name."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recognizer.defense import DefenseName
from recognizer.purification import PURIFIERS
from recognizer.steps import DefenseNameError, Steps, steps_of

STEPS = (*PURIFIERS, *DefenseName, "luck", "")


def is_accepted(steps: list[str]) -> bool:
    """The rule in other words: distinct purifiers in any order, then NR or not, then RS or not; or none alone."""
    if steps == ["none"]:
        return True
    *before, last = ["", *steps]
    if last == "smoothing":
        *before, last = before
    if last == "neural_rejection":
        *before, last = before
    purifiers = [step for step in (*before, last) if step]
    is_whole = len(steps) == len([s for s in steps if s])
    return bool(steps) and is_whole and len(set(purifiers)) == len(purifiers) and set(purifiers) <= set(PURIFIERS)


@given(st.lists(st.sampled_from(STEPS), min_size=1, max_size=5))
def test_a_name_is_read_back_or_refused(steps: list[str]) -> None:
    name = ".".join(steps)
    if is_accepted(steps):
        assert steps_of(name).name == name
    else:
        with pytest.raises(DefenseNameError) as refused:
            steps_of(name)
        assert repr(name) in str(refused.value)


def test_every_order_of_purifiers_is_a_defense_of_its_own() -> None:
    for purifiers in itertools.permutations(("opus", "low_pass", "quantisation")):
        found = steps_of(".".join((*purifiers, "neural_rejection", "smoothing")))
        assert found == Steps(purifiers, (DefenseName.NEURAL_REJECTION, DefenseName.SMOOTHING))
        assert found.is_combined


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("opus.opus", "'opus' comes twice; each step is taken once"),
        ("smoothing.opus", "the order is purifiers, then neural_rejection, then smoothing: give 'opus.smoothing'"),
        ("smoothing.neural_rejection", "give 'neural_rejection.smoothing'"),
        ("luck.opus.charm", r"there is no step 'luck', 'charm'; accepted are none, or .* \(low_pass, .* opus"),
        ("opus.none", "'none' stands alone"),
        ("", "there is no step ''"),
        ("opus.", "there is no step ''"),
        ("Smoothing", "there is no step 'Smoothing'"),
    ],
)
def test_a_refusal_says_what_is_wrong_and_what_is_accepted(name: str, words: str) -> None:
    with pytest.raises(DefenseNameError, match=words):
        steps_of(name)


def test_names_stand_in_a_query_as_they_are() -> None:
    from urllib.parse import quote

    everything = ".".join((*PURIFIERS, "neural_rejection", "smoothing"))
    assert quote(steps_of(everything).name, safe="") == everything
    assert len(everything) <= 128  # what the gateway takes
