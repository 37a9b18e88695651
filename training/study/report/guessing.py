"""Rejectors and purifiers whose network guesses: fair as a coin is, and worth as much."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from training.study.report.evidence import Model, SplitEvidence
from training.study.report.judgement import GUESSING, is_guesser

GUESSING_MARK = "GUESSING"


@dataclass(frozen=True)
class Guess:
    """A defense that nothing can be said of."""

    defense: str
    """`NR`, `RS`, `purification`, or that by one purifier"""
    words: str


def guesses(split: SplitEvidence) -> Iterator[Guess]:
    """The measured defenses that guess, by their network or, a rejector, by what it would say without rejecting."""
    undefended, smoothed = split.undefended, split.smoothing_network
    rejection, smoothing, purification = split.neural_rejection, split.smoothing, split.purification
    if rejection is not None:
        yield from _guess("NR", undefended, float(rejection["is_right"].mean()), split.chance)
    if smoothing is not None:
        most = smoothing[smoothing["draws"] == smoothing["draws"].max()]
        yield from _guess("RS", smoothed, float(most["is_right"].mean()), split.chance)
    if purification is not None:
        yield from _guess("purification", undefended, None, split.chance)
        clean = purification[purification["eps"] == 0].groupby("purifier", sort=False)["is_correct"].mean()
        for purifier, accuracy in clean.items():
            yield from _guess(f"purification by {purifier}", None, float(accuracy), split.chance)


def of_rejectors(found: Sequence[Guess]) -> list[Guess]:
    """Those that are about a rejector."""
    return [guess for guess in found if guess.defense in ("NR", "RS")]


def _guess(defense: str, network: Model | None, leaders: float | None, chance: float) -> Iterator[Guess]:
    found = []
    if network is not None and is_guesser(network, chance):
        found.append(f"its network {network.key} is right on {network.clean_accuracy:.1%} of clean clips")
    if leaders is not None and leaders <= GUESSING * chance:
        found.append(f"its leading command is right on {leaders:.1%} of clean clips")
    if found:
        yield Guess(
            defense,
            f"{GUESSING_MARK}: {defense}: {' and '.join(found)}, which is at most {GUESSING} x chance = "
            f"{GUESSING * chance:.1%}. A network that always says the same is equal to everybody, and withstands any "
            "attack: nothing here says anything of fairness or robustness.",
        )
