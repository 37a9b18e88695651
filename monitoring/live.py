"""Live counting: each decision, and each label that comes later, into the counters."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass

from monitoring.counters import Counters, LabelResult, Refusal
from monitoring.release import ReleaseGate
from monitoring.scores import live_score, scored_live
from recognizer.decision import OF_DEFENSE, UNKNOWN, Decision, Outcome

Lot = tuple[str, str, str, bool]
"""What is released together: attribute, group, defense, and whether the commands have no speaker."""


@dataclass(frozen=True)
class Decided:
    """What a group's series learn of one decision."""

    defense: str
    outcome: Outcome
    score: float | None
    draws: int | None


@dataclass(frozen=True)
class Labelled:
    """What a group's series learn of one label."""

    defense: str
    result: LabelResult


def label_result(outcome: Outcome, said: str | None, true_command: str) -> LabelResult | None:
    """What a label makes of a decision: turning away what is no command is correct.

    Args:
        outcome: of the decision.
        said: the accepted command; None where it abstained.
        true_command: a command, or `unknown`.

    Returns:
        None where no defense decided (bad input, a late answer): that says nothing of one.
    """
    if outcome not in OF_DEFENSE:
        return None
    if said is None:
        return "correct" if true_command == UNKNOWN else "rejected"
    return "correct" if said == true_command else "wrong"


class LiveMonitor:
    """Counts decisions at once, and by group in lots: decisions and labels each in lots of their own."""

    def __init__(
        self, counters: Counters, *, model: str, release_commands: int = 10, release_speakers: int = 3
    ) -> None:
        """
        Args:
            model: short version of the bundle that decides; another bundle has a monitor of its own.
            release_commands: k of the release rule.
            release_speakers: m.
        """
        self._counters = counters
        self._model = model
        self.release_rule = (release_commands, release_speakers)
        self._decisions: ReleaseGate[Lot, Decided] = ReleaseGate(
            observations=release_commands, speakers=release_speakers
        )
        self._labels: ReleaseGate[Lot, Labelled] = ReleaseGate(observations=release_commands, speakers=release_speakers)

    def decided(self, decision: Decision, *, defense: str, groups: Mapping[str, str], speaker: str | None) -> None:
        """Count a decision.

        Args:
            defense: the one that decided.
            groups: attribute -> group of the speaker.
            speaker: pseudonym; commands without one count as a speaker each, in lots of their own.
        """
        self._counters.commands.labels(decision.outcome, decision.reason).inc()
        seen = Decided(defense, decision.outcome, score=live_score(decision), draws=_draws(decision))
        for attribute, group in groups.items():
            lot, who = _lot(attribute, group, defense, speaker)
            for released in self._decisions.offer(lot, seen, speaker=who):
                self._count_decision(attribute, group, released)

    def labelled(self, result: LabelResult, *, defense: str, groups: Mapping[str, str], speaker: str | None) -> None:
        """Count a label; the caller makes sure that it is the decision's first."""
        for attribute, group in groups.items():
            lot, who = _lot(attribute, group, defense, speaker)
            for released in self._labels.offer(lot, Labelled(defense, result), speaker=who):
                labels = (attribute, group, released.defense, self._model)
                self._counters.group_labelled.labels(*labels, released.result).inc()

    def refused(self, outcome: Outcome, reason: Refusal) -> None:
        """Count a command that was answered with an error, and so has no decision."""
        self._counters.commands.labels(outcome, reason).inc()

    def times(self, *, defense: str, total: float, stages: Mapping[str, float]) -> None:
        """Count the seconds of a decision and of its stages."""
        self._counters.decision_seconds.labels(defense).observe(total)
        for stage, seconds in stages.items():
            self._counters.stage_seconds.labels(stage).observe(seconds)

    def _count_decision(self, attribute: str, group: str, seen: Decided) -> None:
        counters, labels = self._counters, (attribute, group, seen.defense, self._model)
        counters.group_commands.labels(*labels, seen.outcome).inc()
        if seen.score is not None:
            scored = (attribute, group, scored_live(seen.defense), self._model)
            counters.rejection_score.labels(*scored).observe(seen.score)
        if seen.draws is not None:
            counters.smoothing_draws.labels(attribute, group, self._model).observe(seen.draws)


def _draws(decision: Decision) -> int | None:
    """Of the randomized smoothing that ran, alone or as a part; None where none did."""
    ran = [part.decision.certificate for part in decision.parts] or [decision.certificate]
    return next((c.draws for c in ran if c is not None and c.draws is not None), None)


def _lot(attribute: str, group: str, defense: str, speaker: str | None) -> tuple[Lot, str]:
    """The lot of an observation, and who it is of: those without a speaker must not release a registered one's."""
    return (attribute, group, defense, speaker is None), speaker or uuid.uuid4().hex
