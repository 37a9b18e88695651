"""What the fairness page shows: the released state of `/v1/fairness`, arranged for people.

One defense of one bundle at a time, an attribute a panel; alarms are those of all defenses and bundles, so that none
hides behind a choice.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from enum import StrEnum
from functools import cached_property
from math import log
from urllib.parse import urlencode

from gateway.pages.proportion import Proportion, proportion
from gateway.schemas import FairnessResponse, GroupState
from monitoring.promql import TRAFFIC_FLOOR
from recognizer.groups import OTHER, UNDECLARED

HISTORY_DAYS = 14
"""The newest days that a page shows; `/v1/fairness` has more of them, Grafana all."""
DAY_FLOOR = 10
"""Decided commands of a day, under which its share is not drawn: one rejection of two would set the scale."""
_TOPS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.8, 1.0)
"""Ends of an axis of shares; each of them, and its half, is a round number of percent or half of one."""
_OVER_ALARM = 1.25
"""How far the axis of the evidence goes, in alarm levels, where no group is beyond it."""


class NoSuchFigures(ValueError):
    """No figures of this defense and bundle."""


@dataclass(frozen=True)
class Source:
    """What a set of figures is of: one defense of one bundle."""

    defense: str
    model: str
    """The bundle's short version."""


class Weight(StrEnum):
    """What the evidence on a group amounts to."""

    ALARM = "alarm"
    SOME = "some"
    """Enough where it were the only group and looked at by itself: wealth >= 1 / alpha."""
    NONE = "none"
    NOTHING = "nothing"
    """No session has ended, or none is released."""
    NO_BET = "no_bet"
    """Undeclared: no group to bet on."""


@dataclass(frozen=True)
class EvidenceRow:
    """The evidence by betting on one group, in words."""

    group: str
    weight: Weight
    words: str
    sessions: int
    speakers: int
    log_wealth: float
    """Natural logarithm of what the gambler has now, who began with 1."""
    height: float
    """log-wealth / log-wealth of an alarm, at least 0."""


@dataclass(frozen=True)
class DayRow:
    """One group's rejections over the days of its panel."""

    group: str
    days: tuple[Proportion | None, ...]

    @property
    def drawn(self) -> tuple[Proportion | None, ...]:
        """Those with commands enough for a figure."""
        return tuple(day if day is not None and day.whole >= DAY_FLOOR else None for day in self.days)

    @property
    def newest(self) -> Proportion | None:
        return next((day for day in reversed(self.days) if day is not None), None)


@dataclass(frozen=True)
class Gap:
    """The gap between the declared groups that had enough commands."""

    highest: str
    lowest: str
    value: float
    """max - min of the shares: of small groups too large, see the page's own words."""
    at_least: float
    """What the intervals do not explain: highest lower end - lowest upper end, not below 0."""


@dataclass(frozen=True)
class Panel:
    """One attribute."""

    attribute: str
    groups: tuple[GroupState, ...]
    """As released; `other` and `undeclared` last."""
    evidence: tuple[EvidenceRow, ...]

    @cached_property
    def commands(self) -> int:
        """Released commands, whatever came of them."""
        return sum(_commands(group) for group in self.groups)

    @cached_property
    def rejections(self) -> dict[str, Proportion | None]:
        """group -> the share of its decided commands that was turned away."""
        return {g.group: proportion(g.outcomes.rejected, _decided(g)) for g in self.groups}

    @cached_property
    def accuracies(self) -> dict[str, Proportion | None]:
        """group -> the share of its labelled commands that was answered rightly; empty where nobody sent a label."""
        labelled = {g.group: g.labelled for g in self.groups}
        found = {name: proportion(of.correct, of.correct + of.wrong + of.rejected) for name, of in labelled.items()}
        return found if any(found.values()) else {}

    @cached_property
    def gap(self) -> Gap | None:
        """None where fewer than two declared groups have `TRAFFIC_FLOOR` decided commands."""
        shares = {
            name: share
            for name, share in self.rejections.items()
            if name != UNDECLARED and share is not None and share.whole >= TRAFFIC_FLOOR
        }
        if len(shares) < 2:
            return None
        highest = max(shares, key=lambda name: shares[name].value)
        lowest = min(shares, key=lambda name: shares[name].value)
        apart = max(share.lower for share in shares.values()) - min(share.upper for share in shares.values())
        return Gap(highest, lowest, shares[highest].value - shares[lowest].value, max(0.0, apart))

    @cached_property
    def left_out(self) -> tuple[str, ...]:
        """Declared groups that were heard, and too little for the gap."""
        return tuple(
            name
            for name, share in self.rejections.items()
            if name != UNDECLARED and share is not None and share.whole < TRAFFIC_FLOOR
        )

    @cached_property
    def undeclared(self) -> Proportion | None:
        """The share of decided commands whose speakers declared nothing."""
        decided = {g.group: _decided(g) for g in self.groups}
        return proportion(decided.get(UNDECLARED, 0), sum(decided.values()))

    @cached_property
    def top(self) -> float:
        """The end of the axis of rejections."""
        return _top(share.upper for share in self.rejections.values() if share is not None)

    @cached_property
    def evidence_top(self) -> float:
        """The end of the axis of evidence, in alarm levels."""
        return max([_OVER_ALARM, *(row.height for row in self.evidence)])

    @cached_property
    def days(self) -> tuple[date, ...]:
        """The newest `HISTORY_DAYS` days, from the first to the last of which anything is released."""
        known = [day.day for group in self.groups for day in group.days]
        if not known:
            return ()
        first = max(min(known), max(known) - timedelta(days=HISTORY_DAYS - 1))
        return tuple(first + timedelta(days=i) for i in range((max(known) - first).days + 1))

    @cached_property
    def history(self) -> tuple[DayRow, ...]:
        """Of the groups that were heard."""
        rows = [(group.group, {day.day: day for day in group.days}) for group in self.groups if group.days]
        return tuple(
            DayRow(
                name,
                tuple(
                    proportion(day.rejected, day.accepted + day.rejected) if day else None
                    for day in (of_day.get(d) for d in self.days)
                ),
            )
            for name, of_day in rows
        )

    @property
    def by_day(self) -> Iterable[tuple[date, tuple[Proportion | None, ...]]]:
        """Each day with the shares of the groups in `history`."""
        return zip(self.days, zip(*(row.days for row in self.history), strict=True), strict=True)

    @cached_property
    def day_top(self) -> float:
        """The end of the axis of rejections by day."""
        return _top(day.value for row in self.history for day in row.drawn if day is not None)


@dataclass(frozen=True)
class Choice:
    """Figures that a page can show."""

    source: Source
    commands: int
    is_served: bool
    is_shown: bool
    alarms: int

    def query(self, refresh: int | None) -> str:
        """What a link to these figures says."""
        asked = {"defense": self.source.defense, "model": self.source.model}
        return urlencode(asked | ({"refresh": refresh} if refresh else {}))


@dataclass(frozen=True)
class Alarm:
    """One group whose evidence reached its level, wherever."""

    source: Source
    attribute: str
    evidence: EvidenceRow


@dataclass(frozen=True)
class FairnessView:
    """All that the page's panels show."""

    state: FairnessResponse
    shown: Source
    bundle: str
    """The name of the bundle that is served now."""
    served: str
    """Its short version."""
    choices: tuple[Choice, ...]
    alarms: tuple[Alarm, ...]
    panels: tuple[Panel, ...]

    @property
    def is_empty(self) -> bool:
        return not any(panel.commands for panel in self.panels)


def fairness_view(
    state: FairnessResponse, *, bundle: str, served: Source, defense: str | None = None, model: str | None = None
) -> FairnessView:
    """Arrange what is released.

    Args:
        bundle: the name of the bundle that is served.
        served: its default defense.
        defense, model: the figures asked for. By default those of the default defense; where nothing of it is released,
            those of the bundle's defense that heard the most.

    Raises:
        NoSuchFigures: none are of this defense and bundle.
    """
    groups: dict[Source, list[GroupState]] = {served: []}
    for group in state.groups:
        groups.setdefault(Source(group.defense, group.model), []).append(group)
    shown = _chosen({source: _heard(of) for source, of in groups.items()}, served, defense, model)
    alarms = tuple(
        Alarm(source, group.attribute, row)
        for source, of in groups.items()
        for group in of
        if (row := evidence_row(group, state)).weight is Weight.ALARM
    )
    choices = tuple(
        Choice(
            source,
            commands=_heard(of),
            is_served=source.model == served.model,
            is_shown=source == shown,
            alarms=sum(alarm.source == source for alarm in alarms),
        )
        for source, of in sorted(groups.items(), key=lambda item: _order(item[0], served))
    )
    return FairnessView(
        state=state,
        shown=shown,
        bundle=bundle,
        served=served.model,
        choices=choices,
        alarms=alarms,
        panels=_panels(groups[shown], state),
    )


def evidence_row(group: GroupState, state: FairnessResponse) -> EvidenceRow:
    """What the evidence on a group says, in words that say of whom it speaks."""
    evidence = group.evidence
    if group.group == UNDECLARED:
        return EvidenceRow(group.group, Weight.NO_BET, "not bet on: who declared nothing is no group", 0, 0, 0.0, 0.0)
    if evidence is None or evidence.sessions == 0:
        return EvidenceRow(group.group, Weight.NOTHING, "nothing to bet on yet: no session is released", 0, 0, 0.0, 0.0)
    if evidence.is_alarm:
        weight = Weight.ALARM
    else:
        weight = Weight.SOME if evidence.log_wealth >= log(1 / state.alpha) else Weight.NONE
    return EvidenceRow(
        group.group,
        weight,
        _words(group, weight),
        evidence.sessions,
        evidence.speakers,
        log_wealth=evidence.log_wealth,
        height=max(0.0, evidence.log_wealth / state.alarm_log_wealth),
    )


def _words(group: GroupState, weight: Weight) -> str:
    evidence = group.evidence
    assert evidence is not None
    if weight is Weight.NONE:
        return "no evidence of a difference"
    if evidence.speaks_of == "group":
        what = f"this group is turned away {evidence.side} than the rest"
    else:
        what = (
            f"these speakers are turned away {evidence.side} than the rest; with only {evidence.speakers} on one side, "
            f"that says nothing of the group {group.group}"
        )
    return f"some evidence that {what}; short of an alarm" if weight is Weight.SOME else what


def _chosen(heard: dict[Source, int], served: Source, defense: str | None, model: str | None) -> Source:
    if defense is None and model is None:
        if heard[served]:
            return served
        of_bundle = {source: n for source, n in heard.items() if source.model == served.model}
        return max(of_bundle, key=lambda source: (of_bundle[source], source == served))
    asked = Source(defense or served.defense, model or served.model)
    if asked not in heard:
        raise NoSuchFigures("there are no figures of this defense and bundle; /fairness links to those there are")
    return asked


def _order(source: Source, served: Source) -> tuple[bool, str, bool, str]:
    """The bundle that is served first, and its default defense."""
    return source.model != served.model, source.model, source.defense != served.defense, source.defense


def _panels(groups: Sequence[GroupState], state: FairnessResponse) -> tuple[Panel, ...]:
    attributes = sorted({group.attribute for group in groups})
    last = (OTHER, UNDECLARED)
    panels = []
    for attribute in attributes:
        of = [group for group in groups if group.attribute == attribute]
        of.sort(key=lambda group: last.index(group.group) + 1 if group.group in last else 0)
        panels.append(Panel(attribute, tuple(of), tuple(evidence_row(group, state) for group in of)))
    return tuple(panels)


def _heard(groups: Iterable[GroupState]) -> int:
    """Released commands. Each counts once in every attribute, and is released in each at its own time."""
    of_attribute: dict[str, int] = {}
    for group in groups:
        of_attribute[group.attribute] = of_attribute.get(group.attribute, 0) + _commands(group)
    return max(of_attribute.values(), default=0)


def _commands(group: GroupState) -> int:
    outcomes = group.outcomes
    return _decided(group) + outcomes.bad_input + outcomes.service


def _decided(group: GroupState) -> int:
    return group.outcomes.accepted + group.outcomes.rejected


def _top(values: Iterable[float]) -> float:
    highest = max(values, default=0.0)
    return next(top for top in _TOPS if top >= highest)
