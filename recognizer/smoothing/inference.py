"""A network for many noisy copies of one clip: the same logits for fewer operations, and its first layer by itself.

Batch norm is folded into the convolutions. What the first layer does to a sum is the sum of what it does to the parts,
and standardising, which comes before it, is a shift and a positive factor a copy, which max-pooling lets through: so
both are applied after the pooling, on a quarter of the values. With y = x + sigma n, frames f, the folded weights W and
W 1 the sum of their columns,

    pool(W (f(y) - mean) / s + b) = (pool(W f(x) + W f(sigma n)) - mean W 1) / s + b.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn
from torch.linalg import vector_norm
from torch.nn.functional import conv2d, max_pool2d

from recognizer.network import KERNEL, M5, POOL, SILENT


class FoldedM5:
    """A trained M5 with batch norm, frozen.

    The weights are those that the network had when this was made.
    """

    def __init__(self, network: M5, precision: torch.dtype = torch.float32) -> None:
        """
        Args:
            network: not a Tricks variant, whose SiLU lets no pooling through.
            precision: of the multiplications; float32 or bfloat16.

        Raises:
            ValueError: a Tricks variant.
        """
        if network.config.tricks:
            raise ValueError("M5-Tricks has no batch norm to fold, and no ReLU that max-pooling commutes with")
        self.stride = network.config.stride
        self.width = network.config.width
        self.precision = precision
        norms = [m for m in network.blocks if isinstance(m, nn.BatchNorm2d)]
        convolutions = [m for m in network.blocks if isinstance(m, nn.Conv2d)]
        with torch.no_grad():
            weight, self._bias = _fold(network.frames.weight, network.frames.bias, norms[0])
            self._weight_sums = weight.sum(dim=1)
            self._frames = weight.to(precision)
            folded = [_fold(c.weight, cast(Tensor, c.bias), n) for c, n in zip(convolutions, norms[1:], strict=True)]
            self._convolutions = [
                (w.to(precision).contiguous(memory_format=torch.channels_last), b.to(precision)) for w, b in folded
            ]
            self._head = network.head.weight.detach().clone(), network.head.bias.detach().clone()

    def __call__(self, waveforms: Tensor) -> Tensor:
        """Logits, float32 [copies, K], of waveforms, float32 [copies, samples]."""
        centred = waveforms - waveforms.mean(dim=1, keepdim=True)  # an offset would cost a low precision its digits
        deviation = vector_norm(centred, dim=1) / centred.shape[1] ** 0.5
        return self.logits(_pool(self.responses(centred)), torch.zeros_like(deviation), deviation)

    def frames_pooled(self, samples: int) -> int:
        """How many time steps the first pooling leaves."""
        return ((samples - KERNEL) // self.stride + 1) // POOL

    def responses(self, waveforms: Tensor) -> Tensor:
        """W f(y), [copies, time, channels], of waveforms, float32 [copies, samples]; whole pools only."""
        time = POOL * self.frames_pooled(waveforms.shape[1])
        return waveforms.to(self.precision).unfold(1, KERNEL, self.stride)[:, :time] @ self._frames.T

    def logits(self, pooled: Tensor, mean: Tensor, deviation: Tensor) -> Tensor:
        """The rest of the network.

        Args:
            pooled: [copies, time, channels], the largest responses of each pool.
            mean, deviation: float32 [copies], of the copies' samples.

        Returns:
            float32 [copies, K].
        """
        scale = 1 / (deviation + SILENT)
        shift = torch.addcmul(self._bias, (mean * scale)[:, None], self._weight_sums, value=-1)
        first = torch.addcmul(shift[:, None], pooled, scale[:, None, None])
        image = first.relu_().to(self.precision).transpose(1, 2).unsqueeze(2)  # one pixel high, channels last
        for weight, bias in self._convolutions:
            image = max_pool2d(conv2d(image, weight, bias), (1, POOL)).relu_()
        weight, bias = self._head
        return image.float().mean(dim=(2, 3)) @ weight.T + bias


def _pool(responses: Tensor) -> Tensor:
    """The largest of each pool, [copies, time / 4, channels]."""
    copies, time, channels = responses.shape
    return responses.reshape(copies, time // POOL, POOL, channels).amax(dim=2)


def _fold(weight: Tensor, bias: Tensor, norm: nn.BatchNorm2d) -> tuple[Tensor, Tensor]:
    """Weight and bias of a linear map that is followed by a batch norm in evaluation mode."""
    mean, variance = cast(Tensor, norm.running_mean), cast(Tensor, norm.running_var)
    factor = norm.weight / (variance + norm.eps).sqrt()
    scaled = weight * factor.view(-1, *[1] * (weight.dim() - 1))
    return scaled.detach(), (factor * (bias - mean) + norm.bias).detach()
