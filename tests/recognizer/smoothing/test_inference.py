"""The folded network and its parts against the network itself."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from recognizer.network import M5, Architecture, architecture
from recognizer.smoothing.inference import FoldedM5


def trained_like(config: Architecture, seed: int = 0) -> M5:
    """Untrained, but with the statistics and factors, some negative, that batch norms have after training."""
    torch.manual_seed(seed)
    network = M5(config).eval()
    for norm in network.modules():
        if isinstance(norm, nn.BatchNorm2d):
            nn.init.normal_(norm.running_mean, 0, 0.5)
            nn.init.uniform_(norm.running_var, 0.3, 3)
            nn.init.normal_(norm.weight, 0.5, 1)
            nn.init.normal_(norm.bias)
    return network


@pytest.mark.parametrize(
    "config",
    [
        architecture("m5-small", 10),
        architecture("m5", 7),
        Architecture(labels=3, width=4, last_width=6, stride=1),
        Architecture(labels=5, width=64, last_width=8, stride=7),
    ],
)
@pytest.mark.parametrize("samples", [8000, 8003, 16000])
def test_a_folded_network_says_what_the_network_says(config: Architecture, samples: int) -> None:
    network = trained_like(config)
    waveforms = 0.1 * torch.randn(5, samples) + torch.tensor([0.0, 0.5, -1.0, 0.01, 0.0])[:, None]
    with torch.inference_mode():
        torch.testing.assert_close(FoldedM5(network)(waveforms), network(waveforms), rtol=1e-4, atol=1e-4)


def test_in_bfloat16_it_says_nearly_the_same() -> None:
    network = trained_like(architecture("m5-small", 10))
    waveforms = 0.1 * torch.randn(64, 8000) + torch.linspace(-0.9, 0.9, 64)[:, None]
    with torch.inference_mode():
        exact, lower = network(waveforms), FoldedM5(network, torch.bfloat16)(waveforms)
    assert lower.dtype == torch.float32
    assert (exact - lower).abs().max() < 0.1 * exact.std()


def test_silence_and_a_constant_have_finite_logits() -> None:
    network = trained_like(architecture("m5-small", 10))
    waveforms = torch.stack((torch.zeros(8000), torch.full((8000,), 0.7)))
    with torch.inference_mode():
        logits = FoldedM5(network)(waveforms)
    assert logits.isfinite().all()


def test_tricks_can_not_be_folded() -> None:
    with pytest.raises(ValueError, match="Tricks"):
        FoldedM5(M5(architecture("m5-small-tricks", 3)))
