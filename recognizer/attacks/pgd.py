"""Projected gradient descent (PGD) within an L-infinity ball, the white-box attack.

Source: Madry et al. 2018, "Towards deep learning models resistant to adversarial attacks".
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from recognizer.attacks.adversarial import Adversarial, Search
from recognizer.attacks.objectives import Objective, frozen


def pgd(
    objective: Objective,
    waveforms: Tensor,
    labels: Tensor,
    *,
    eps: float,
    steps: int = 100,
    step_size: float | None = None,
    shrink_to: float = 1.0,
    start: Tensor | None = None,
    random_start: torch.Generator | None = None,
    keep: Literal["best", "last"] = "best",
    stop_when_broken: bool = True,
    rows: Tensor | None = None,
    batch: int = 64,
) -> Adversarial:
    """Climb the objective by the sign of its gradient, projected to the ball and to [-1, 1].

    Every iterate is scored, the last one too. A clip's result depends on `batch` and on its neighbours by the rounding
    of the network's sums only. A clip whose gradient is 0 or not finite stays where it is for that step.

    Args:
        objective: what to climb; its network is frozen meanwhile.
        waveforms: float32 [clips, samples] in [-1, 1], on the network's device.
        labels: int64 [clips], the true labels.
        eps: raw amplitude.
        steps: at most so many a clip; 0 only scores the first iterates.
        step_size: raw amplitude of the first step; eps / 5 by default.
        shrink_to: share of it that the last of `steps` has; those between fall geometrically. Below 1 an attack comes
            to rest where steps of one size swing about an optimum, such as the tie of two labels.
        start: float32 [clips, samples] first iterates, projected; the clean clips by default.
        random_start: draws the first iterates uniformly from the ball instead.
        keep: "best" returns a broken iterate before an unbroken one, then that of higher loss; "last" the last.
        stop_when_broken: a broken clip takes no further step, and one that waits takes its place in the batch.
        rows: int64 [clips], places in the whole set that key the objective's random draws; 0, 1, ... by default.
        batch: clips attacked at a time.

    Raises:
        ValueError: settings or waveforms outside their ranges, or of differing shapes.
        NetworkError: the loss is NaN or infinite.
    """
    if not 0 < shrink_to <= 1:
        raise ValueError(f"shrink_to is {shrink_to}; the last step is a share above 0 and up to 1 of the first")
    search = Search(waveforms, labels, eps=eps, rows=rows, batch=batch)
    points = _first_iterates(search, waveforms, start, random_start)
    step_size = eps / 5 if step_size is None else step_size
    with frozen(objective.network), torch.enable_grad():
        while len(search.active):
            here = search.of_active(points).detach().requires_grad_()
            stays = search.of_active(search.steps) < steps
            with torch.set_grad_enabled(bool(stays.any())):
                aim = objective(here, search.of_active(labels), search.of_active(search.rows))
            search.record(here.detach(), aim, always=keep == "last")
            if stop_when_broken:
                stays &= ~aim.is_broken
            if stays.any():
                (gradient,) = torch.autograd.grad(aim.loss.sum(), here)
                size = gradient.abs().amax(dim=1, keepdim=True)
                stride = step_size * shrink_to ** (search.of_active(search.steps) / max(steps - 1, 1))
                is_usable = size.isfinite() & (size > 0)
                move = gradient.sign_().mul_(stride[:, None]).masked_fill_(~is_usable, 0)
                moved = move.add_(here.detach()).clamp_(search.of_active(search.low), search.of_active(search.high))
                points = search.put(points, moved)
                search.steps[search.active] += stays
                search.flat[search.active] += stays & ~is_usable[:, 0]
            search.retire(stays)
    return search.result()


def _first_iterates(
    search: Search, waveforms: Tensor, start: Tensor | None, random_start: torch.Generator | None
) -> Tensor:
    if start is not None and random_start is not None:
        raise ValueError("both `start` and `random_start` are given; an attack starts at one place")
    if random_start is not None:
        share = torch.rand(waveforms.shape, generator=random_start, device=random_start.device)
        start = torch.lerp(search.low, search.high, share.to(waveforms.device))
    return (waveforms if start is None else start).clamp(search.low, search.high)
