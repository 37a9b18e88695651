"""The words for who is speaking: attributes, their groups, and the two groups that are always there."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

ATTRIBUTES = ("accent", "age", "gender", "native")
"""The attributes looked for by default."""

UNDECLARED = "undeclared"
"""The speaker gave no, or an implausible, value: counted and shown, never part of a gap."""

OTHER = "other"
"""A declared value outside the closed vocabulary."""

Vocabulary = Mapping[str, tuple[str, ...]]
"""Attribute -> its declared groups, without `other` and `undeclared`, which every attribute has."""


def clean_value(value: str) -> str:
    """Trim and lower-case one declared value; an empty one is `undeclared`."""
    return " ".join(value.split()).lower() or UNDECLARED


def group_in(vocabulary: Vocabulary, attribute: str, value: str | None) -> str:
    """The group that a declared value falls into: itself, `other`, or `undeclared`."""
    group = clean_value(value or "")
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
