"""Live traffic of known people, and what an onlooker may see of it: lists and loops, none of the ledger's code."""

from __future__ import annotations

import math
import random
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import combinations
from typing import Any

from recognizer.decision import Certificate, Decision, Outcome, Reason, abstention

VOCABULARY = {"accent": ("north", "south"), "gender": ("female", "male")}
PEOPLE = {
    f"s{i}": {"accent": ("north", "south", "other")[i % 7 % 3], "gender": ("female", "male", "undeclared")[i % 3]}
    for i in range(14)
}
NOBODY = dict.fromkeys(VOCABULARY, "undeclared")
DEFENSES = ("neural_rejection", "smoothing")
BETS = (0.02, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 0.95)

Cell = tuple[str, str, str]
"""attribute, group, defense"""


@dataclass(frozen=True)
class Said:
    """One command, or a label of one."""

    at: float
    speaker: str | None
    defense: str
    decision: Decision
    label: str | None = None

    @property
    def groups(self) -> dict[str, str]:
        return NOBODY if self.speaker is None else PEOPLE[self.speaker]

    @property
    def score(self) -> float | None:
        if self.decision.outcome not in (Outcome.ACCEPTED, Outcome.REJECTED):
            return None
        certificate = self.decision.certificate
        assert certificate is not None
        if certificate.p_value is not None:
            return max(certificate.p_value - 0.001, 0)
        assert self.decision.confidence is not None
        return 1 - self.decision.confidence


def some_command(chance: random.Random, at: float) -> Said:
    speaker = chance.choice([*PEOPLE, *PEOPLE, None])
    defense = chance.choice(DEFENSES)
    if chance.random() < 0.1:
        return Said(at, speaker, defense, abstention(Reason.NO_SPEECH, ""))
    is_rejected = chance.random() < (0.7 if speaker and PEOPLE[speaker]["gender"] == "female" else 0.2)
    if defense == "smoothing":
        certificate = Certificate(defense=defense, p_value=chance.random(), draws=chance.choice([23, 100, 1000]))
        reason = Reason.SMOOTHING_TIE if is_rejected else Reason.OK
    else:
        certificate = Certificate(defense=defense)
        reason = Reason.LOW_CONFIDENCE if is_rejected else Reason.OK
    command = None if is_rejected else "left"
    return Said(at, speaker, defense, Decision(command, reason, "", chance.random(), certificate=certificate))


def utc(at: float) -> datetime:
    return datetime.fromtimestamp(at, UTC)


@dataclass
class Session:
    speaker: str
    first_at: float
    groups: dict[str, str]
    outcomes: list[bool] = field(default_factory=list)
    """Whether each command was rejected."""


@dataclass
class Truth:
    """All that was said, and of each group what no change has shown yet."""

    k: int
    m: int
    seconds: int
    waiting: defaultdict[tuple[Cell, bool, bool], list[Said]] = field(default_factory=lambda: defaultdict(list))
    """Cell, whether of labels, whether with a speaker."""
    shown: defaultdict[tuple[Cell, bool], list[Said]] = field(default_factory=lambda: defaultdict(list))
    said: list[Said] = field(default_factory=list)
    bet_through: dict[Cell, int] = field(default_factory=dict)
    """How many of the defense's sessions are in what is shown of a cell."""

    def add(self, said: Said) -> None:
        if said.label is None:
            self.said.append(said)
        for attribute, group in said.groups.items():
            cell = (attribute, group, said.defense)
            self.waiting[cell, said.label is not None, said.speaker is not None].append(said)

    def may_show(self, said: list[Said], *, has_speakers: bool) -> bool:
        speakers = len({s.speaker for s in said}) if has_speakers else len(said)
        return len(said) >= self.k and speakers >= self.m

    def moved(self, cell: Cell, by: int, *, is_of_labels: bool) -> None:
        """A count moved: it must be by whole lots, of enough commands of enough speakers."""
        lots = [(cell, is_of_labels, has_speakers) for has_speakers in (True, False)]
        for several in (subset for size in (1, 2) for subset in combinations(lots, size)):
            if by == sum(len(self.waiting[lot]) for lot in several):
                for lot in several:
                    assert self.may_show(self.waiting[lot], has_speakers=lot[2]), (cell, self.waiting[lot])
                    self.shown[cell, is_of_labels] += self.waiting.pop(lot)
                return
        raise AssertionError(f"{cell} moved by {by}, which is no whole lot")

    def counts(self, cell: Cell) -> dict[str, Any]:
        """What the series of a cell must say by now."""
        commands, labels = self.shown[cell, False], self.shown[cell, True]
        scores = [s.score for s in commands if s.score is not None]
        return {
            "outcomes": Counter(s.decision.outcome.value for s in commands),
            "labelled": Counter(s.label for s in labels),
            "scores": (len(scores), math.fsum(scores)),
        }

    def sessions(self, defense: str, before: float) -> list[Session]:
        """Those of one defense whose window ended, in the order of their first commands, that a defense decided in."""
        found: dict[tuple[int, str], Session] = {}
        for said in self.said:
            window = int(said.at // self.seconds)
            if said.speaker is None or said.defense != defense or (window + 1) * self.seconds > before:
                continue
            session = found.setdefault((window, said.speaker), Session(said.speaker, said.at, said.groups))
            if said.decision.outcome in (Outcome.ACCEPTED, Outcome.REJECTED):
                session.outcomes.append(said.decision.outcome is Outcome.REJECTED)
        return sorted((s for s in found.values() if s.outcomes), key=lambda s: s.first_at)

    def evidence_moved(self, cell: Cell, now: float) -> None:
        attribute, group, defense = cell
        all_of = self.sessions(defense, now)
        new = all_of[self.bet_through.get(cell, 0) :]
        for is_own in (True, False):
            side = [s for s in new if s.groups[attribute] != "undeclared" and (s.groups[attribute] == group) == is_own]
            assert sum(len(s.outcomes) for s in side) >= self.k, cell
            assert len({s.speaker for s in side}) >= self.m, cell
        self.bet_through[cell] = len(all_of)

    def wealth(self, cell: Cell, tolerance: float, now: float) -> tuple[dict[tuple[str, str], float], int, int]:
        """Log-wealth by side and bet, sessions of the group, and speakers of the side that has fewer."""
        attribute, group, defense = cell
        purses = {(side, bet): 1.0 for side in ("more", "less") for bet in BETS}
        own: list[float] = []
        rest: list[float] = []
        speakers: tuple[set[str], set[str]] = (set(), set())
        sessions = 0
        for session in self.sessions(defense, now)[: self.bet_through.get(cell, 0)]:
            if session.groups[attribute] == "undeclared":
                continue
            is_own = session.groups[attribute] == group
            sessions += is_own
            speakers[is_own].add(session.speaker)
            (own if is_own else rest).append(sum(session.outcomes) / len(session.outcomes))
            if own and rest:
                difference = sum(own) / len(own) - sum(rest) / len(rest)
                for (side, bet), purse in purses.items():
                    sign = 1 if side == "more" else -1
                    purses[side, bet] = purse * (1 + bet / (1 + tolerance) * (sign * difference - tolerance))
                own, rest = [], []
        logs = {(side, str(bet)): math.log(purse) for (side, bet), purse in purses.items()}
        return logs, sessions, min(map(len, speakers))
