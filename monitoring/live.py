"""Live traffic: what one decision, or one label, adds to its group's tally, and the settings of live fairness."""

from __future__ import annotations

from dataclasses import dataclass, field

from monitoring.release import ReleaseRule
from monitoring.scores import live_score
from monitoring.tally import LabelResult, Tally
from recognizer.decision import OF_DEFENSE, UNKNOWN, Decision, Outcome

SESSION_SECONDS = 86_400
"""A session is a speaker's day by default."""


@dataclass(frozen=True)
class LiveSettings:
    """How live traffic is counted and bet on; the same in every gateway of one ledger."""

    release: ReleaseRule = field(default_factory=ReleaseRule)
    tolerance: float = 0.02
    """The difference of rejection rates that is still acceptable."""
    alpha: float = 0.05
    """The probability of a false alarm, over all groups and all time, under each defense."""
    session_seconds: int = SESSION_SECONDS


def count(decision: Decision, tally: Tally) -> None:
    """Add one decision to its group's tally."""
    tally.outcomes[decision.outcome.value] += 1
    if (score := live_score(decision)) is not None:
        tally.scores.observe(score)
    if (draws := _draws(decision)) is not None:
        tally.draws.observe(draws)


def count_label(result: LabelResult, tally: Tally) -> None:
    """Add one label."""
    tally.labelled[result] += 1


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


def _draws(decision: Decision) -> int | None:
    """Of the randomized smoothing that ran, alone or as a part; None where none did."""
    ran = [part.decision.certificate for part in decision.parts] or [decision.certificate]
    return next((c.draws for c in ran if c is not None and c.draws is not None), None)
