"""Clips attacked once for every threshold of a defense: the attacker aims at no threshold, but past all of them.

An attack that stops once it passes one threshold ends just behind it, and every stricter threshold would look robust
for free. So nothing stops early. RS: the loss, the vote's log-odds, knows neither error_alpha nor N; one attack walks
on to the last step, another comes to rest. NR: one attack aims at each threshold. Each setting is judged by the worst
of what all attacks on its defense found, so none is attacked more weakly than by any of them alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from recognizer.attacks import EvadeNeuralRejection, EvadeSmoothing, Objective, pgd
from recognizer.neural_rejection import NeuralRejection
from recognizer.progress import OnProgress, Stage, silent
from recognizer.smoothing import RandomizedSmoothing

_BATCH = 16  # clips
_SHRINK_TO = 0.02  # the last step over the first, of the attack that comes to rest


@dataclass(frozen=True)
class Attack:
    """How strong an attacker is.

    Attributes:
        eps: L-infinity radius, raw amplitude.
        steps: of PGD.
        draws: fresh noisy copies a step, against RS.
        seed: keys those copies; none of them is the defense's.
    """

    eps: float
    steps: int
    draws: int
    seed: int

    def on_smoothing(
        self,
        smoothing: RandomizedSmoothing,
        waveforms: Tensor,
        targets: Tensor,
        *,
        clip_ids: Sequence[str],
        on_progress: OnProgress = silent,
    ) -> tuple[Tensor, ...]:
        """Expectation over transformation: PGD through the noise, the last iterates of steps of one size and of steps
        that shrink from the radius itself.

        Neither does for the other: under noise steps of one size swing about an optimum, and those that shrink may
        stop short of it.

        Args:
            waveforms: float32 [clips, samples].
            targets: int64 [clips], the true labels.
            clip_ids: [clips].

        Returns:
            Two float32 [clips, samples] on the CPU: by steps of one size, and by those that shrink.
        """
        found = []
        for shrink_to in (1.0, _SHRINK_TO):
            objective = EvadeSmoothing(
                smoothing.network,
                sigma=smoothing.sigma,
                clip_ids=clip_ids,
                seed=self.seed,
                draws=self.draws,
                labels=smoothing.labels,
            )
            name = f"attacking {smoothing.name} by {'steps of one size' if shrink_to == 1 else 'shrinking steps'}"
            found.append(
                self._climb(objective, waveforms, targets, name, on_progress, keep="last", shrink_to=shrink_to)
            )
        return tuple(found)

    def on_neural_rejection(
        self,
        aimed_at: Sequence[NeuralRejection],
        waveforms: Tensor,
        targets: Tensor,
        *,
        on_progress: OnProgress = silent,
    ) -> tuple[Tensor, ...]:
        """PGD at one rejection by several thresholds, the best iterate of each. Other arguments as above.

        Returns:
            One float32 [clips, samples] a threshold, on the CPU.
        """
        found = []
        for rejection in aimed_at:
            name = f"attacking {rejection.name} at {rejection.confidence_threshold:g}"
            objective = EvadeNeuralRejection(rejection)
            found.append(self._climb(objective, waveforms, targets, name, on_progress, keep="best"))
        return tuple(found)

    def _climb(
        self,
        objective: Objective,
        waveforms: Tensor,
        targets: Tensor,
        name: str,
        on_progress: OnProgress,
        *,
        keep: Literal["best", "last"],
        shrink_to: float = 1.0,
    ) -> Tensor:
        device = next(objective.network.parameters()).device
        plain = self.eps * max(1 / 5, 4 / self.steps)  # few steps reach the border, too
        found = []
        for rows in torch.split(torch.arange(len(waveforms)), _BATCH):
            attacked = pgd(
                objective,
                waveforms[rows].to(device),
                targets[rows].to(device),
                eps=self.eps,
                steps=self.steps,
                step_size=max(plain, self.eps) if shrink_to < 1 else plain,
                shrink_to=shrink_to,
                keep=keep,
                stop_when_broken=False,
                rows=rows.to(device),
                batch=_BATCH,
            )
            found.append(attacked.waveforms.cpu())
            on_progress(Stage(name, int(rows[-1]) + 1, len(waveforms)))
        return torch.cat(found)
