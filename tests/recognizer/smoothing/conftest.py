"""A small network whose mind noise changes, and clips for it."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from recognizer.network import M5, Architecture


@pytest.fixture(scope="module")
def network() -> M5:
    """Untrained, its logits centred, so that noise changes its mind."""
    torch.manual_seed(3)
    network = M5(Architecture(labels=3, width=4, last_width=6, stride=1)).eval()
    with torch.inference_mode():
        network.head.bias -= network(0.1 * torch.randn(200, 600)).mean(dim=0)
    return network


@pytest.fixture(scope="module")
def waveforms() -> Tensor:
    return 0.1 * torch.randn(6, 600, generator=torch.Generator().manual_seed(0))
