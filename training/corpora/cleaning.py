"""Odd metadata become groups, and every oddity is reported: nothing is repaired silently.

A `Rule` says what an attribute's declared values mean in one corpus: its `coding` is what the corpus's own
documentation says (a number of years, `male_masculine`), its `table` what somebody had to judge (`brasilian`).
Judgements, and declared values that end as `undeclared` or `other`, are reported; the ordinary coding is not.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import pandas as pd

from recognizer.groups import NO_ANSWER, OTHER, UNDECLARED, age_decade, clean_value

NATIVE, NON_NATIVE = "native", "non-native"
"""The groups of the attribute `native`: whether English is the speaker's first language."""


def as_declared(value: str) -> str:
    """The value itself is the group."""
    return value


@dataclass(frozen=True)
class Rule:
    """What an attribute's declared values, trimmed and lower-cased, mean."""

    table: Mapping[str, str] = field(default_factory=dict)
    """Value -> group, where somebody had to judge."""
    coding: Callable[[str], str] = as_declared
    """The corpus's ordinary coding of every other value."""

    def group(self, value: str) -> str:
        """The group of a value that is trimmed and lower-cased."""
        if value in self.table:
            return self.table[value]
        return UNDECLARED if value in NO_ANSWER else self.coding(value)

    def is_odd(self, value: str) -> bool:
        """Whether the value's group is a judgement, or the value was lost."""
        group = self.group(value)
        return group != value and (value in self.table or group in (UNDECLARED, OTHER))


@dataclass(frozen=True)
class Cleaning:
    """One change to what speakers declared."""

    attribute: str
    raw: str
    """As declared, trimmed and lower-cased; several values of one speaker's are joined by ` / `."""
    group: str
    """What it became."""
    speakers: int
    """How many declared it."""


AGE = Rule(table={"fourties": "forties"}, coding=age_decade)
"""Ages in years or decades; Common Voice itself writes `fourties`."""


def clean_attribute(
    speakers: Sequence[str], declared: Sequence[str], *, attribute: str, rule: Rule
) -> tuple[list[str], list[Cleaning]]:
    """One attribute over a table of clips; each speaker gets one group.

    A speaker who declared a value on some clips only has it on all of them; one who declared two groups is
    `undeclared`, for several people may share an account. Both are reported.

    Args:
        speakers: [clips] who speaks.
        declared: [clips] the attribute as the corpus has it; empty = not stated.

    Returns:
        The groups [clips], and what was changed, most speakers first.
    """
    values = [clean_value(value) for value in declared]
    changed: dict[tuple[str, str], set[str]] = defaultdict(set)
    groups_of: dict[str, set[str]] = defaultdict(set)
    for speaker, value in zip(speakers, values, strict=True):
        groups_of[speaker].add(rule.group(value))
        if rule.is_odd(value):
            changed[value, rule.group(value)].add(speaker)
    settled: dict[str, str] = {}
    for speaker, groups in groups_of.items():
        stated = sorted(groups - {UNDECLARED})
        settled[speaker] = stated[0] if len(stated) == 1 else UNDECLARED
        if len(stated) > 1:
            changed[" / ".join(stated), UNDECLARED].add(speaker)
        elif stated and UNDECLARED in groups:
            changed[UNDECLARED, stated[0]].add(speaker)
    cleanings = [Cleaning(attribute, raw, group, len(who)) for (raw, group), who in changed.items()]
    return [settled[s] for s in speakers], sorted(cleanings, key=lambda c: (-c.speakers, c.raw))


def clean_table(table: pd.DataFrame, rules: Mapping[str, Rule]) -> tuple[pd.DataFrame, tuple[Cleaning, ...]]:
    """A table of clips with its attributes cleaned, and what was changed.

    Args:
        table: one row a clip, with the column `speaker` and one an attribute.
        rules: attribute -> its rule; every attribute of the table that is to be cleaned.
    """
    table = table.copy()
    report: list[Cleaning] = []
    for attribute, rule in rules.items():
        groups, cleanings = clean_attribute(
            table["speaker"].tolist(), table[attribute].tolist(), attribute=attribute, rule=rule
        )
        table[attribute] = groups
        report += cleanings
    return table, tuple(report)
