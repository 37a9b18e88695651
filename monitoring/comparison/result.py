"""The result of a comparison of two audits: what `evenvoice audit compare` writes."""

from __future__ import annotations

from enum import StrEnum
from typing import Literal

from pydantic import Field

from monitoring.audit import Metric
from monitoring.measured import Measurement

SCHEMA: Literal["evenvoice.comparison/1"] = "evenvoice.comparison/1"


class Difference(StrEnum):
    """What may be said of B against A."""

    SAME = "same"
    """not one clip of the sample fares otherwise"""
    WORSE = "worse"
    """by more than the tolerance"""
    BETTER = "better"
    """by more than the tolerance"""
    NOT_WORSE = "not_worse"
    """by no more than the tolerance, if at all"""
    INCONCLUSIVE = "inconclusive"
    """the speakers at hand leave both possible"""
    INSUFFICIENT = "insufficient"
    """too few speakers to say anything of"""


class ComparisonSettings(Measurement):
    """How two audits are compared."""

    tolerance: float = Field(default=0.05, ge=0, le=1)
    """What B may be worse by."""
    min_speakers: int = Field(default=20, ge=10)
    """A group with fewer is shown, and nothing is concluded of it."""
    confidence: float = Field(default=0.95, gt=0.5, lt=1)
    """Of each interval overall, and of all intervals of an attribute's groups together."""
    permutations: int = Field(default=2000, ge=100)
    """Of signs."""
    replicates: int = Field(default=2000, ge=100)
    """Of the bootstrap, for gaps."""
    seed: int = 0


class Audited(Measurement):
    """One of the two audits."""

    bundle_name: str
    bundle_version: str
    seed: int
    clips_alone: tuple[str, ...]
    """Heard by this one only; in no difference."""


class GroupDifference(Measurement):
    """B less A: one figure of one group under one defense."""

    defense: str
    attribute: str | None
    """Null of all speakers."""
    group: str
    metric: Metric
    part: str | None
    """Of a combined defense, the part that AUC_FPR is of."""
    speakers: int
    clips: int
    changed: int
    """Clips that fare otherwise."""
    a: float
    b: float
    difference: float
    lower: float | None
    """Null with one speaker."""
    upper: float | None
    p_value: float
    """That A and B are alike; adjusted by Holm over the groups of the attribute that have enough speakers, of others
    as it is."""
    verdict: Difference


class GapDifference(Measurement):
    """B less A: the gap between the groups of one attribute; see `monitoring.parity.delta`."""

    defense: str
    attribute: str
    metric: Metric
    part: str | None
    compared: tuple[str, ...]
    """Groups with enough speakers."""
    a: float
    b: float
    difference: float
    lower: float
    upper: float
    verdict: Difference


class Comparison(Measurement):
    """What `evenvoice audit compare` writes."""

    schema_: Literal["evenvoice.comparison/1"] = Field(default=SCHEMA, alias="schema")
    evenvoice_version: str
    manifest: str
    fingerprint: str
    a: Audited
    b: Audited
    settings: ComparisonSettings
    clips: int
    """Compared."""
    defenses_alone: tuple[str, ...]
    """Audited in one only."""
    groups: tuple[GroupDifference, ...]
    gaps: tuple[GapDifference, ...]
    """Of attributes with two groups or more that have enough speakers."""
    verdict: Literal["no difference", "worse", "inconclusive"]
    """The worst of all; `no difference` says none to the worse beyond the tolerance."""
