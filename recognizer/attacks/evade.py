"""Evasion of any defense by an attacker who knows all of it but its draws, and wants a wrong command done.

An attack that overlooks a part measures nothing but its own ignorance. Sources: Carlini & Wagner 2017, "Adversarial
examples are not easily detected: bypassing ten detection methods"; Tramer et al. 2020, "On adaptive attacks to
adversarial example defenses".
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from recognizer.attacks.against_rejection import EvadeNeuralRejection, EvadeSmoothing
from recognizer.attacks.objectives import Aim, Misclassify, Objective, all_but, at
from recognizer.combined import Combined, PurifiedInput
from recognizer.defense import Defense, Undefended
from recognizer.neural_rejection import NeuralRejection
from recognizer.purification import Purifier, attackable
from recognizer.smoothing import RandomizedSmoothing


def evade(
    defense: Defense, *, clip_ids: Sequence[str], seed: int, draws: int = 32, error_alpha: float | None = None
) -> Objective:
    """Have a wrong command accepted, by whatever defense of a bundle.

    Args:
        defense: as `recognizer.bundle.load_bundle` makes them.
        clip_ids, seed, draws: see `EvadeSmoothing`; without randomized smoothing there is no use for them.
        error_alpha: likewise; the defense's own by default or, where not even a unanimous vote of so few draws passes
            that, the smallest that one does.

    Raises:
        ValueError: no draws, or labels of fewer than two commands.
        TypeError: a defense that is none of a bundle's.
    """
    match defense:
        case Undefended():
            return Misclassify(defense.network, labels=defense.labels)
        case PurifiedInput():
            inner = evade(defense.defense, clip_ids=clip_ids, seed=seed, draws=draws, error_alpha=error_alpha)
            return ThroughPurifiers(defense.purifiers, inner)
        case Combined():
            parts = [
                _evade_rejector(part, clip_ids=clip_ids, seed=seed, draws=draws, error_alpha=error_alpha)
                for part in defense.parts
            ]
            return EvadeCombined(parts)
        case _:
            return _evade_rejector(defense, clip_ids=clip_ids, seed=seed, draws=draws, error_alpha=error_alpha)


def _evade_rejector(
    defense: Defense, *, clip_ids: Sequence[str], seed: int, draws: int, error_alpha: float | None
) -> EvadeNeuralRejection | EvadeSmoothing:
    match defense:
        case NeuralRejection():
            return EvadeNeuralRejection(defense)
        case RandomizedSmoothing():
            return EvadeSmoothing(
                defense.network,
                sigma=defense.sigma,
                clip_ids=clip_ids,
                seed=seed,
                draws=draws,
                error_alpha=max(defense.error_alpha, 2.0 ** (1 - draws)) if error_alpha is None else error_alpha,
                labels=defense.labels,
            )
        case _:
            raise TypeError(f"there is no attack on a {type(defense).__name__}; the defenses of a bundle are accepted")


class ThroughPurifiers:
    """Another objective, seen through purifiers: each by its own gradient or, where it has none, straight through."""

    def __init__(self, purifiers: Sequence[Purifier], objective: Objective) -> None:
        """
        Args:
            purifiers: in the order they are applied in.
            objective: about what comes out of the last of them.
        """
        self.objective = objective
        self._purify = [attackable(purifier) for purifier in purifiers]

    @property
    def network(self) -> nn.Module:
        return self.objective.network

    def __call__(self, waveforms: Tensor, labels: Tensor, rows: Tensor) -> Aim:
        return self.objective(self._purified(waveforms), labels, rows)

    def scores(self, waveforms: Tensor, rows: Tensor) -> Tensor:
        """The objective's, of the purified clips; see `Objective.scores`."""
        return self.objective.scores(self._purified(waveforms), rows)

    def _purified(self, waveforms: Tensor) -> Tensor:
        for purify in self._purify:
            waveforms = purify(waveforms)
        return waveforms


class EvadeCombined:
    """Be accepted as one and the same wrong command by every part of a combined defense.

    The loss is max_{c wrong command} min_{parts} lead(c): of the wrong command that is nearest to being done, how far
    the part is that holds it back most. The smaller of the parts' own losses, min_{parts} max_c, would be content with
    parts that accept different wrong commands, and such a clip is turned away. The scales of the parts differ, but all
    accept from about 0 on, and a step by the gradient's sign has no scale. `is_broken` is as much of a proxy as that of
    smoothing.
    """

    def __init__(self, parts: Sequence[EvadeNeuralRejection | EvadeSmoothing]) -> None:
        """
        Args:
            parts: all of the same labels.
        """
        self.parts = tuple(parts)
        self.network: nn.Module = nn.ModuleList(part.network for part in self.parts)
        self.unknown = self.parts[0].unknown

    def __call__(self, waveforms: Tensor, labels: Tensor, rows: Tensor) -> Aim:
        claims = [part.claim(waveforms, rows) for part in self.parts]
        least = torch.stack([claim.lead for claim in claims]).amin(dim=0)
        is_wanted = all_but(labels, least.shape[1], self.unknown)
        accepted = torch.stack([claim.accepted for claim in claims])
        agree = (accepted == accepted[0]).all(dim=0) & (accepted[0] >= 0)
        return Aim(
            least.masked_fill(~is_wanted, -torch.inf).amax(dim=1), agree & at(is_wanted, accepted[0].clamp(min=0))
        )

    def scores(self, waveforms: Tensor, rows: Tensor) -> Tensor:
        """Of each label the smallest lead among the parts; see `Objective.scores`."""
        return torch.stack([part.claim(waveforms, rows).lead for part in self.parts]).amin(dim=0)
