"""What an attack gives back, and the record that every attack keeps on its way there."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from recognizer.attacks.objectives import Aim
from recognizer.defense import finite


@dataclass(frozen=True)
class Adversarial:
    """What an attack found, clip by clip."""

    waveforms: Tensor
    """float32 [clips, samples], within eps of the clean ones (to float rounding) and in [-1, 1]."""
    is_broken: Tensor
    """bool [clips]: whether the attack succeeds at `waveforms`."""
    loss: Tensor
    """float32 [clips]: the objective's, at `waveforms`."""
    steps: Tensor
    """int64 [clips]: gradient steps taken; of an attack without gradients, queries."""
    zero_gradients: Tensor
    """float32 [clips]: share of those steps at which the clip's gradient was 0 everywhere or not finite."""


class Search:
    """An attack under way: the clips' ball, what was found so far, and whose turn it is.

    Attributes:
        low, high: float32 [clips, samples], the ball's bounds, within [-1, 1].
        rows: int64 [clips], what keys the objective's random draws.
        active: int64 [at most batch], places of the clips now attacked.
        steps: int64 [clips], taken.
        flat: int64 [clips], of them without a usable gradient.
    """

    def __init__(self, waveforms: Tensor, labels: Tensor, *, eps: float, rows: Tensor | None, batch: int) -> None:
        """
        Raises:
            ValueError: settings or waveforms outside their ranges, or of differing lengths.
        """
        _check(waveforms, labels, rows, eps=eps, batch=batch)
        self.low, self.high = (waveforms - eps).clamp_(min=-1), (waveforms + eps).clamp_(max=1)
        everyone = torch.arange(len(waveforms), device=waveforms.device)
        self.rows = everyone if rows is None else rows.to(waveforms.device)
        self.active, self._waiting = everyone[:batch], everyone[batch:]
        self.steps = torch.zeros_like(everyone)
        self.flat = torch.zeros_like(everyone)
        self._batch = batch
        self._waveforms = waveforms.clone()
        self._is_broken = torch.zeros(len(waveforms), dtype=torch.bool, device=waveforms.device)
        self._loss = torch.full((len(waveforms),), -torch.inf, device=waveforms.device)

    def of_active(self, of_all: Tensor) -> Tensor:
        """The active clips' part, [active, ...], of [clips, ...]; no copy while every clip is active."""
        return of_all if self._is_whole else of_all[self.active]

    def put(self, of_all: Tensor, of_active: Tensor) -> Tensor:
        """[clips, ...] with the active clips' part replaced; the given one may be overwritten."""
        if self._is_whole:
            return of_active
        of_all[self.active] = of_active
        return of_all

    def record(self, waveforms: Tensor, aim: Aim, *, always: bool = False) -> Tensor:
        """Keep the active clips' iterates that are better: broken before unbroken, then of higher loss.

        Args:
            waveforms: float32 [active, samples].
            aim: what the objective says of them.
            always: keep them in any case.

        Returns:
            bool [active]: which were kept.

        Raises:
            NetworkError: the loss is NaN or infinite.
        """
        loss, was_broken = finite(aim.loss.detach()), self.of_active(self._is_broken)
        is_higher = (aim.is_broken == was_broken) & (loss > self.of_active(self._loss))
        is_kept = is_higher | (aim.is_broken & ~was_broken) | always
        if bool(is_kept.all()):
            self._waveforms = self.put(self._waveforms, waveforms)
            self._is_broken = self.put(self._is_broken, aim.is_broken)
            self._loss = self.put(self._loss, loss)
            return is_kept
        kept = self.active[is_kept]
        self._waveforms[kept] = waveforms[is_kept]
        self._is_broken[kept] = aim.is_broken[is_kept]
        self._loss[kept] = loss[is_kept]
        return is_kept

    def best(self) -> Tensor:
        """The active clips' kept iterates, float32 [active, samples]."""
        return self.of_active(self._waveforms)

    @property
    def _is_whole(self) -> bool:
        """Whether every clip is active; none has retired then, so they stand in order."""
        return len(self.active) == len(self.steps)

    def retire(self, stays: Tensor) -> None:
        """Fill the places of active clips that don't stay, bool [active], from the clips that wait."""
        if bool(stays.all()):
            return
        staying = self.active[stays]
        free = self._batch - len(staying)
        self.active, self._waiting = torch.cat((staying, self._waiting[:free])), self._waiting[free:]

    def result(self) -> Adversarial:
        share = self.flat / self.steps.clamp(min=1)
        return Adversarial(self._waveforms, self._is_broken, self._loss, self.steps, share)


def _check(waveforms: Tensor, labels: Tensor, rows: Tensor | None, *, eps: float, batch: int) -> None:
    if waveforms.ndim != 2 or labels.shape != waveforms.shape[:1] or (rows is not None and rows.shape != labels.shape):
        shapes = [tuple(tensor.shape) for tensor in (waveforms, labels, rows) if tensor is not None]
        raise ValueError(f"waveforms, labels and rows have shapes {shapes}; give [clips, samples], [clips] and [clips]")
    if not bool((waveforms.abs() <= 1).all()):  # refuses NaN, too
        raise ValueError("waveforms leave [-1, 1] or hold NaN; attacks search within [-1, 1]: clip them first")
    if not (eps >= 0 and math.isfinite(eps)):
        raise ValueError(f"eps is {eps}; it must be a finite amplitude of at least 0")
    if batch < 1:
        raise ValueError(f"batch is {batch}; at least 1 clip must be attacked at a time")
