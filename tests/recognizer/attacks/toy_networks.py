"""Networks whose robustness is known, and a little one that has learnt tones."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from recognizer.network import M5, Architecture

SAMPLES = 2000
TONES = (0.02, 0.06, 0.15)
"""Cycles a sample of each label's tone."""


class Linear(nn.Module):
    """Label 1 against 0 by the sign of w x + b: within an L-infinity ball the logit gap grows by eps |w|_1 at most."""

    def __init__(self, weight: Tensor, bias: float = 0.0, *, scale: float = 1.0) -> None:
        super().__init__()
        self.weight = nn.Parameter(weight)
        self.bias, self.scale = bias, scale

    def gap(self, waveforms: Tensor) -> Tensor:
        """Logit of label 1 less that of label 0, [clips]."""
        return self.scale * (waveforms @ self.weight + self.bias)

    def forward(self, waveforms: Tensor) -> Tensor:
        gap = self.gap(waveforms)
        return torch.stack((torch.zeros_like(gap), gap), dim=1)


class Constant(nn.Module):
    """The same label for everything."""

    def __init__(self, labels: int, favourite: int = 0) -> None:
        super().__init__()
        self.logits = nn.Parameter(nn.functional.one_hot(torch.tensor(favourite), labels).float())

    def forward(self, waveforms: Tensor) -> Tensor:
        return self.logits + 0.0 * waveforms.mean(dim=1, keepdim=True)


class Quantised(nn.Module):
    """Another network behind rounding to so many steps a unit, whose gradient is 0 almost everywhere."""

    def __init__(self, network: nn.Module, steps: int) -> None:
        super().__init__()
        self.network, self.steps = network, steps

    def forward(self, waveforms: Tensor) -> Tensor:
        logits: Tensor = self.network((waveforms * self.steps).round() / self.steps)
        return logits


def noise_clips(clips: int, samples: int = 40, seed: int = 0) -> Tensor:
    return (0.2 * torch.randn(clips, samples, generator=torch.Generator().manual_seed(seed))).clamp(-0.6, 0.6)


def tone_clips(clips: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Faded tones of random loudness and phase in a little noise, and their labels."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(clips) % len(TONES)
    loudness, phase = torch.rand(2, clips, 1, generator=generator)
    turns = torch.tensor(TONES)[labels][:, None] * torch.arange(SAMPLES) + phase
    tones = (0.1 + 0.4 * loudness) * torch.sin(2 * torch.pi * turns) * torch.hann_window(SAMPLES)
    return tones + 0.01 * torch.randn(tones.shape, generator=generator), labels


def tone_network() -> M5:
    """A little M5 that tells the tones apart; trained in seconds."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = M5(Architecture(labels=len(TONES), width=8, last_width=8, stride=4))
    optimiser = torch.optim.Adam(network.parameters(), lr=0.02)
    for step in range(60):
        waveforms, labels = tone_clips(24, seed=1000 + step)
        optimiser.zero_grad()
        nn.functional.cross_entropy(network(waveforms), labels).backward()
        optimiser.step()
    return network.eval()
