"""Randomized smoothing as its authors write it, over M5 as PyTorch's tutorial does: what our engine is timed by."""

from __future__ import annotations

from collections import Counter

import torch
from scipy.stats import binomtest
from torch import Tensor, nn

from recognizer.network import M5, standardise

ABSTAIN = -1


def cohen_predict(
    network: nn.Module, x: Tensor, *, sigma: float, draws: int, alpha: float, batch: int = 100
) -> tuple[int, int]:
    """Cohen et al. 2019, Predict, as `core.py` of locuslab/smoothing writes it: batches of noisy copies, counted in a
    loop.

    Args:
        x: float32 [samples].

    Returns:
        The label or ABSTAIN, and the leader.
    """
    counts: Counter[int] = Counter()
    with torch.no_grad():
        left = draws
        while left > 0:
            size = min(batch, left)
            left -= size
            copies = x.repeat((size, 1))
            predictions = network(copies + sigma * torch.randn_like(copies)).argmax(1)
            for label in predictions.tolist():
                counts[label] += 1
    (leader, n_a), (_, n_b) = [*counts.most_common(2), (ABSTAIN, 0)][:2]
    p = binomtest(n_a, n_a + n_b, 0.5).pvalue
    return (ABSTAIN if p > alpha else leader), leader


def published(network: M5) -> nn.Module:
    """The same weights in the layers and the order of the published networks, but for the standardisation in front."""
    layers: list[nn.Module] = []
    frames = network.frames
    first = nn.Conv1d(1, frames.out_features, frames.in_features, stride=network.config.stride)
    first.load_state_dict({"weight": frames.weight.unsqueeze(1), "bias": frames.bias})
    layers.append(first)
    for module in network.blocks:
        if isinstance(module, nn.Conv2d):
            layers.append(nn.Conv1d(module.in_channels, module.out_channels, 3))
            layers[-1].load_state_dict({"weight": module.weight.squeeze(2), "bias": module.bias})
        elif isinstance(module, nn.BatchNorm2d):
            layers.append(nn.BatchNorm1d(module.num_features))
            layers[-1].load_state_dict(module.state_dict())
        elif isinstance(module, nn.MaxPool2d):
            layers += [nn.MaxPool1d(4)] if network.config.tricks else [nn.ReLU(), nn.MaxPool1d(4)]
        elif isinstance(module, nn.SiLU):
            layers.append(nn.SiLU())
    return nn.Sequential(_Standardise(), *layers, nn.AdaptiveAvgPool1d(1), nn.Flatten(), network.head).eval()


class _Standardise(nn.Module):
    def forward(self, waveforms: Tensor) -> Tensor:
        return standardise(waveforms).unsqueeze(1)
