"""Augmentation changes clips by what its settings say, as measured on the sound and not on its own variables."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from pydantic import ValidationError
from scipy import stats
from torch import Tensor

from training.augmentation import UNCHANGED, Augmentation, add_gaussian, augment, mix

RATE = 8_000


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def augmented(waveforms: Tensor, seed: int = 0, **how: object) -> NDArray[np.float64]:
    out = augment(waveforms, UNCHANGED.model_copy(update=how), sample_rate=RATE, generator=generator(seed))
    return out.double().numpy()


def sines(count: int, hertz: float = 500.0, samples: int = RATE, peak: float = 0.4) -> Tensor:
    phase = 2 * torch.pi * hertz * torch.arange(samples, dtype=torch.float64) / RATE
    return (peak * torch.sin(phase)).float().repeat(count, 1)


def level(waveforms: NDArray[np.float64]) -> NDArray[np.float64]:
    """Decibels of the root mean square of each clip."""
    return np.asarray(10 * np.log10(np.mean(waveforms**2, axis=1)))


def is_uniform(values: NDArray[np.float64], low: float, high: float) -> bool:
    return bool(stats.kstest((values - low) / (high - low), "uniform").pvalue > 1e-3)


def test_no_augmentation_changes_nothing() -> None:
    waveforms = torch.cat([sines(2), 0.3 * torch.randn(2, RATE, generator=generator())]).clamp(-1, 1)
    assert torch.equal(augment(waveforms, UNCHANGED, sample_rate=RATE, generator=generator()), waveforms)


def test_speed_multiplies_a_tones_frequency_by_a_uniform_factor() -> None:
    out = augmented(sines(200), speed=0.2)
    spectra = np.abs(np.fft.rfft(out * np.hanning(RATE), 1 << 16, axis=1))
    factors = spectra.argmax(axis=1) * RATE / (1 << 16) / 500
    assert 0.799 < factors.min() < factors.max() < 1.201
    assert is_uniform(factors, 0.8, 1.2)


def test_a_faster_clip_is_shorter_by_the_same_factor_and_stays_in_the_middle() -> None:
    burst = torch.zeros(50, RATE)
    burst[:, 3000:5000] = 0.5
    loud = augmented(burst, speed=0.2) > 0.25
    first, last = loud.argmax(axis=1), RATE - 1 - loud[:, ::-1].argmax(axis=1)
    lengths = last - first + 1
    assert lengths.min() < 1800 < 2300 < lengths.max()
    assert 2000 / 1.2 - 2 <= lengths.min() <= lengths.max() <= 2000 / 0.8 + 2
    np.testing.assert_allclose((first + last) / 2, (RATE - 1) / 2, atol=1)


def test_shift_moves_a_click_by_a_uniform_time_either_way() -> None:
    clicks = torch.zeros(300, RATE)
    clicks[:, 4000:4003] = torch.tensor([0.25, 0.5, 0.25])
    out = augmented(clicks, shift_seconds=0.1)
    moved = out @ np.arange(RATE) / out.sum(axis=1) - 4001  # centre of mass
    assert np.abs(moved).max() <= 0.1 * RATE + 0.1
    assert is_uniform(moved, -0.1 * RATE, 0.1 * RATE)
    np.testing.assert_allclose(out.sum(axis=1), 1, rtol=0.01)


def test_what_is_moved_in_is_silence() -> None:
    out = augmented(torch.full((50, RATE), 0.5), shift_seconds=0.25)
    silent = (np.abs(out) < 1e-6).sum(axis=1)
    assert silent.max() > 0.2 * RATE
    ends = np.minimum(np.abs(out[:, 0]), np.abs(out[:, -1]))
    assert (ends < 0.5).all()


def test_gain_changes_the_level_by_uniform_decibels() -> None:
    out = augmented(sines(300, peak=0.1), gain_db=6.0)
    assert is_uniform(level(out) - level(sines(1, peak=0.1).double().numpy()), -6, 6)


def test_gain_stops_at_full_scale() -> None:
    out = augmented(sines(100, peak=0.9), gain_db=12.0)
    peaks = np.abs(out).max(axis=1)
    assert peaks.max() == pytest.approx(1.0, abs=1e-6)
    assert (peaks > 0.999).mean() > 0.3  # most louder ones stop there


def test_background_noise_has_its_level_relative_to_the_clip() -> None:
    for peak in (0.4, 0.04):
        clips = sines(64, peak=peak)
        noise = augmented(clips, background_db=(-20.0, -20.0)) - augmented(clips)
        relative = level(noise) - level(clips.double().numpy())
        assert relative.mean() == pytest.approx(-20, abs=0.1)
        np.testing.assert_allclose(relative, -20, atol=1)


def test_background_levels_are_uniform_decibels() -> None:
    clips = sines(300)
    noise = augmented(clips, background_db=(-60.0, -20.0)) - augmented(clips)
    assert is_uniform(level(noise) - level(clips.double().numpy()), -60, -20)


def test_background_noise_goes_from_white_to_dull() -> None:
    clips = sines(100)
    noise = augmented(clips, background_db=(-20.0, -20.0)) - augmented(clips)
    power = np.abs(np.fft.rfft(noise, axis=1)) ** 2
    tilt = power[:, 2500:3500].mean(axis=1) / power[:, 50:400].mean(axis=1)
    assert tilt.min() < 0.1
    assert tilt.max() > 0.5


def test_rumble_is_in_half_of_the_clips_and_below_the_voice() -> None:
    clips = sines(200, peak=0.05)
    rumble = augmented(clips, rumble_db=(0.0, 0.0)) - augmented(clips)
    is_rumbling = np.abs(rumble).max(axis=1) > 0
    assert 70 <= is_rumbling.sum() <= 130
    power = np.abs(np.fft.rfft(rumble[is_rumbling] * np.hanning(RATE), axis=1)) ** 2  # a bin a Hertz
    share = power[:, :125].sum(axis=1) / power.sum(axis=1)
    assert np.median(share) == pytest.approx(0.903, abs=0.02)  # the main lobe of a moving average
    relative = level(rumble[is_rumbling]) - level(clips.double().numpy()[is_rumbling])
    assert np.median(relative) == pytest.approx(0, abs=0.7)


def test_every_clip_is_changed_by_itself() -> None:
    out = augment(sines(20), Augmentation(), sample_rate=RATE, generator=generator())
    assert len(torch.unique(out, dim=0)) == 20


@settings(max_examples=40)
@given(
    st.integers(0, 2**32),
    st.floats(0, 1),
    st.builds(
        Augmentation,
        speed=st.floats(0, 0.9),
        shift_seconds=st.floats(0, 2),
        gain_db=st.floats(0, 60),
        background_db=st.tuples(st.floats(-90, -20), st.floats(-20, 10)),
        rumble_db=st.tuples(st.floats(-90, -20), st.floats(-20, 30)),
    ),
)
def test_augmented_clips_stay_in_full_scale_and_keep_their_shape(seed: int, peak: float, how: Augmentation) -> None:
    waveforms = peak * (2 * torch.rand(3, 500, generator=generator(seed)) - 1)
    before = waveforms.clone()
    out = augment(waveforms, how, sample_rate=RATE, generator=generator(seed))
    assert out.shape == waveforms.shape
    assert out.dtype == torch.float32
    assert out.isfinite().all()
    assert float(out.abs().max()) <= 1 + 1e-6
    assert torch.equal(waveforms, before)


def test_silence_stays_silence() -> None:
    assert not augment(torch.zeros(4, 500), Augmentation(), sample_rate=RATE, generator=generator()).any()


def test_the_generator_decides_everything() -> None:
    waveforms = sines(4)
    torch.manual_seed(1)
    one = augment(waveforms, Augmentation(), sample_rate=RATE, generator=generator(5))
    torch.manual_seed(2)
    before = torch.get_rng_state()
    assert torch.equal(one, augment(waveforms, Augmentation(), sample_rate=RATE, generator=generator(5)))
    assert torch.equal(torch.get_rng_state(), before)
    assert not torch.equal(one, augment(waveforms, Augmentation(), sample_rate=RATE, generator=generator(6)))


@pytest.mark.parametrize("wrong", [{"speed": 1.0}, {"speed": -0.1}, {"shift_seconds": -1}, {"gain_db": -1}, {"hue": 1}])
def test_refuses_settings_that_mean_nothing(wrong: dict[str, float]) -> None:
    with pytest.raises(ValidationError):
        Augmentation(**wrong)


# Mixup


def test_a_mixed_clip_is_its_own_share_plus_another_clips_at_its_loudness() -> None:
    """Two tones that a spectrum tells apart: each clip's target is read off the sound."""
    clips = torch.cat([sines(40, hertz=500, peak=0.4), sines(40, hertz=1500, peak=0.05)])
    targets = torch.eye(2).repeat_interleave(40, dim=0)
    mixed, wanted = mix(clips, targets, 0.4, generator=generator())
    amplitude = np.abs(np.fft.rfft(mixed.double().numpy(), axis=1))[:, [500, 1500]] / (RATE / 2)
    own = np.where(targets.numpy() > 0, np.array([[0.4], [0.05]])[targets[:, 1].long(), 0][:, None], 0)
    assert own.shape == amplitude.shape
    loudness = own.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(amplitude / loudness, wanted, atol=1e-3)
    shares = 1 - wanted.numpy()[np.arange(80), targets[:, 1].long()]
    assert 0.3 < shares.max() <= 0.4
    assert (shares == 0).any()  # a partner of the same command leaves the label whole


def test_mixing_keeps_to_full_scale_and_to_probabilities() -> None:
    clips = 2 * torch.rand(30, 500, generator=generator()) - 1
    clips[0] = 0
    mixed, wanted = mix(clips, torch.eye(30), 0.5, generator=generator())
    assert mixed.isfinite().all()
    assert float(mixed.abs().max()) <= 1
    torch.testing.assert_close(wanted.sum(dim=1), torch.ones(30))
    assert (wanted.diagonal() >= 0.5).all()
    assert not mixed[0].any()  # another clip at the loudness of silence


def test_no_mixing_changes_nothing() -> None:
    clips, targets = sines(3), torch.eye(3)
    same = mix(clips, targets, 0.0, generator=generator())
    assert same[0] is clips
    assert same[1] is targets


# The defense's noise


def test_gaussian_noise_is_gaussian_and_never_clipped() -> None:
    noisy = add_gaussian(torch.ones(2, 20_000), 0.5, generator=generator())
    assert stats.kstest((noisy.numpy().ravel() - 1) / 0.5, "norm").pvalue > 1e-3
    assert float(noisy.max()) > 2


def test_gaussian_noise_is_fresh_at_every_call_and_leaves_the_clips_alone() -> None:
    clips, draw = torch.zeros(2, 100), generator()
    one, two = add_gaussian(clips, 0.1, generator=draw), add_gaussian(clips, 0.1, generator=draw)
    assert not torch.equal(one, two)
    assert not torch.equal(one[0], one[1])
    assert not clips.any()
    assert torch.equal(one, add_gaussian(clips, 0.1, generator=generator()))


def test_no_sigma_is_no_noise() -> None:
    clips = sines(2)
    assert torch.equal(add_gaussian(clips, 0.0, generator=generator()), clips)
