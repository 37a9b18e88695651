"""Attacks over a grid of eps: what the accuracy curve, and its area, are made of."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace
from itertools import pairwise

import torch
from torch import Tensor

from recognizer.attacks.adversarial import Adversarial
from recognizer.attacks.objectives import Objective
from recognizer.attacks.pgd import pgd

EPS_GRID = (0.0001, 0.001, 0.01, 0.1, 0.2, 0.3)
"""Raw amplitudes that Richards et al. 2023 attack at; 0, the clean clips, comes before."""


@dataclass(frozen=True)
class Level:
    """One eps of a sweep."""

    eps: float
    """Raw amplitude; 0 are the clean clips."""
    adversarial: Adversarial
    """Of all clips; `steps` are those taken at this eps."""
    snr_db: Tensor
    """float32 [clips], see `snr_db`: equal eps is unequal SNR, since some voices are softer than others."""


def snr_db(clean: Tensor, adversarial: Tensor) -> Tensor:
    """Signal-to-noise ratio 10 log10(sum x^2 / sum (x' - x)^2), float32 [clips], in dB.

    +inf where nothing was changed, on a silent clip, too; -inf where a silent one was.

    Args:
        clean, adversarial: float32 [clips, samples].
    """
    signal = clean.double().square().sum(dim=1)
    noise = (adversarial.double() - clean.double()).square().sum(dim=1)
    return torch.where(noise == 0, torch.inf, 10 * torch.log10(signal / noise)).float()


def nested_sweep(
    objective: Objective,
    waveforms: Tensor,
    labels: Tensor,
    *,
    eps_grid: Sequence[float] = EPS_GRID,
    steps: int = 100,
    batch: int = 64,
) -> Iterator[Level]:
    """PGD at every eps as one run, never weaker at a larger one.

    A broken clip is broken at every larger eps, by the same example, and is attacked no more; the others start at
    their best iterate so far. Clips wrong at eps = 0 are broken by themselves. Arguments and errors are those of `pgd`.

    Args:
        eps_grid: raw amplitudes above 0, rising.
        steps: at most so many a clip and eps.

    Yields:
        The clean clips at eps 0, then each eps in turn.

    Raises:
        ValueError: an eps grid that does not rise from above 0; see also `pgd`.
    """
    _check_grid(eps_grid)
    found = pgd(objective, waveforms, labels, eps=0, steps=0, batch=batch)
    yield _level(0, found, waveforms)
    for eps in eps_grid:
        survivors = (~found.is_broken).nonzero()[:, 0]
        attacked = pgd(
            objective,
            waveforms[survivors],
            labels[survivors],
            eps=eps,
            steps=steps,
            start=found.waveforms[survivors],
            rows=survivors,
            batch=batch,
        )
        found = _carried_over(found, survivors, attacked)
        yield _level(eps, found, waveforms)


def paper_sweep(
    objective: Objective,
    waveforms: Tensor,
    labels: Tensor,
    *,
    eps_grid: Sequence[float] = EPS_GRID,
    steps: int = 100,
    batch: int = 64,
) -> Iterator[Level]:
    """PGD as in Richards et al. 2023: at every eps all clips anew from the clean ones, no restart, the last iterate.

    Arguments, what it yields and errors are those of `nested_sweep`.
    """
    _check_grid(eps_grid)
    yield _level(0, pgd(objective, waveforms, labels, eps=0, steps=0, batch=batch), waveforms)
    for eps in eps_grid:
        attacked = pgd(
            objective, waveforms, labels, eps=eps, steps=steps, keep="last", stop_when_broken=False, batch=batch
        )
        yield _level(eps, attacked, waveforms)


def _check_grid(eps_grid: Sequence[float]) -> None:
    if not all(low < high for low, high in pairwise((0.0, *eps_grid))):
        raise ValueError(f"the eps grid is {tuple(eps_grid)}; it must rise from above 0")


def _level(eps: float, adversarial: Adversarial, waveforms: Tensor) -> Level:
    return Level(eps, adversarial, snr_db(waveforms, adversarial.waveforms))


def _carried_over(found: Adversarial, survivors: Tensor, attacked: Adversarial) -> Adversarial:
    """What was found of all clips, with the survivors' places taken by what a new attack, on them only, found."""
    others = replace(found, steps=torch.zeros_like(found.steps), zero_gradients=torch.zeros_like(found.zero_gradients))
    merged = {
        field.name: getattr(others, field.name).index_copy(0, survivors, getattr(attacked, field.name))
        for field in fields(Adversarial)
    }
    return Adversarial(**merged)
