"""The ways in which a robust accuracy may mean nothing: one small check each.

An attack that fails looks just like a network that is robust. Sources: Carlini et al. 2019, "On evaluating adversarial
robustness"; the checks of AutoAttack; Pintor et al. 2022, "Indicators of attack failure".
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import torch
from torch import Tensor

ZERO_GRADIENTS = 0.05
"""Share of the steps on unbroken clips that may have no gradient."""
FALL = 0.02
"""Share of the clips by which success may fall from one eps to the next."""
DROWNED = 0.3
"""Raw amplitude from which on a perturbation drowns any speech, so that nothing but failure explains a survivor."""
SURVIVORS = 0.01
"""Share of the clips that may survive there."""
MORE_STEPS = 0.05
"""Share of the clips that twice the steps may break in addition."""
BLACK_BOX_ONLY = 0.05
"""Share of the clips that attacks without gradients, but not PGD, may break."""
CHANCE = 1.1
"""Times 1 / labels; a network that is right no more often guesses (Richards et al. 2023, section 4.2)."""
ONE_LABEL = 0.95
"""Share of the clips from which on one label given to them makes a network constant."""


class Pitfall(StrEnum):
    """Why a robust accuracy may mean nothing."""

    ZERO_GRADIENTS = "zero_gradients"
    NOT_MONOTONE = "not_monotone"
    SURVIVORS = "survivors"
    NOT_CONVERGED = "not_converged"
    BLACK_BOX_STRONGER = "black_box_stronger"
    CHANCE_LEVEL = "chance_level"
    CONSTANT = "constant"


@dataclass(frozen=True)
class Finding:
    """A pitfall that a result fell into."""

    pitfall: Pitfall
    detail: str
    """The number seen, the one allowed, and what it means."""


def check_zero_gradients(zero_gradients: Tensor, steps: Tensor, is_broken: Tensor) -> Finding | None:
    """Whether PGD had a direction to go.

    Args:
        zero_gradients: float32 [clips], share of a clip's steps without gradient.
        steps: int64 [clips].
        is_broken: bool [clips]; broken clips need no gradient any more.
    """
    weights = torch.where(is_broken, 0, steps).double()
    share = float((zero_gradients.double() * weights).sum() / weights.sum().clamp(min=1))
    if share <= ZERO_GRADIENTS:
        return None
    return Finding(
        Pitfall.ZERO_GRADIENTS,
        f"{share:.1%} of the steps on unbroken clips had no gradient (at most {ZERO_GRADIENTS:.0%}): the network masks "
        "its gradients, and PGD could not search",
    )


def check_monotone(is_broken: Tensor, eps: Sequence[float]) -> Finding | None:
    """Whether success never falls with eps: a larger ball holds every smaller one. A nested run passes by construction.

    Args:
        is_broken: bool [levels, clips].
        eps: [levels], rising.
    """
    falls = -is_broken.sum(dim=1).diff()
    share = int(falls.max()) / is_broken.shape[1] if len(falls) else 0.0
    if share <= FALL:
        return None
    at = int(falls.argmax())
    return Finding(
        Pitfall.NOT_MONOTONE,
        f"success falls by {share:.1%} of the clips from eps = {eps[at]:g} to {eps[at + 1]:g} (at most "
        f"{FALL:.0%}), though the larger ball holds the smaller: the attack is too weak at eps = {eps[at + 1]:g}",
    )


def check_survivors(is_broken: Tensor, eps: float) -> Finding | None:
    """Whether an eps that drowns the clips breaks them all.

    Args:
        is_broken: bool [clips], at the largest eps.
        eps: raw amplitude; below DROWNED nothing is found.
    """
    share = float((~is_broken).double().mean())
    if eps < DROWNED or share <= SURVIVORS:
        return None
    return Finding(
        Pitfall.SURVIVORS,
        f"{share:.1%} of the clips survive eps = {eps:g} (at most {SURVIVORS:.0%}), which drowns any speech: the "
        "attack failed there, or the network gives one label to whatever it does not know; neither is robustness",
    )


def check_convergence(is_broken: Tensor, is_broken_doubled: Tensor, eps: float) -> Finding | None:
    """Whether as many steps again change the result.

    Args:
        is_broken, is_broken_doubled: bool [clips], after the steps and after twice as many.
        eps: raw amplitude of both.
    """
    share = float((is_broken_doubled & ~is_broken).double().mean())
    if share <= MORE_STEPS:
        return None
    return Finding(
        Pitfall.NOT_CONVERGED,
        f"twice the steps break {share:.1%} more of the clips at eps = {eps:g} (at most {MORE_STEPS:.0%}): the robust "
        "accuracy is too high; take more steps",
    )


def check_black_box(is_broken: Tensor, is_broken_black_box: Tensor, eps: float) -> Finding | None:
    """Whether attacks that know less do better.

    Args:
        is_broken: bool [clips], by PGD.
        is_broken_black_box: bool [clips], by any attack without gradients.
        eps: raw amplitude of both.
    """
    share = float((is_broken_black_box & ~is_broken).double().mean())
    if share <= BLACK_BOX_ONLY:
        return None
    return Finding(
        Pitfall.BLACK_BOX_STRONGER,
        f"attacks without gradients break {share:.1%} of the clips at eps = {eps:g} that PGD does not (at most "
        f"{BLACK_BOX_ONLY:.0%}): the gradients are masked, and the robust accuracy is too high",
    )


def check_chance(predictions: Tensor, labels: Tensor, classes: int) -> Finding | None:
    """Whether the network is better than guessing on clean clips.

    Args:
        predictions, labels: int64 [clips].
        classes: how many labels the network knows.
    """
    accuracy, most = float((predictions == labels).double().mean()), CHANCE / classes
    if accuracy > most:
        return None
    return Finding(
        Pitfall.CHANCE_LEVEL,
        f"clean accuracy is {accuracy:.4f}, no more than {CHANCE:g} x chance = {most:.4f}: the network guesses, and an "
        "attack can't show that it is robust",
    )


def check_constant(predictions: Tensor, labels: Tensor) -> Finding | None:
    """Whether the network listens: it should not give one label to nearly all clips, if they have several.

    Args:
        predictions, labels: int64 [clips].
    """
    share, commonest = (int(torch.bincount(given).max()) / len(given) for given in (predictions, labels))
    if share < ONE_LABEL or commonest >= ONE_LABEL:
        return None
    return Finding(
        Pitfall.CONSTANT,
        f"one label is given to {share:.1%} of the clean clips (less than {ONE_LABEL:.0%} is allowed): the network is "
        "constant, and what it gets right no attack can change",
    )
