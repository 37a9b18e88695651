"""M5, the one-dimensional convolutional network that hears a waveform, and its Tricks variant.

Sources: W. Dai et al. 2017, "Very deep convolutional neural networks for raw waveforms", M5; the small one is that of
PyTorch's speech command tutorial; Tricks (no batch norm, SiLU) is Richards et al. 2023, section 4.2.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from itertools import pairwise
from typing import Literal

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn

KERNEL = 80  # samples, first convolution
POOL = 4
SILENT = 1e-5
"""Added to a standard deviation, so that a constant clip does not divide by zero."""

ArchitectureName = Literal["m5", "m5-small", "m5-tricks", "m5-small-tricks"]
ARCHITECTURES: tuple[ArchitectureName, ...] = ("m5", "m5-small", "m5-tricks", "m5-small-tricks")


class Architecture(BaseModel):
    """What an M5 is built from."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    labels: int = Field(ge=2)
    """Outputs of the last layer."""
    width: int = Field(default=128, ge=1)
    """Channels of the first two convolutions; the third has twice as many."""
    last_width: int = Field(default=512, ge=1)
    """Channels of the fourth convolution: the number of features."""
    stride: int = Field(default=4, ge=1)
    """Samples that the first convolution moves on at a time."""
    tricks: bool = False
    """M5-Tricks: no batch norm, and SiLU in the place of ReLU."""

    @property
    def channels(self) -> tuple[int, int, int, int]:
        return (self.width, self.width, 2 * self.width, self.last_width)


def architecture(name: ArchitectureName, labels: int) -> Architecture:
    """A named architecture for so many labels."""
    tricks = name.endswith("-tricks")
    if name.startswith("m5-small"):
        return Architecture(labels=labels, width=32, last_width=64, stride=16, tricks=tricks)
    return Architecture(labels=labels, tricks=tricks)


class Network(nn.Module, ABC):
    """Waveforms to penultimate features and logits: what every defense stands on."""

    config: Architecture

    @abstractmethod
    def features(self, waveforms: Tensor) -> Tensor:
        """Penultimate features, float32 [clips, features], of waveforms, float32 [clips, samples], raw amplitude."""

    @abstractmethod
    def forward(self, waveforms: Tensor) -> Tensor:
        """Logits, float32 [clips, labels], of waveforms, float32 [clips, samples]."""


class M5(Network):
    """Waveforms to logits.

    The first layer standardises each clip, so attacks and noise act on the raw amplitude before it.

    The first convolution is a linear map of overlapping frames, and the others are images one pixel high with the
    channels last: on a CPU that trains faster than one-dimensional convolutions, and gives the gradient of the input,
    which attacks climb, much faster. The values are the same.
    """

    def __init__(self, config: Architecture) -> None:
        super().__init__()
        self.config = config
        width = config.channels[0]
        self.frames = nn.Linear(KERNEL, width)
        blocks: list[nn.Module] = [*_after_convolution(width, tricks=config.tricks)]
        for inputs, outputs in pairwise(config.channels):
            blocks += [nn.Conv2d(inputs, outputs, (1, 3)), *_after_convolution(outputs, tricks=config.tricks)]
        self.blocks = nn.Sequential(*blocks)
        self.head = nn.Linear(config.last_width, config.labels)

    def features(self, waveforms: Tensor) -> Tensor:
        """See `Network.features`."""
        frames = standardise(waveforms).unfold(1, KERNEL, self.config.stride)  # [clips, time, KERNEL]
        first = self.frames(frames).transpose(1, 2).unsqueeze(2)  # [clips, channels, 1, time], channels last
        pooled: Tensor = self.blocks(first).mean(dim=(2, 3))
        return pooled

    def forward(self, waveforms: Tensor) -> Tensor:
        """See `Network.forward`."""
        logits: Tensor = self.head(self.features(waveforms))
        return logits


def _after_convolution(channels: int, *, tricks: bool) -> tuple[nn.Module, ...]:
    """What follows a convolution; ReLU after the pooling gives what it gives before it, on a quarter of the values."""
    pool = nn.MaxPool2d((1, POOL))
    return (nn.SiLU(), pool) if tricks else (nn.BatchNorm2d(channels), pool, nn.ReLU())


def standardise(waveforms: Tensor) -> Tensor:
    """Each clip, [clips, samples], to mean 0 and standard deviation 1."""
    centred = waveforms - waveforms.mean(dim=1, keepdim=True)
    return centred / (centred.square().mean(dim=1, keepdim=True).sqrt() + SILENT)


def parameters_of(network: nn.Module) -> int:
    """The number of trainable parameters."""
    return sum(p.numel() for p in network.parameters() if p.requires_grad)


def predict_logits(network: Network, waveforms: Tensor, *, batch: int = 256) -> Tensor:
    """Logits, float32 [clips, labels] on the CPU, in inference mode and batches; the network's mode is restored."""
    was_training = network.training
    device = next(network.parameters()).device
    network.eval()
    try:
        with torch.inference_mode():
            parts = [network(part.to(device)).cpu() for part in torch.split(waveforms, batch)]
    finally:
        network.train(was_training)
    return torch.cat(parts) if parts else torch.empty(0, network.config.labels)
