"""What a file of Prometheus rules is made of: https://prometheus.io/docs/prometheus/latest/configuration/recording_rules/."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Severity(StrEnum):
    """How soon somebody must look."""

    PAGE = "page"
    """Now: commands are lost, or the evidence holds however often one looked."""
    TICKET = "ticket"
    """On a working day."""


@dataclass(frozen=True)
class Recording:
    """A series that is computed at every step; its name is `level:metric:operations`."""

    name: str
    expression: str


@dataclass(frozen=True)
class Alert:
    """What is told when an expression has had a value for long enough.

    Attributes:
        hold: how long it must have had one, such as "30m"; None: at once.
        summary: one line; Go's templates, as `{{ $labels.group }}`.
        description: what it means and what to look at.
    """

    name: str
    expression: str
    severity: Severity
    summary: str
    description: str
    hold: str | None = None


@dataclass(frozen=True)
class Group:
    """Rules that are computed together, in order, every `interval`."""

    name: str
    interval: str
    rules: tuple[Recording | Alert, ...]
