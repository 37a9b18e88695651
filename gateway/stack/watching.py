"""What a gateway has released of its groups, and what Prometheus makes of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import httpx

from gateway.schemas import FairnessResponse, GroupState
from gateway.stack.crowd import Group
from monitoring.report import Grid

BETTING = ("EvenvoiceGroupFaresDifferently", "EvenvoiceSpeakersFareDifferently")
"""The alerts on evidence by betting."""
FIRING = "firing"
_WAIT_SECONDS = 5.0


@dataclass(frozen=True)
class Alert:
    """One that fires, or is about to."""

    name: str
    state: str
    labels: tuple[tuple[str, str], ...]
    summary: str

    def is_alarm_on(self, group: Group) -> bool:
        """Whether it says, by evidence, that the group is turned away more often."""
        wanted = {("attribute", group.attribute), ("group", group.name), ("side", "more")}
        return self.state == FIRING and self.name in BETTING and wanted <= set(self.labels)


class NoAnswer(RuntimeError):
    """The gateway or Prometheus does not answer as it should."""


def alerts(prometheus: str) -> list[Alert]:
    """Every alert that Prometheus knows of, the firing ones first.

    Raises:
        NoAnswer: likewise.
    """
    found = [
        Alert(a["labels"]["alertname"], a["state"], tuple(sorted(a["labels"].items())), a["annotations"]["summary"])
        for a in _get(f"{prometheus}/api/v1/alerts").json()["data"]["alerts"]
    ]
    return sorted(found, key=lambda alert: (alert.state != FIRING, alert.name, alert.labels))


def released(gateway: str) -> FairnessResponse:
    """
    Raises:
        NoAnswer: likewise.
    """
    return FairnessResponse.model_validate_json(_get(f"{gateway}/v1/fairness").content)


def standing(fairness: FairnessResponse, group: Group, defense: str) -> str:
    """One line of how a group and the rest of its attribute fare."""
    states = [state for state in fairness.groups if (state.attribute, state.defense) == (group.attribute, defense)]
    own = [state for state in states if state.group == group.name]
    rest = [state for state in states if state.group != group.name]
    evidence = max((state.evidence.log_wealth for state in own if state.evidence), default=None)
    return (
        f"{group.name} {_turned_away(own)}, the rest {_turned_away(rest)}; evidence "
        f"{'none' if evidence is None else f'{evidence:.1f}'} of {fairness.alarm_log_wealth:.1f}"
    )


def groups_table(fairness: FairnessResponse, defense: str) -> Grid:
    """Everybody of whom something is released, under one defense."""
    rows = tuple(
        (
            f"{state.attribute}: {state.group}",
            f"{_decided(state):,}",
            f"{100 * state.rejection_rate:.1f}",
            *_evidence(state),
        )
        for state in fairness.groups
        if state.defense == defense and state.rejection_rate is not None
    )
    return Grid(f"Whom {defense} turns away", ("group", "decided", "turned away, %", "evidence", "of whom"), rows)


def alert_lines(found: Sequence[Alert]) -> list[str]:
    """Each alert that fires in its words; those that are about to by their names and how many they are."""
    firing = [f"firing   {alert.name}: {alert.summary}" for alert in found if alert.state == FIRING]
    pending = Counter(alert.name for alert in found if alert.state != FIRING)
    return [*firing, *(f"pending  {name}" + (f", {n} groups" if n > 1 else "") for name, n in pending.items())]


def _evidence(state: GroupState) -> Iterator[str]:
    yield "" if state.evidence is None else f"{state.evidence.log_wealth:.1f}"
    yield "" if state.evidence is None or not state.evidence.is_alarm else state.evidence.speaks_of.replace("_", " ")


def _turned_away(states: Sequence[GroupState]) -> str:
    decided = sum(map(_decided, states))
    rejected = sum(state.outcomes.rejected for state in states)
    return f"{100 * rejected / decided:.1f} % of {decided:,}" if decided else "none released"


def _decided(state: GroupState) -> int:
    return state.outcomes.accepted + state.outcomes.rejected


def _get(url: str) -> httpx.Response:
    try:
        return httpx.get(url, timeout=_WAIT_SECONDS).raise_for_status()
    except httpx.HTTPError as error:
        raise NoAnswer(f"{url} can't be read: {error}") from None
