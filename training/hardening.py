"""Training a network, clean or under noise augmentation, with selection by the lowest validation loss."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn

from recognizer.network import M5, ArchitectureName, architecture
from training.augmentation import Augmentation, add_gaussian, augment
from training.dataset import ClipSet


class Recipe(BaseModel):
    """How a network is trained."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    architecture: ArchitectureName = "m5-small"
    epochs: int = Field(default=24, ge=1)
    batch: int = Field(default=64, ge=2)
    learning_rate: float = Field(default=0.008, gt=0)
    """Peak of a one-cycle schedule."""
    clips_a_speaker: int | None = Field(default=None, ge=1)
    """At most so many clips of each speaker an epoch, drawn anew, so that talkative voices do not rule; None = all."""
    weight_decay: float = Field(default=0.01, ge=0)
    label_smoothing: float = Field(default=0.05, ge=0, lt=1)
    augmentation: Augmentation = Augmentation()
    noise_sigma: float = Field(default=0.0, ge=0)
    """Noise augmentation: standard deviation in raw amplitude, on every training and validation clip."""
    seed: int = 0


class TrainingError(RuntimeError):
    """Training that can't go on; the message says at which step and what to change."""


@dataclass(frozen=True)
class Epoch:
    """One epoch's measurements; losses in nats."""

    number: int
    training_loss: float
    validation_loss: float
    validation_accuracy: float


@dataclass(frozen=True)
class Fitted:
    """A trained network, in evaluation mode, and how it came to be."""

    network: M5
    history: tuple[Epoch, ...]
    best: Epoch


def fit_network(
    training: ClipSet,
    validation: ClipSet,
    labels: int,
    recipe: Recipe,
    *,
    sample_rate: int,
    device: torch.device | str = "cpu",
    on_epoch: Callable[[Epoch], None] | None = None,
) -> Fitted:
    """Train by AdamW on a one-cycle schedule; the epoch with the lowest validation loss is kept.

    Args:
        training, validation: clips; speakers should be disjoint.
        labels: how many.
        recipe: the settings; the result depends on nothing else on one machine.
        sample_rate: Hertz.
        device: where it runs.
        on_epoch: told of each epoch.

    Raises:
        TrainingError: a loss that is not finite, or fewer training clips than a batch needs.
    """
    where = torch.device(device)
    if len(training) < 2:
        raise TrainingError(f"{len(training)} training clips are too few; at least 2 are needed")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(recipe.seed)
        network = M5(architecture(recipe.architecture, labels)).to(where)
    generator = torch.Generator(where).manual_seed(recipe.seed)
    order = torch.Generator().manual_seed(recipe.seed)
    by_speaker = [torch.from_numpy(rows) for rows in training.manifest.table.groupby("speaker").indices.values()]
    batches = max(1, len(_epoch_order(by_speaker, recipe.clips_a_speaker, order)) // recipe.batch)
    optimiser = torch.optim.AdamW(network.parameters(), lr=recipe.learning_rate, weight_decay=recipe.weight_decay)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, max_lr=recipe.learning_rate, total_steps=batches * recipe.epochs
    )
    criterion = nn.CrossEntropyLoss(label_smoothing=recipe.label_smoothing)
    history: list[Epoch] = []
    best: tuple[Epoch, dict[str, Tensor]] | None = None
    for number in range(1, recipe.epochs + 1):
        network.train()
        total = 0.0
        heard = _epoch_order(by_speaker, recipe.clips_a_speaker, order)
        for part in torch.tensor_split(heard, batches):
            waveforms = training.waveforms[part].to(where)
            waveforms = augment(waveforms, recipe.augmentation, sample_rate=sample_rate, generator=generator)
            waveforms = add_gaussian(waveforms, recipe.noise_sigma, generator=generator)
            loss = criterion(network(waveforms), training.targets[part].to(where))
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
            total += float(loss.detach()) * len(part)
            if not math.isfinite(total):
                raise TrainingError(f"the loss is no longer finite in epoch {number}; take a smaller learning rate")
        loss_, accuracy = evaluate(network, validation, noise_sigma=recipe.noise_sigma, seed=recipe.seed)
        if not math.isfinite(loss_):
            raise TrainingError(
                f"the validation loss is no longer finite in epoch {number}; take a smaller learning rate"
            )
        epoch = Epoch(number, total / len(heard), loss_, accuracy)
        history.append(epoch)
        if best is None or epoch.validation_loss < best[0].validation_loss:
            best = (epoch, copy.deepcopy(network.state_dict()))
        if on_epoch is not None:
            on_epoch(epoch)
    assert best is not None
    network.load_state_dict(best[1])
    return Fitted(network.eval(), tuple(history), best[0])


def evaluate(network: M5, clips: ClipSet, *, noise_sigma: float = 0.0, seed: int = 0) -> tuple[float, float]:
    """Mean cross-entropy in nats and accuracy, under one fixed draw of noise a clip."""
    where = next(network.parameters()).device
    generator = torch.Generator(where).manual_seed(seed)
    network.eval()
    loss = correct = 0.0
    with torch.inference_mode():
        for waveforms, targets in zip(torch.split(clips.waveforms, 256), torch.split(clips.targets, 256), strict=True):
            noisy = add_gaussian(waveforms.to(where), noise_sigma, generator=generator)
            logits = network(noisy)
            loss += float(nn.functional.cross_entropy(logits, targets.to(where), reduction="sum"))
            correct += float((logits.argmax(dim=1) == targets.to(where)).sum())
    return loss / len(clips), correct / len(clips)


def _epoch_order(by_speaker: Sequence[Tensor], most: int | None, generator: torch.Generator) -> Tensor:
    """The clips of one epoch, int64 [clips], shuffled; at most `most` of each speaker's."""
    chosen = [rows[torch.randperm(len(rows), generator=generator)[:most]] for rows in by_speaker]
    together = torch.cat(chosen)
    return together[torch.randperm(len(together), generator=generator)]
