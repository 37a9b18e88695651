"""Attacks over a grid of eps: what the accuracy curve, and its area, are made of."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields, replace
from itertools import pairwise

import torch
from torch import Tensor

from recognizer.attacks.adversarial import Adversarial
from recognizer.attacks.objectives import Objective
from recognizer.attacks.pgd import pgd

EPS_GRID = (0.0001, 0.001, 0.01, 0.1, 0.2, 0.3)
"""Raw amplitudes that Richards et al. 2023 attack at; 0, the clean clips, comes before."""

_SHRINK_TO = 0.02  # of confirmed attacks: their last step over their first
_REACH = 1.0  # times eps that their steps go at least, all together: from the clean clip to the border of its ball


Confirm = Callable[[Tensor, Tensor, Tensor], Tensor]
"""(waveforms, labels, rows), see `Objective`, to the true verdict: bool [clips], whether the attack has succeeded."""


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
    confirm: Confirm | None = None,
) -> Iterator[Level]:
    """PGD at every eps as one run, never weaker at a larger one.

    A broken clip is broken at every larger eps, by the same example, and is attacked no more; the others start at
    their best iterate so far. Clips wrong at eps = 0 are broken by themselves. Arguments and errors are those of `pgd`.

    An objective that judges by a few random draws calls a clip broken at the first lucky ones, and the clip would be
    left alone for ever while the defense still holds; and its best iterate is the luckiest. Give `confirm` then: a clip
    takes all its steps, ever smaller ones, and is broken if the verdict on the last iterate is so, and only then.

    Args:
        eps_grid: raw amplitudes above 0, rising.
        steps: at most so many a clip and eps.
        confirm: asked once a clip and eps. What is finally reported of a defense must come of other draws than its.

    Yields:
        The clean clips at eps 0, then each eps in turn.

    Raises:
        ValueError: an eps grid that does not rise from above 0; see also `pgd`.
    """
    _check_grid(eps_grid)
    everyone = torch.arange(len(waveforms), device=waveforms.device)
    found = _confirmed(pgd(objective, waveforms, labels, eps=0, steps=0, batch=batch), confirm, labels, everyone)
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
            step_size=None if confirm is None else _first_of_shrinking(eps, steps),
            shrink_to=1.0 if confirm is None else _SHRINK_TO,
            keep="best" if confirm is None else "last",
            stop_when_broken=confirm is None,
            rows=survivors,
            batch=batch,
        )
        found = _carried_over(found, survivors, _confirmed(attacked, confirm, labels[survivors], survivors))
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


def _first_of_shrinking(eps: float, steps: int) -> float:
    """Raw amplitude: eps / 5, or more where so few shrinking steps would not reach the ball's border."""
    together: float = sum(_SHRINK_TO ** (step / max(steps - 1, 1)) for step in range(steps))
    return eps * max(1 / 5, _REACH / max(together, 1))


def _confirmed(adversarial: Adversarial, confirm: Confirm | None, labels: Tensor, rows: Tensor) -> Adversarial:
    """With the true verdict in place of the objective's."""
    if confirm is None or not len(rows):
        return adversarial
    return replace(adversarial, is_broken=confirm(adversarial.waveforms, labels, rows).to(rows.device))


def _carried_over(found: Adversarial, survivors: Tensor, attacked: Adversarial) -> Adversarial:
    """What was found of all clips, with the survivors' places taken by what a new attack, on them only, found."""
    others = replace(found, steps=torch.zeros_like(found.steps), zero_gradients=torch.zeros_like(found.zero_gradients))
    merged = {
        field.name: getattr(others, field.name).index_copy(0, survivors, getattr(attacked, field.name))
        for field in fields(Adversarial)
    }
    return Adversarial(**merged)
