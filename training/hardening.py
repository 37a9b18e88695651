"""Training a network: clean, under noise, against attacks; the epoch with the lowest validation loss is kept."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from recognizer.attacks import Misclassify, pgd
from recognizer.defense import NetworkError
from recognizer.network import M5, architecture, predict_logits
from training.augmentation import add_gaussian, augment, mix
from training.checkpoint import Checkpoint, Stateful
from training.dataset import ClipSet
from training.recipe import Recipe

_EVALUATED = 256  # clips attacked together

FEWEST_STEPS_OF_A_CYCLE = 5
"""Optimiser steps of a whole training in which a learning rate can rise and fall; with fewer it is constant. The only
step of a cycle of one would be taken at the rate that the cycle ends with, and change nothing."""


class TrainingError(RuntimeError):
    """Training that can't go on; the message says at which step and what to change."""


@dataclass(frozen=True)
class Epoch:
    """One epoch's measurements; losses in nats."""

    number: int
    training_loss: float
    validation_loss: float
    """What is selected by: of clean clips (under noise, where the recipe says so), and in adversarial training the mean
    of theirs and of the attacked clips' loss."""
    validation_accuracy: float
    """On clips that are not attacked."""


@dataclass(frozen=True)
class Fitted:
    """A trained network, in evaluation mode, and how it came to be."""

    network: M5
    history: tuple[Epoch, ...]
    best: Epoch
    seconds: float = field(compare=False)
    """Of training and validation, over all goes where it was broken off; an epoch that was lost counts no more."""


def fit_network(
    training: ClipSet,
    validation: ClipSet,
    labels: int,
    recipe: Recipe,
    *,
    sample_rate: int,
    device: torch.device | str = "cpu",
    checkpoint: Path | None = None,
    on_epoch: Callable[[Epoch], None] | None = None,
) -> Fitted:
    """Train as the recipe says.

    Args:
        training, validation: clips; speakers should be disjoint.
        labels: how many.
        recipe: the settings; on one machine, device and number of threads the result depends on nothing else, to the
            last bit (but for kernels of a GPU that add up in no fixed order).
        sample_rate: Hertz.
        device: where it runs.
        checkpoint: file that holds the state after each epoch. Where it exists, training goes on from it, and ends with
            the very weights it would have had without the break, on the same machine, device and number of threads.
        on_epoch: told of each epoch, also of those that a checkpoint brought.

    Raises:
        TrainingError: a loss that is not finite, fewer than 2 training clips, or a label without any.
        CheckpointError: see `Checkpoint`.
    """
    _check_clips(training, labels)
    run = _Run(training, validation, labels, recipe, sample_rate, torch.device(device))
    store = Checkpoint(checkpoint, recipe, training, validation, device=run.device) if checkpoint is not None else None
    if store is not None and (state := store.load()) is not None:
        run.restore(state)
    for epoch in run.history:
        if on_epoch is not None:
            on_epoch(epoch)
    while len(run.history) < recipe.epochs:
        run.advance()
        if store is not None:
            store.save(run.state())
        if on_epoch is not None:
            on_epoch(run.history[-1])
    return run.fitted()


class _Run:
    """One training, epoch by epoch; all that the next epoch depends on is in `state`."""

    def __init__(
        self,
        training: ClipSet,
        validation: ClipSet,
        labels: int,
        recipe: Recipe,
        sample_rate: int,
        device: torch.device,
    ) -> None:
        self.training, self.validation, self.recipe = training, validation, recipe
        self.sample_rate, self.device = sample_rate, device
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(recipe.seed)
            self.network = M5(architecture(recipe.architecture, labels)).to(device)
        self.averaged = (
            AveragedModel(self.network, avg_fn=_moving_average(recipe.averaging), use_buffers=True)
            if recipe.averaging
            else None
        )
        self.generator = torch.Generator(device).manual_seed(recipe.seed)
        self.order = torch.Generator().manual_seed(recipe.seed)
        self.by_speaker = [torch.from_numpy(r) for r in training.manifest.table.groupby("speaker").indices.values()]
        most = recipe.clips_a_speaker
        heard = sum(len(rows) if most is None else min(most, len(rows)) for rows in self.by_speaker)
        self.batches = max(1, heard // recipe.batch)
        steps = self.batches * recipe.epochs
        self.optimiser = torch.optim.AdamW(
            self.network.parameters(), lr=recipe.learning_rate, weight_decay=recipe.weight_decay
        )
        self.schedule: torch.optim.lr_scheduler.LRScheduler = (
            torch.optim.lr_scheduler.OneCycleLR(self.optimiser, max_lr=recipe.learning_rate, total_steps=steps)
            if recipe.schedule == "one-cycle" and steps >= FEWEST_STEPS_OF_A_CYCLE
            else torch.optim.lr_scheduler.ConstantLR(self.optimiser, factor=1.0)
        )
        self.history: list[Epoch] = []
        self.best: tuple[Epoch, dict[str, Tensor]] | None = None
        self.seconds = 0.0

    def advance(self) -> None:
        """One epoch."""
        started = time.perf_counter()
        number = len(self.history) + 1
        self.network.train()
        total = torch.zeros((), device=self.device)
        heard = _epoch_order(self.by_speaker, self.recipe.clips_a_speaker, self.order)
        for part in torch.tensor_split(heard, self.batches):
            waveforms, targets = self.training.waveforms[part], self.training.targets[part]
            loss = self._loss(waveforms.to(self.device), targets.to(self.device))
            self.optimiser.zero_grad()
            torch.autograd.backward(loss)
            self.optimiser.step()
            self.schedule.step()
            if self.averaged is not None:
                self.averaged.update_parameters(self.network)
            total += loss.detach() * len(part)
        training_loss = float(total) / len(heard)
        validation_loss, accuracy = self._validate() if math.isfinite(training_loss) else (math.nan, 0.0)
        if not math.isfinite(validation_loss):
            which = "loss" if not math.isfinite(training_loss) else "validation loss"
            raise TrainingError(f"the {which} is no longer finite in epoch {number}; take a smaller learning rate")
        epoch = Epoch(number, training_loss, validation_loss, accuracy)
        self.history.append(epoch)
        if self.best is None or epoch.validation_loss < self.best[0].validation_loss:
            self.best = (epoch, {name: value.clone() for name, value in self._kept().state_dict().items()})
        self.seconds += time.perf_counter() - started

    def state(self) -> dict[str, Any]:
        """All of it, for a checkpoint."""
        assert self.best is not None
        return {
            "parts": {name: part.state_dict() for name, part in self._parts().items()},
            "generator": self.generator.get_state(),
            "order": self.order.get_state(),
            "history": [asdict(epoch) for epoch in self.history],
            "best": (asdict(self.best[0]), self.best[1]),
            "seconds": self.seconds,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Be as `state` says."""
        for name, part in self._parts().items():
            part.load_state_dict(state["parts"][name])
        self.generator.set_state(state["generator"])
        self.order.set_state(state["order"])
        self.history = [Epoch(**epoch) for epoch in state["history"]]
        best, weights = state["best"]
        self.best = (Epoch(**best), weights)
        self.seconds = state["seconds"]

    def fitted(self) -> Fitted:
        """The best epoch's network."""
        assert self.best is not None
        self.network.load_state_dict(self.best[1])
        return Fitted(self.network.eval(), tuple(self.history), self.best[0], self.seconds)

    def _loss(self, waveforms: Tensor, targets: Tensor) -> Tensor:
        recipe, generator = self.recipe, self.generator
        clean = augment(waveforms, recipe.augmentation, sample_rate=self.sample_rate, generator=generator)
        wanted = nn.functional.one_hot(targets, self.network.config.labels).to(clean.dtype)
        clean, wanted = mix(clean, wanted, recipe.mixup, generator=generator)
        heard = add_gaussian(clean, recipe.noise_sigma, generator=generator)
        if recipe.adversarial_eps:
            heard = torch.cat((heard, self._attacked(self.network, clean, targets)))
            wanted = torch.cat((wanted, wanted))  # so that the mean weighs either half 0.5
        with torch.autocast(self.device.type, torch.bfloat16, enabled=recipe.precision == "bfloat16"):
            logits = self.network(heard)
        loss: Tensor = nn.functional.cross_entropy(logits.float(), wanted, label_smoothing=recipe.label_smoothing)
        return loss

    def _attacked(self, network: M5, waveforms: Tensor, targets: Tensor) -> Tensor:
        """The clips as PGD leaves them for a network that is to withstand it."""
        try:
            return pgd(
                Misclassify(network),
                waveforms,
                targets,
                eps=self.recipe.adversarial_eps,
                steps=self.recipe.adversarial_steps,
                stop_when_broken=False,
                batch=_EVALUATED,
            ).waveforms
        except NetworkError as error:
            raise TrainingError(
                f"the attacked clips' loss is no longer finite in epoch {len(self.history) + 1}; "
                "take a smaller learning rate"
            ) from error

    def _validate(self) -> tuple[float, float]:
        """The loss that selects, and the accuracy on clips that are not attacked."""
        recipe, network = self.recipe, self._kept()
        sigma = recipe.noise_sigma if recipe.select_under_noise else 0.0
        loss, accuracy = evaluate(network, self.validation, noise_sigma=sigma, seed=recipe.seed)
        if recipe.adversarial_eps:
            waveforms, targets = self.validation.waveforms.to(self.device), self.validation.targets.to(self.device)
            attacked = self._attacked(network.eval(), waveforms, targets)
            loss = (loss + _loss_and_accuracy(network, attacked, targets)[0]) / 2
        return loss, accuracy

    def _kept(self) -> M5:
        """The network that is validated and kept: the averaged one where there is one."""
        return self.network if self.averaged is None else cast(M5, self.averaged.module)

    def _parts(self) -> dict[str, Stateful]:
        parts: dict[str, Stateful] = {
            "network": self.network,
            "optimiser": self.optimiser,
            "schedule": self.schedule,
        }
        return parts if self.averaged is None else parts | {"averaged": self.averaged}


def _moving_average(most: float) -> Callable[[Tensor, Tensor, Tensor | int], Tensor]:
    """Exponential moving average of decay min(most, (1 + n) / (10 + n)) at the n-th step after the first.

    The decay grows because the first weights are the worst, and a short training would remember little else.
    """

    def average(averaged: Tensor, current: Tensor, steps: Tensor | int) -> Tensor:
        decay = min(most, (1 + float(steps)) / (10 + float(steps)))
        return decay * averaged + (1 - decay) * current

    return average


def evaluate(network: M5, clips: ClipSet, *, noise_sigma: float = 0.0, seed: int = 0) -> tuple[float, float]:
    """Mean cross-entropy in nats and accuracy, under one fixed draw of noise a clip."""
    device = next(network.parameters()).device
    generator = torch.Generator(device).manual_seed(seed)
    waveforms = add_gaussian(clips.waveforms.to(device), noise_sigma, generator=generator)
    return _loss_and_accuracy(network, waveforms, clips.targets.to(device))


def _loss_and_accuracy(network: M5, waveforms: Tensor, targets: Tensor) -> tuple[float, float]:
    logits = predict_logits(network, waveforms)
    targets = targets.cpu()
    loss = nn.functional.cross_entropy(logits, targets)
    return float(loss), float((logits.argmax(dim=1) == targets).double().mean())


def _check_clips(training: ClipSet, labels: int) -> None:
    if len(training) < 2:
        raise TrainingError(f"{len(training)} training clips are too few; at least 2 are needed")
    silent = sorted(set(range(labels)) - set(training.targets.tolist()))
    if silent:
        raise TrainingError(
            f"the labels number {', '.join(map(str, silent))} have no training clip; every label needs some"
        )


def _epoch_order(by_speaker: Sequence[Tensor], most: int | None, generator: torch.Generator) -> Tensor:
    """The clips of one epoch, int64 [clips], shuffled; at most `most` of each speaker's."""
    chosen = [rows[torch.randperm(len(rows), generator=generator)[:most]] for rows in by_speaker]
    together = torch.cat(chosen)
    return together[torch.randperm(len(together), generator=generator)]
