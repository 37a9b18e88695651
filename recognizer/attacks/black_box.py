"""Attacks without gradients: where they beat PGD, its gradients were masked.

They use nothing of an objective but its values, the hard-label one nothing but `is_broken`. The first query is the
clean clip; a broken clip leaves the search. Random numbers come from the generator in the order of the queries: the
same clips in the same batches give the same examples.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from recognizer.attacks.adversarial import Adversarial, Search
from recognizer.attacks.objectives import Objective, frozen
from recognizer.attacks.pgd import pgd

_LONGEST = 0.8  # of a clip that the first proposals of the Square attack overwrite, as in AutoAttack
_HALVINGS = (0.001, 0.005, 0.02, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8)  # shares of the queries at which it halves; its paper's
_LONGEST_HALF = 40  # samples; half a period of the slowest square wave that it proposes
_HELD = 8  # samples of one sign in the direction that RayS starts from
_PROGRESS = 0.98  # of the radius so far, at which RayS tries another direction
_BISECTIONS = 6

Propose = Callable[[Tensor, Tensor, Search], Tensor]
"""(best so far, float32 [active, samples]; queries made, int64 [active]; the search) -> what to ask of next."""


def random_noise_attack(
    objective: Objective,
    waveforms: Tensor,
    labels: Tensor,
    *,
    eps: float,
    generator: torch.Generator,
    draws: int = 1000,
    rows: Tensor | None = None,
    batch: int = 64,
) -> Adversarial:
    """The best of so many draws, uniform in the ball: an attack that uses nothing, and must not beat any other.

    Args:
        objective, waveforms, labels, eps, rows, batch: as in `pgd`.
        generator: draws the noise.
        draws: a clip, beside the clean one.

    Raises:
        ValueError, NetworkError: as `pgd`.
    """

    def propose(best: Tensor, queries: Tensor, search: Search) -> Tensor:
        del queries
        share = _uniform(generator, *best.shape, device=best.device)
        return torch.lerp(search.low[search.active], search.high[search.active], share)

    search = Search(waveforms, labels, eps=eps, rows=rows, batch=batch)
    return _search(search, objective, labels, propose, queries=draws + 1)


def square_attack(
    objective: Objective,
    waveforms: Tensor,
    labels: Tensor,
    *,
    eps: float,
    generator: torch.Generator,
    queries: int = 1000,
    rows: Tensor | None = None,
    batch: int = 64,
) -> Adversarial:
    """Random search over ever shorter segments that stand at plus or minus eps, kept where the loss grows.

    Source: Andriushchenko et al. 2020, "Square Attack". An image's squares are here segments of a random square wave
    of amplitude eps: a constant one is an offset, which hardly any network of waveforms hears.

    Args:
        objective, waveforms, labels, eps, rows, batch: as in `pgd`.
        generator: draws segments, periods and signs.
        queries: at most so many a clip.

    Raises:
        ValueError, NetworkError: as `pgd`.
    """
    samples, where = waveforms.shape[1], waveforms.device
    time = torch.arange(samples, device=where)

    def propose(best: Tensor, asked: Tensor, search: Search) -> Tensor:
        shares = [1.0 if n == 1 else _LONGEST / 2 ** bisect_right(_HALVINGS, n / queries) for n in asked.tolist()]
        place, period, sign = _uniform(generator, 3, len(best), 1, device=where)
        length = (samples * torch.tensor(shares, device=where)[:, None]).long().clamp(min=1)
        first = (place * (samples - length + 1)).long()
        half = (_LONGEST_HALF**period).long()
        is_up = ((time // half) % 2 == 0) ^ (sign < 0.5)
        is_inside = (time >= first) & (time < first + length)
        wave = torch.where(is_up, search.high[search.active], search.low[search.active])
        return torch.where(is_inside, wave, best)

    search = Search(waveforms, labels, eps=eps, rows=rows, batch=batch)
    return _search(search, objective, labels, propose, queries=queries)


def _search(search: Search, objective: Objective, labels: Tensor, propose: Propose, *, queries: int) -> Adversarial:
    """Ask of the clean clip, then of proposals, and keep what is better."""
    with frozen(objective.network), torch.no_grad():
        while len(active := search.active):
            best, asked = search.best(), search.steps[active]
            candidates = torch.where(asked[:, None] == 0, best, propose(best, asked, search))
            aim = objective(candidates, labels[active], search.rows[active])
            search.record(candidates, aim)
            search.steps[active] += 1
            search.retire(~aim.is_broken & (search.steps[active] < queries))
    return search.result()


def rays_attack(
    objective: Objective,
    waveforms: Tensor,
    labels: Tensor,
    *,
    eps: float,
    generator: torch.Generator,
    queries: int = 1000,
    rows: Tensor | None = None,
    batch: int = 64,
) -> Adversarial:
    """Hard-label: the direction of signs along which the shortest step breaks the clip, by flips of ever finer blocks.

    Source: Chen & Gu 2020, "RayS: a ray searching method for hard-label adversarial attack". It starts from random
    blocks of signs, since equal ones are an offset, and ends as soon as the step is no longer than eps.

    Args:
        objective, waveforms, labels, eps, rows, batch: as in `pgd`; of the objective's values only `is_broken` counts.
        generator: draws the first signs.
        queries: after so many no new direction is tried; a search for a radius that has begun is ended.

    Raises:
        ValueError, NetworkError: as `pgd`.
    """
    search = Search(waveforms, labels, eps=eps, rows=rows, batch=batch)
    samples, where = waveforms.shape[1], waveforms.device
    time = torch.arange(samples, device=where)
    is_up = _uniform(generator, len(waveforms), samples // _HELD + 1, device=where) < 0.5
    signs = torch.where(is_up, 1.0, -1.0).repeat_interleave(_HELD, dim=1)[:, :samples]
    radius = torch.full(labels.shape, 2.0, device=where)  # reaches every corner of [-1, 1]
    level, block = torch.zeros_like(labels), torch.zeros_like(labels)

    def breaks(places: Tensor, directions: Tensor, radii: Tensor) -> Tensor:
        search.steps[places] += 1
        asked = (waveforms[places] + radii[:, None] * directions).clamp(-1, 1)
        return objective(asked, labels[places], search.rows[places]).is_broken

    def shortest(places: Tensor, directions: Tensor, high: Tensor) -> Tensor:
        low = torch.zeros_like(high)
        for _ in range(_BISECTIONS):
            middle = (low + high) / 2
            is_broken = breaks(places, directions, middle)
            low, high = torch.where(is_broken, low, middle), torch.where(is_broken, middle, high)
        return high

    with frozen(objective.network), torch.no_grad():
        while len(active := search.active):
            blocks = 2 ** level[active]
            first, end = samples * block[active] // blocks, samples * (block[active] + 1) // blocks
            is_inside = (time >= first[:, None]) & (time < end[:, None])
            directions = torch.where(is_inside, -signs[active], signs[active])
            radii = torch.where(search.steps[active] == 0, 0.0, _PROGRESS * radius[active])  # first, the clean clip
            is_shorter = breaks(active, directions, radii)
            if is_shorter.any():
                places, signs[active] = active[is_shorter], torch.where(is_shorter[:, None], directions, signs[active])
                radius[places] = shortest(places, directions[is_shorter], radii[is_shorter])
            is_last = block[active] + 1 == blocks
            block[active] = torch.where(is_last, 0, block[active] + 1)
            level[active] = (level[active] + is_last) % samples.bit_length()
            search.retire((radius[active] > eps) & (search.steps[active] < queries))
    within = waveforms + radius.clamp(max=eps)[:, None] * signs
    scored = pgd(objective, waveforms, labels, eps=eps, steps=0, start=within, rows=rows, batch=batch)
    return replace(scored, steps=search.steps + 1)


def _uniform(generator: torch.Generator, *shape: int, device: torch.device) -> Tensor:
    """Uniform in [0, 1), drawn where the generator is."""
    return torch.rand(shape, generator=generator, device=generator.device).to(device)
