"""Batched changes to training waveforms: speed, shift, gain, background noise and the defense's own Gaussian noise."""

from __future__ import annotations

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn

_QUIET = 1e-4
"""Root mean square below which a clip counts as silence."""


_RUMBLE_SECONDS = 0.008
"""Averaging over so long leaves what lies below some 1 / 0.016 = 60 Hz, and nothing at 125 Hz."""


class Augmentation(BaseModel):
    """How far a training clip may be changed."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    speed: float = Field(default=0.2, ge=0, lt=1)
    """Tempo and pitch change together by a factor in [1 - speed, 1 + speed]."""
    shift_seconds: float = Field(default=0.1, ge=0)
    """Moved by up to this, either way."""
    gain_db: float = Field(default=6.0, ge=0)
    """Louder or softer by up to this; never beyond full scale."""
    background_db: tuple[float, float] | None = (-50.0, -10.0)
    """Level of coloured background noise, relative to the clip's own, uniform in this range; None = no noise."""
    rumble_db: tuple[float, float] | None = (-30.0, 6.0)
    """Level of noise below 100 Hz (handling, wind, engines), likewise, in half of the clips; None = none.

    Recordings of speech differ most in this band, and no word lies in it; a network that standardises each clip hears
    all the rest the softer for it.
    """


UNCHANGED = Augmentation(speed=0, shift_seconds=0, gain_db=0, background_db=None, rumble_db=None)
"""Leaves clips as they are."""


def augment(waveforms: Tensor, how: Augmentation, *, sample_rate: int, generator: torch.Generator) -> Tensor:
    """Changed copies of clips, in [-1, 1].

    Args:
        waveforms: float32 [clips, samples].
        sample_rate: Hertz.
        generator: on the waveforms' device.
    """
    clips = len(waveforms)
    if how.speed or how.shift_seconds:
        waveforms = _resample(
            waveforms,
            speed=1 + how.speed * _uniform(clips, waveforms, generator),
            shift=how.shift_seconds * sample_rate * _uniform(clips, waveforms, generator),
        )
    loudness = _loudness(waveforms)
    if how.background_db is not None:
        share = torch.rand(clips, 1, generator=generator, device=waveforms.device)
        noise = share.sqrt() * _noise(waveforms, 1, generator) + (1 - share).sqrt() * _noise(waveforms, 9, generator)
        waveforms = waveforms + loudness * _level(how.background_db, waveforms, generator) * noise
    if how.rumble_db is not None:
        is_rumbling = torch.rand(clips, 1, generator=generator, device=waveforms.device) < 0.5
        noise = _noise(waveforms, round(_RUMBLE_SECONDS * sample_rate), generator)
        waveforms = waveforms + loudness * _level(how.rumble_db, waveforms, generator) * noise * is_rumbling
    if how.gain_db:
        gain = torch.pow(10.0, how.gain_db * _uniform(clips, waveforms, generator)[:, None] / 20)
        waveforms = waveforms * gain
    return waveforms / waveforms.abs().amax(dim=1, keepdim=True).clamp_min(1)  # never beyond full scale


def mix(waveforms: Tensor, targets: Tensor, most: float, *, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Mixup: each clip with a share, uniform in [0, most], of another clip at its loudness, and their labels likewise.

    Args:
        waveforms: float32 [clips, samples], in [-1, 1].
        targets: float32 [clips, labels], shares of each label.
        most: in [0, 0.5], so that a clip stays the larger part of itself.

    Returns:
        Clips in [-1, 1] and their targets.

    Source: Zhang et al. 2018, "mixup: beyond empirical risk minimization"; of speech, not of spectra.
    """
    if most == 0:
        return waveforms, targets
    partner = torch.randperm(len(waveforms), generator=generator, device=waveforms.device)
    share = most * torch.rand(len(waveforms), 1, generator=generator, device=waveforms.device)
    loudness = _loudness(waveforms)
    other = waveforms[partner] * (loudness / loudness[partner].clamp_min(_QUIET))
    mixed = torch.lerp(waveforms, other, share)
    return mixed / mixed.abs().amax(dim=1, keepdim=True).clamp_min(1), torch.lerp(targets, targets[partner], share)


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


def _loudness(waveforms: Tensor) -> Tensor:
    """Root mean square, [clips, 1]."""
    return waveforms.square().mean(dim=1, keepdim=True).sqrt()


def _level(decibels: tuple[float, float], like: Tensor, generator: torch.Generator) -> Tensor:
    """Amplitude factors, [clips, 1], uniform in a range of decibels."""
    low, high = decibels
    return torch.pow(10.0, ((low + high) / 2 + (high - low) / 2 * _uniform(len(like), like, generator)[:, None]) / 20)


def _noise(like: Tensor, average: int, generator: torch.Generator) -> Tensor:
    """White noise averaged over so many samples, of unit power, [clips, samples].

    Each clip gets a stretch of one long noise, from a place of its own: a sixth of the cost of noise for each.
    """
    clips, samples = like.shape
    total = torch.randn(2 * samples + average, generator=generator, device=like.device, dtype=torch.float64).cumsum(0)
    long = (total[average:] - total[:-average]).to(like.dtype)
    start = torch.randint(samples, (clips,), generator=generator, device=like.device)
    return (long / long.std()).unfold(0, samples, 1)[start]
