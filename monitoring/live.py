"""Live counting: each decision, and each label that comes later, into the counters."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass

from monitoring.counters import Counters, LabelResult
from monitoring.release import ReleaseGate
from monitoring.scores import rejection_score
from recognizer.decision import OUTCOME_OF, UNKNOWN, Decision, Outcome, Reason


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


def label_result(said: str | None, true_command: str) -> LabelResult:
    """What a label makes of a decision: turning away what is no command is correct.

    Args:
        said: the accepted command; None where it abstained.
        true_command: a command, or `unknown`.
    """
    if said is None:
        return "correct" if true_command == UNKNOWN else "rejected"
    return "correct" if said == true_command else "wrong"


class LiveMonitor:
    """Counts decisions at once, and by group in lots: decisions and labels each in lots of their own."""

    def __init__(self, counters: Counters, *, release_commands: int = 10, release_speakers: int = 3) -> None:
        self._counters = counters
        self._decisions: ReleaseGate[tuple[str, str], Decided] = ReleaseGate(
            observations=release_commands, speakers=release_speakers
        )
        self._labels: ReleaseGate[tuple[str, str], Labelled] = ReleaseGate(
            observations=release_commands, speakers=release_speakers
        )

    def decided(self, decision: Decision, *, defense: str, groups: Mapping[str, str], speaker: str | None) -> None:
        """Count a decision.

        Args:
            defense: the one that decided.
            groups: attribute -> group of the speaker.
            speaker: pseudonym; commands without one count as a speaker each.
        """
        self._counters.commands.labels(decision.outcome, decision.reason).inc()
        certificate = decision.certificate
        of_defense = decision.outcome in (Outcome.ACCEPTED, Outcome.REJECTED)
        seen = Decided(
            defense,
            decision.outcome,
            score=rejection_score(decision) if of_defense else None,
            draws=certificate.draws if certificate else None,
        )
        speaker = speaker or uuid.uuid4().hex
        for attribute, group in groups.items():
            for released in self._decisions.offer((attribute, group), seen, speaker=speaker):
                self._count_decision(attribute, group, released)

    def labelled(self, result: LabelResult, *, defense: str, groups: Mapping[str, str], speaker: str | None) -> None:
        """Count a label; the caller makes sure that it is the decision's first."""
        speaker = speaker or uuid.uuid4().hex
        for attribute, group in groups.items():
            for released in self._labels.offer((attribute, group), Labelled(defense, result), speaker=speaker):
                labels = (attribute, group, released.defense, self._counters.model)
                self._counters.group_labelled.labels(*labels, released.result).inc()

    def refused(self, reason: Reason) -> None:
        """Count a command that was turned away before anything was decided."""
        self._counters.commands.labels(OUTCOME_OF[reason], reason).inc()

    def times(self, *, defense: str, total: float, stages: Mapping[str, float]) -> None:
        """Count the seconds of a decision and of its stages."""
        self._counters.decision_seconds.labels(defense).observe(total)
        for stage, seconds in stages.items():
            self._counters.stage_seconds.labels(stage).observe(seconds)

    def _count_decision(self, attribute: str, group: str, seen: Decided) -> None:
        counters, labels = self._counters, (attribute, group, seen.defense, self._counters.model)
        counters.group_commands.labels(*labels, seen.outcome).inc()
        if seen.score is not None:
            counters.rejection_score.labels(*labels).observe(seen.score)
        if seen.draws is not None:
            counters.smoothing_draws.labels(attribute, group, counters.model).observe(seen.draws)
