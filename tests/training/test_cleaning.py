"""Odd metadata become groups, and are reported."""

from __future__ import annotations

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recognizer.groups import UNDECLARED
from training.corpora.cleaning import AGE, Cleaning, Rule, clean_attribute, clean_table

DECADE_OF = {
    **{"1": "teens", "2": "twenties", "3": "thirties", "4": "forties", "5": "fifties"},
    **{"6": "sixties", "7": "seventies", "8": "eighties", "9": "nineties"},
}


def clean(declared: list[str], rule: Rule) -> tuple[list[str], list[Cleaning]]:
    """Each value from a speaker of its own."""
    speakers = [str(i) for i in range(len(declared))]
    return clean_attribute(speakers, declared, attribute="a", rule=rule)


@pytest.mark.parametrize(
    ("age", "decade"),
    [
        *(
            ("26", "twenties"),
            ("10", "teens"),
            ("19", "teens"),
            ("20", "twenties"),
            ("61", "sixties"),
            ("99", "nineties"),
        ),
        *(("23.0", "twenties"), (" Thirties ", "thirties"), ("", "undeclared")),
    ],
)
def test_ages_become_decades_without_being_reported(age: str, decade: str) -> None:
    assert clean([age], AGE) == ([decade], [])


@pytest.mark.parametrize("age", ["1234", "0", "9", "100", "-26", "young", "inf", "1e9"])
def test_implausible_ages_are_undeclared_and_reported(age: str) -> None:
    assert clean([age], AGE) == ([UNDECLARED], [Cleaning("a", age, UNDECLARED, 1)])


def test_common_voice_fourties_is_reported() -> None:
    assert clean(["fourties"], AGE) == (["forties"], [Cleaning("a", "fourties", "forties", 1)])


@given(st.integers(10, 99))
def test_every_plausible_year_falls_into_the_decade_of_its_first_digit(years: int) -> None:
    assert clean([str(years)], AGE) == ([DECADE_OF[str(years)[0]]], [])


def test_trimming_and_lower_casing_are_not_reported() -> None:
    assert clean([" German", "german ", "GERMAN"], Rule()) == (["german"] * 3, [])


def test_a_judgement_is_reported_with_its_number_of_speakers() -> None:
    groups, report = clean_attribute(
        ["ann", "ann", "bob", "eve"],
        ["Brasilian", "brasilian", "BRASILIAN", "Danish"],
        attribute="accent",
        rule=Rule(table={"brasilian": "brazilian"}),
    )
    assert groups == ["brazilian", "brazilian", "brazilian", "danish"]
    assert report == [Cleaning("accent", "brasilian", "brazilian", 2)]


@pytest.mark.parametrize("answer", ["prefer not to say", "Prefer Not To Say", "do_not_wish_to_say", "N/A", "?"])
def test_no_answer_is_undeclared_and_reported(answer: str) -> None:
    assert clean([answer], Rule()) == ([UNDECLARED], [Cleaning("a", answer.lower(), UNDECLARED, 1)])


def test_a_speaker_who_declared_two_groups_is_undeclared() -> None:
    groups, report = clean_attribute(["ann", "ann", "bob"], ["female", "male", "male"], attribute="gender", rule=Rule())
    assert groups == [UNDECLARED, UNDECLARED, "male"]
    assert report == [Cleaning("gender", "female / male", UNDECLARED, 1)]


def test_a_speaker_who_declared_later_has_the_group_on_every_clip() -> None:
    groups, report = clean_attribute(["ann", "ann"], ["", "female"], attribute="gender", rule=Rule())
    assert groups == ["female", "female"]
    assert report == [Cleaning("gender", UNDECLARED, "female", 1)]


@given(st.lists(st.tuples(st.sampled_from("abc"), st.text(max_size=8)), max_size=20))
def test_each_speaker_has_one_non_empty_group(rows: list[tuple[str, str]]) -> None:
    speakers = [speaker for speaker, _ in rows]
    groups, _ = clean_attribute(speakers, [value for _, value in rows], attribute="a", rule=AGE)
    assert len(set(zip(speakers, groups, strict=True))) == len(set(speakers))
    assert all(groups)


def test_a_table_is_cleaned_attribute_by_attribute_and_left_as_it_was() -> None:
    table = pd.DataFrame(
        {"speaker": ["ann", "bob"], "age": ["26", "1234"], "gender": ["Female", "n/a"], "x": ["X", "Y"]}
    )
    cleaned, report = clean_table(table, {"age": AGE, "gender": Rule()})
    assert cleaned.to_dict("list") == {
        "speaker": ["ann", "bob"],
        "age": ["twenties", UNDECLARED],
        "gender": ["female", UNDECLARED],
        "x": ["X", "Y"],
    }
    assert [c.attribute for c in report] == ["age", "gender"]
    assert table["age"].tolist() == ["26", "1234"]
