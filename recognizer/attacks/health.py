"""The health of a sweep: every check of the pitfalls that a robust accuracy may hide."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor

from recognizer.attacks.black_box import random_noise_attack, rays_attack, square_attack
from recognizer.attacks.evade import ThroughPurifiers
from recognizer.attacks.objectives import Misclassify, Objective, frozen
from recognizer.attacks.pgd import pgd
from recognizer.attacks.pitfalls import (
    Finding,
    check_black_box,
    check_chance,
    check_constant,
    check_convergence,
    check_monotone,
    check_survivors,
    check_zero_gradients,
)
from recognizer.attacks.sweep import Level

_ENOUGH = 0.1  # share of the sample that must be unbroken where it is attacked again


def check_health(
    objective: Objective,
    waveforms: Tensor,
    labels: Tensor,
    levels: Sequence[Level],
    *,
    steps: int = 100,
    sample: int = 32,
    queries: int = 100,
    seed: int = 0,
    batch: int = 64,
) -> tuple[Finding, ...]:
    """Every check on a sweep's levels, with as many steps again and the attacks without gradients on a few clips.

    Those run at one eps, the largest that leaves a tenth of the sample unbroken, and there on the unbroken clips only,
    so that they cost a fraction of the sweep.

    Args:
        objective, waveforms, labels, batch: what the sweep attacked.
        levels: the sweep's, all of them.
        steps: the sweep's.
        sample: clips that may be attacked again, spread evenly over the set.
        queries: a clip, of each attack without gradients.
        seed: of their random numbers.

    Raises:
        ValueError: no levels or those of other clips, or a sample of less than 1; see also `pgd`.
        NetworkError: the loss is NaN or infinite.
    """
    if not levels or sample < 1 or any(len(level.snr_db) != len(labels) for level in levels):
        raise ValueError(f"{len(levels)} levels and a sample of {sample}: give the sweep of these {len(labels)} clips")
    scores = _scores(objective, waveforms, batch)
    predictions, classes = scores.argmax(dim=1), scores.shape[1]
    is_broken = torch.stack([level.adversarial.is_broken for level in levels])
    zero_gradients = torch.cat([level.adversarial.zero_gradients for level in levels])
    taken = torch.cat([level.adversarial.steps for level in levels])
    findings = [
        check_chance(predictions, labels, classes),
        check_constant(predictions, labels),
        check_zero_gradients(zero_gradients, taken, is_broken.flatten()),
        check_monotone(is_broken, [level.eps for level in levels]),
    ]
    if _always_answers(objective):  # a recogniser that abstains may well survive any eps
        findings.append(check_survivors(is_broken[-1], levels[-1].eps))
    chosen = torch.arange(min(sample, len(labels)), device=labels.device) * len(labels) // min(sample, len(labels))
    level = _informative(levels, chosen)
    if level is not None:
        eps, broken = level.eps, level.adversarial.is_broken[chosen]
        left = chosen[~broken]
        clips, truth, reached = waveforms[left], labels[left], level.adversarial.waveforms[left]
        longer = pgd(objective, clips, truth, eps=eps, steps=steps, start=reached, rows=left, batch=batch).is_broken
        findings.append(check_convergence(broken, broken.masked_scatter(~broken, longer), eps))
        generator = torch.Generator().manual_seed(seed)
        attacks = (
            partial(square_attack, queries=queries),
            partial(rays_attack, queries=queries),
            partial(random_noise_attack, draws=queries),
        )
        found = [a(objective, clips, truth, eps=eps, generator=generator, rows=left, batch=batch) for a in attacks]
        by_any = torch.stack([adversarial.is_broken for adversarial in found]).any(dim=0)
        findings.append(check_black_box(broken, broken.masked_scatter(~broken, by_any), eps))
    return tuple(finding for finding in findings if finding is not None)


def _always_answers(objective: Objective) -> bool:
    """Whether every input is taken for a command."""
    if isinstance(objective, ThroughPurifiers):
        return _always_answers(objective.objective)
    return isinstance(objective, Misclassify) and objective.unknown is None


def _scores(objective: Objective, waveforms: Tensor, batch: int) -> Tensor:
    """[clips, K], with whatever stands before and after the network: a purifier may be what is constant."""
    parts = torch.split(torch.arange(len(waveforms), device=waveforms.device), batch)
    with frozen(objective.network), torch.no_grad():
        return torch.cat([objective.scores(waveforms[rows], rows) for rows in parts])


def _informative(levels: Sequence[Level], chosen: Tensor) -> Level | None:
    """The largest eps at which enough of the chosen clips are unbroken; None where there is none."""
    return max(
        (
            level
            for level in levels
            if level.eps > 0 and float((~level.adversarial.is_broken[chosen]).double().mean()) >= _ENOUGH
        ),
        key=lambda level: level.eps,
        default=None,
    )
