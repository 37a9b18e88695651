"""Batched changes to training waveforms: speed, shift, gain, background noise and the defense's own Gaussian noise."""

from __future__ import annotations

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn


class Augmentation(BaseModel):
    """How far a training clip may be changed."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    speed: float = Field(default=0.15, ge=0, lt=1)
    """Tempo and pitch change together by a factor in [1 - speed, 1 + speed]."""
    shift_seconds: float = Field(default=0.1, ge=0)
    """Moved by up to this, either way."""
    gain_db: float = Field(default=6.0, ge=0)
    """Louder or softer by up to this; never beyond full scale."""
    background_db: tuple[float, float] = (-60.0, -20.0)
    """Level of coloured background noise, relative to the clip's own, uniform in this range."""


def augment(waveforms: Tensor, how: Augmentation, *, sample_rate: int, generator: torch.Generator) -> Tensor:
    """Changed copies of clips, in [-1, 1].

    Args:
        waveforms: float32 [clips, samples].
        sample_rate: Hertz.
        generator: on the waveforms' device.
    """
    clips = len(waveforms)
    moved = _resample(
        waveforms,
        speed=1 + how.speed * _uniform(clips, waveforms, generator),
        shift=how.shift_seconds * sample_rate * _uniform(clips, waveforms, generator),
    )
    low, high = how.background_db
    level = (low + high) / 2 + (high - low) / 2 * _uniform(clips, waveforms, generator)[:, None]
    loudness = moved.square().mean(dim=1, keepdim=True).sqrt() * torch.pow(10.0, level / 20)
    moved = moved + loudness * _coloured_noise(waveforms, generator)
    peak = moved.abs().amax(dim=1, keepdim=True).clamp_min(1e-4)
    gain = torch.pow(10.0, how.gain_db * _uniform(clips, waveforms, generator)[:, None] / 20)
    return moved * torch.minimum(gain, 1 / peak)


def add_gaussian(waveforms: Tensor, sigma: float, *, generator: torch.Generator) -> Tensor:
    """Clips with fresh Gaussian noise of standard deviation sigma, raw amplitude, never clipped."""
    if sigma == 0:
        return waveforms
    noise = torch.randn(waveforms.shape, generator=generator, device=waveforms.device, dtype=waveforms.dtype)
    return noise.mul_(sigma).add_(waveforms)


def _uniform(count: int, like: Tensor, generator: torch.Generator) -> Tensor:
    """[count], in [-1, 1)."""
    return 2 * torch.rand(count, generator=generator, device=like.device) - 1


def _resample(waveforms: Tensor, *, speed: Tensor, shift: Tensor) -> Tensor:
    """Play each clip faster around its middle, and later, by linear interpolation; silence where there is no clip.

    Args:
        waveforms: [clips, samples].
        speed: [clips] factor.
        shift: [clips] samples.
    """
    samples = waveforms.shape[1]
    time = torch.linspace(-1, 1, samples, device=waveforms.device)  # the clip's two ends
    position = speed[:, None] * (time - shift[:, None] * 2 / (samples - 1))
    grid = torch.stack((position, torch.zeros_like(position)), dim=2)[:, None]  # of images one sample high
    played = nn.functional.grid_sample(waveforms[:, None, None, :], grid, align_corners=True)
    return played[:, 0, 0, :]


def _coloured_noise(like: Tensor, generator: torch.Generator) -> Tensor:
    """Noise of unit power, in between white and a moving average of 9 samples, [clips, samples]."""
    clips, samples = like.shape
    white = torch.randn(clips, samples + 9, generator=generator, device=like.device, dtype=like.dtype)
    total = white.cumsum(dim=1)
    smooth = (total[:, 9:] - total[:, :-9]) / 3
    mix = torch.rand(clips, 1, generator=generator, device=like.device)
    return white[:, :-9] * mix.sqrt() + smooth * (1 - mix).sqrt()
