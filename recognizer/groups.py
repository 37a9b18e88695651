"""The words for who is speaking: attributes, their groups, and the two groups that are always there."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

ATTRIBUTES = ("accent", "age", "gender", "native")
"""The attributes looked for by default."""

UNDECLARED = "undeclared"
"""The speaker gave no, or an implausible, value: counted and shown, never part of a gap."""

OTHER = "other"
"""A declared value outside the closed vocabulary."""

NO_ANSWER = {
    UNDECLARED,
    *("prefer not to say", "prefer not to answer", "do not wish to say", "do_not_wish_to_say", "not stated"),
    *("declined", "unspecified", "unknown", "n/a", "na", "nan", "none", "null", "-", "?"),
}
"""Values, trimmed and lower-cased, that declare nothing."""

DECADES = ("teens", "twenties", "thirties", "forties", "fifties", "sixties", "seventies", "eighties", "nineties")
"""Common Voice's ages, 10 to 99 years."""

Vocabulary = Mapping[str, tuple[str, ...]]
"""Attribute -> its declared groups, without `other` and `undeclared`, which every attribute has."""


def clean_value(value: str) -> str:
    """Trim and lower-case one declared value; an empty one is `undeclared`."""
    return " ".join(value.split()).lower() or UNDECLARED


def age_decade(value: str) -> str:
    """The decade of an age: one of `DECADES`, or a number of years from 10 to 99; `undeclared` otherwise."""
    if value in DECADES:
        return value
    try:
        years = float(value)
    except ValueError:
        return UNDECLARED
    return DECADES[int(years // 10) - 1] if 10 <= years < 100 else UNDECLARED


def declared_group(attribute: str, value: str) -> str:
    """What a declared value means anywhere: ages are decades, no answer is `undeclared`, the rest is as it is."""
    cleaned = clean_value(value)
    if cleaned in NO_ANSWER:
        return UNDECLARED
    return age_decade(cleaned) if attribute == "age" else cleaned


def group_in(vocabulary: Vocabulary, attribute: str, value: str | None) -> str:
    """The group that a declared value falls into in a closed vocabulary: its own, `other`, or `undeclared`."""
    group = declared_group(attribute, value or "")
    if group == UNDECLARED or group in vocabulary.get(attribute, ()):
        return group
    return OTHER


def all_groups(vocabulary: Vocabulary, attribute: str) -> tuple[str, ...]:
    """Every group of an attribute that a counter may show."""
    return (*vocabulary[attribute], *(g for g in (OTHER, UNDECLARED) if g not in vocabulary[attribute]))


def vocabulary_of(attributes: Iterable[str], groups: Mapping[str, Iterable[str]]) -> dict[str, tuple[str, ...]]:
    """The sorted vocabulary of some observed groups.

    Args:
        attributes: the attributes wanted, in order.
        groups: attribute -> observed groups, `undeclared` and `other` among them or not.
    """
    return {a: tuple(sorted(set(groups[a]) - {UNDECLARED, OTHER})) for a in attributes}
