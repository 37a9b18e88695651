"""Clips attacked once for every threshold of a defense: the attacker aims at no threshold, but past all of them.

An attack that stops once it passes one threshold ends just behind it, and every stricter threshold would look robust
for free. So nothing stops early. RS: the loss, the vote's log-odds, knows neither error_alpha nor N, and rises until it
rests. NR: one attack aims at each threshold, and each threshold is judged by the worst of what all of them found, so
none is attacked more weakly than by the attack that aims at it alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from recognizer.attacks import EvadeNeuralRejection, EvadeSmoothing, Objective, pgd
from recognizer.neural_rejection import NeuralRejection
from recognizer.progress import OnProgress, Stage, silent
from recognizer.smoothing import RandomizedSmoothing

_BATCH = 16  # clips
_SHRINK_TO = 0.02  # the last step over the first, where a loss is noisy


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
        """Expectation over transformation: PGD of shrinking steps through the noise, the last iterate.

        Args:
            waveforms: float32 [clips, samples].
            targets: int64 [clips], the true labels.
            clip_ids: [clips].

        Returns:
            One float32 [clips, samples] on the CPU.
        """
        objective = EvadeSmoothing(
            smoothing.network,
            sigma=smoothing.sigma,
            clip_ids=clip_ids,
            seed=self.seed,
            draws=self.draws,
            labels=smoothing.labels,
        )
        name = f"attacking {smoothing.name}"
        return (self._climb(objective, waveforms, targets, name, on_progress, is_noisy=True),)

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
            found.append(self._climb(objective, waveforms, targets, name, on_progress, is_noisy=False))
        return tuple(found)

    def _climb(
        self,
        objective: Objective,
        waveforms: Tensor,
        targets: Tensor,
        name: str,
        on_progress: OnProgress,
        *,
        is_noisy: bool,
    ) -> Tensor:
        device = next(objective.network.parameters()).device
        found = []
        for rows in torch.split(torch.arange(len(waveforms)), _BATCH):
            attacked = pgd(
                objective,
                waveforms[rows].to(device),
                targets[rows].to(device),
                eps=self.eps,
                steps=self.steps,
                step_size=self.eps * max(1 / 5, 4 / self.steps),  # few steps reach the border, too
                shrink_to=_SHRINK_TO if is_noisy else 1.0,
                keep="last" if is_noisy else "best",
                stop_when_broken=False,
                rows=rows.to(device),
                batch=_BATCH,
            )
            found.append(attacked.waveforms.cpu())
            on_progress(Stage(name, int(rows[-1]) + 1, len(waveforms)))
        return torch.cat(found)
