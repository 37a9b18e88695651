"""Whatever a speaker declares, it falls into exactly one group that a counter may show."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recognizer.groups import OTHER, UNDECLARED, all_groups, clean_value, group_in, vocabulary_of

VOCABULARY = {"accent": ("new york", "scotland"), "gender": ("female", "male")}


@pytest.mark.parametrize(
    ("declared", "clean"),
    [
        ("Scotland", "scotland"),
        ("  New \t York\n", "new york"),
        ("", UNDECLARED),
        (" \t ", UNDECLARED),
        ("Undeclared", UNDECLARED),
    ],
)
def test_values_are_trimmed_and_lower_cased(declared: str, clean: str) -> None:
    assert clean_value(declared) == clean


@given(st.text())
def test_cleaning_twice_changes_nothing(value: str) -> None:
    assert clean_value(clean_value(value)) == clean_value(value)


@pytest.mark.parametrize(
    ("declared", "group"),
    [
        (" NEW  york", "new york"),
        ("wales", OTHER),
        ("other", OTHER),
        (None, UNDECLARED),
        ("", UNDECLARED),
        ("undeclared", UNDECLARED),
        ("female", OTHER),  # a group of another attribute
    ],
)
def test_a_declared_value_falls_into_its_group_or_other_or_undeclared(declared: str | None, group: str) -> None:
    assert group_in(VOCABULARY, "accent", declared) == group


@given(st.sampled_from(["accent", "gender"]), st.none() | st.text() | st.sampled_from(["Male", "scotland "]))
def test_every_declared_value_falls_into_a_group_that_a_counter_shows(attribute: str, declared: str | None) -> None:
    assert group_in(VOCABULARY, attribute, declared) in all_groups(VOCABULARY, attribute)


def test_an_attribute_without_a_vocabulary_has_no_groups_of_its_own() -> None:
    assert group_in(VOCABULARY, "age", "twenties") == OTHER
    assert group_in(VOCABULARY, "age", "") == UNDECLARED


def test_every_attribute_has_other_and_undeclared_once() -> None:
    assert all_groups(VOCABULARY, "gender") == ("female", "male", OTHER, UNDECLARED)
    assert all_groups({"age": (OTHER, "teens")}, "age") == (OTHER, "teens", UNDECLARED)


def test_the_vocabulary_is_sorted_and_holds_declared_groups_only() -> None:
    observed = {"gender": ["male", UNDECLARED, "female", "male"], "age": [UNDECLARED], "accent": [OTHER, "us"]}
    assert vocabulary_of(["gender", "age"], observed) == {"gender": ("female", "male"), "age": ()}
    assert vocabulary_of(["accent"], observed) == {"accent": ("us",)}
