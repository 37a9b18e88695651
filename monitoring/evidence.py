"""The evidence on each group of live traffic, session by session, and how much of it is released.

What is released of a group moves only when at least k commands of at least m speakers of the group, and as many of the
rest, have been bet on since it last did. The bets themselves go on in between: when something is released depends on
who came, never on how they fared, so the evidence stays what a gambler would hold who is looked at now and then.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from copy import deepcopy
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, NamedTuple

import numpy as np

from monitoring.betting import Evidence, Pairing
from monitoring.release import ReleaseRule
from monitoring.tally import Cell
from recognizer.groups import OTHER, UNDECLARED, Vocabulary

FEW_SPEAKERS = 20
"""Evidence that rests on fewer distinct speakers speaks of these speakers, not of the group behind them."""


class EvidenceKey(NamedTuple):
    """What evidence is of; with other settings it is begun anew."""

    cell: Cell
    tolerance: float
    session_seconds: int


@dataclass
class Standing:
    """Where the evidence on a group stands."""

    evidence: Evidence
    sessions: int = 0
    """Of the group."""
    own_speakers: int = 0
    """Distinct ones of the group."""
    rest_speakers: int = 0
    """Distinct ones of the other declared groups."""

    @property
    def speakers(self) -> int:
        """Distinct speakers behind the evidence: of the group, or of the rest where those are fewer."""
        return min(self.own_speakers, self.rest_speakers)

    @property
    def side(self) -> Literal["more", "less"]:
        """What the evidence is rather for: that the group is turned away more than the rest, or less."""
        more, less = np.logaddexp.reduce(self.evidence.log_wealth, axis=-1)
        return "more" if more >= less else "less"

    @property
    def speaks_of(self) -> Literal["group", "these_speakers"]:
        return "these_speakers" if self.speakers < FEW_SPEAKERS else "group"

    def to_json(self) -> dict[str, Any]:
        return {
            "log_wealth": self.evidence.log_wealth.tolist(),
            "pairs": self.evidence.pairs,
            "sessions": self.sessions,
            "own_speakers": self.own_speakers,
            "rest_speakers": self.rest_speakers,
        }

    @classmethod
    def from_json(cls, stored: Mapping[str, Any], tolerance: float) -> Standing:
        counts = {name: int(stored[name]) for name in ("sessions", "own_speakers", "rest_speakers")}
        return cls(Evidence(tolerance, np.array(stored["log_wealth"], dtype=np.float64), stored["pairs"]), **counts)


@dataclass
class GroupEvidence:
    """The evidence on one group: as it is, and as it is shown."""

    current: Standing
    released: Standing
    pairing: Pairing = field(default_factory=Pairing)
    own_commands: int = 0
    """Of the group's sessions since the last release."""
    rest_commands: int = 0
    through: int = 0
    """Position of the last session that is in what is released."""

    @classmethod
    def begin(cls, tolerance: float) -> GroupEvidence:
        return cls(Standing(Evidence(tolerance)), Standing(Evidence(tolerance)))

    def add(self, score: float, *, commands: int, is_of_group: bool, is_new: bool) -> None:
        """Bet on one more session.

        Args:
            score: share of its commands that were turned away, in [0, 1].
            commands: that the defense decided on.
            is_of_group: or of the rest.
            is_new: its speaker has no earlier session on this side.
        """
        if is_of_group:
            self.own_commands += commands
            self.current.sessions += 1
            self.current.own_speakers += is_new
        else:
            self.rest_commands += commands
            self.current.rest_speakers += is_new
        if (difference := self.pairing.add(score, is_of_group=is_of_group)) is not None:
            self.current.evidence.add([difference])

    def release(self, rule: ReleaseRule, *, own_speakers: int, rest_speakers: int, through: int) -> bool:
        """Show how things stand, if the rule allows it; says whether it does.

        Args:
            own_speakers, rest_speakers: distinct ones since the last release.
            through: position of the last session.
        """
        is_allowed = self.is_due(rule) and all(
            rule.allows(commands=commands, speakers=speakers)
            for commands, speakers in ((self.own_commands, own_speakers), (self.rest_commands, rest_speakers))
        )
        if is_allowed:
            self.released, self.through = deepcopy(self.current), through
            self.own_commands = self.rest_commands = 0
        return is_allowed

    def is_due(self, rule: ReleaseRule) -> bool:
        """Whether there are commands enough to release, if those are of speakers enough."""
        return min(self.own_commands, self.rest_commands) >= rule.commands

    def to_json(self) -> dict[str, Any]:
        """Without what is released."""
        return {
            **self.current.to_json(),
            "pairing": asdict(self.pairing),
            "own_commands": self.own_commands,
            "rest_commands": self.rest_commands,
            "through": self.through,
        }

    @classmethod
    def from_json(cls, current: Mapping[str, Any], released: Mapping[str, Any], tolerance: float) -> GroupEvidence:
        pairing = Pairing(**{side: (float(s), int(n)) for side, (s, n) in current["pairing"].items()})
        counts = {name: int(current[name]) for name in ("own_commands", "rest_commands", "through")}
        return cls(Standing.from_json(current, tolerance), Standing.from_json(released, tolerance), pairing, **counts)


def groups_bet_on(vocabulary: Vocabulary, attribute: str) -> tuple[str, ...]:
    """The groups of an attribute that are compared with the rest: the declared ones, `other` included."""
    declared = vocabulary.get(attribute, ())
    return tuple(dict.fromkeys((*(g for g in declared if g != UNDECLARED), OTHER)))


def groups_in_all(vocabulary: Vocabulary) -> int:
    """How many groups may raise an alarm, under one defense."""
    return sum(len(groups_bet_on(vocabulary, attribute)) for attribute in vocabulary)


def is_new_to(known: Iterable[str], group: str, *, is_of_group: bool) -> bool:
    """Whether a speaker has no earlier session on this side of a group.

    Args:
        known: the groups of the attribute that the speaker had sessions in.
    """
    return not any((earlier == group) == is_of_group for earlier in known)
