"""The sweeps against closed forms on a linear network, and the nested one's promises."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from itertools import pairwise

import pytest
import torch
from torch import Tensor
from toy_networks import Linear, noise_clips, tone_clips

from recognizer.attacks import EPS_GRID, Level, Misclassify, nested_sweep, paper_sweep, pgd, snr_db
from recognizer.network import M5

Sweep = Callable[..., Iterator[Level]]
GRID = (0.01, 0.03, 0.1)
BOTH = pytest.mark.parametrize("sweep", [nested_sweep, paper_sweep])


def linear() -> Linear:
    return Linear(torch.randn(40, generator=torch.Generator().manual_seed(1)))


def some_wrong(network: Linear) -> tuple[Tensor, Tensor]:
    """60 clips, of which the network has 6 wrong."""
    waveforms = noise_clips(60)
    labels = (network.gap(waveforms) > 0).long()
    labels[:6] = 1 - labels[:6]
    return waveforms, labels


@BOTH
def test_a_clip_is_broken_from_its_margin_on(sweep: Sweep) -> None:
    """On a linear network the margin over the L1 norm of the weights is the smallest eps that breaks a clip."""
    network = linear()
    waveforms, labels = some_wrong(network)
    margin = torch.where(labels == 1, 1, -1) * network.gap(waveforms) / network.weight.abs().sum()
    levels = list(sweep(Misclassify(network), waveforms, labels, eps_grid=GRID, steps=8, batch=16))
    assert [level.eps for level in levels] == [0, *GRID]
    for level in levels:
        assert torch.equal(level.adversarial.is_broken, margin < level.eps)
    shares = [float(level.adversarial.is_broken.float().mean()) for level in levels]
    assert shares == sorted(set(shares))  # each eps breaks some more


@BOTH
def test_the_grid_is_the_papers_and_the_clean_clips_come_first(sweep: Sweep) -> None:
    network = linear()
    waveforms, labels = some_wrong(network)
    first, *others = sweep(Misclassify(network), waveforms, labels, steps=1)
    assert torch.equal(first.adversarial.waveforms, waveforms)
    assert bool((first.snr_db == math.inf).all())
    assert tuple(level.eps for level in others) == EPS_GRID == (0.0001, 0.001, 0.01, 0.1, 0.2, 0.3)


def test_a_broken_clip_is_carried_over_unchanged_and_attacked_no_more(hears_tones: M5) -> None:
    waveforms, labels = tone_clips(12)
    labels[:2] = (labels[:2] + 1) % 3  # wrong before any attack
    levels = list(nested_sweep(Misclassify(hears_tones), waveforms, labels, eps_grid=(0.03, 0.1, 0.3), steps=6))
    assert levels[0].adversarial.is_broken.tolist() == [True] * 2 + [False] * 10
    for before, after in pairwise(levels):
        broken = before.adversarial.is_broken
        assert bool(after.adversarial.is_broken[broken].all())
        assert torch.equal(after.adversarial.waveforms[broken], before.adversarial.waveforms[broken])
        assert not after.adversarial.steps[broken].any()
        assert bool((after.adversarial.steps[~broken] > 0).all())
    for level in levels:
        assert torch.equal(level.adversarial.waveforms[:2], waveforms[:2])
        assert torch.equal(hears_tones(level.adversarial.waveforms).argmax(1) != labels, level.adversarial.is_broken)
        assert float((level.adversarial.waveforms - waveforms).abs().max()) <= level.eps + 1e-7


def test_survivors_lose_nothing_from_one_eps_to_the_next(hears_tones: M5) -> None:
    waveforms, labels = tone_clips(9)
    levels = list(nested_sweep(Misclassify(hears_tones), waveforms, labels, eps_grid=(0.01, 0.011, 0.012), steps=3))
    assert not levels[-1].adversarial.is_broken.any()
    losses = torch.stack([level.adversarial.loss for level in levels])
    assert bool((losses.diff(dim=0) >= -1e-4).all())


def test_the_papers_levels_are_independent_runs_with_the_last_iterate(hears_tones: M5) -> None:
    waveforms, labels = tone_clips(6)
    levels = list(paper_sweep(Misclassify(hears_tones), waveforms, labels, eps_grid=(0.03, 0.1), steps=4))
    for level in levels[1:]:
        alone = pgd(
            Misclassify(hears_tones), waveforms, labels, eps=level.eps, steps=4, keep="last", stop_when_broken=False
        )
        assert torch.equal(level.adversarial.waveforms, alone.waveforms)
        assert level.adversarial.steps.tolist() == [4] * 6


@BOTH
@pytest.mark.parametrize("grid", [(0.0, 0.1), (0.1, 0.1), (0.2, 0.1), (-0.1,), (0.1, math.nan)])
def test_refuses_a_grid_that_does_not_rise_from_above_zero(sweep: Sweep, grid: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match="must rise"):
        list(sweep(Misclassify(linear()), noise_clips(2), torch.zeros(2, dtype=torch.long), eps_grid=grid))


def test_snr_of_equal_perturbations_differs_by_the_loudness() -> None:
    clean = torch.stack((torch.full((50,), 0.5), torch.full((50,), 0.05)))
    expected = torch.tensor([20 * math.log10(0.5 / 0.01), 20 * math.log10(0.05 / 0.01)])
    torch.testing.assert_close(snr_db(clean, clean + 0.01), expected, rtol=0, atol=1e-4)


def test_snr_at_its_ends() -> None:
    silent, clip = torch.zeros(1, 9), torch.ones(1, 9)
    assert snr_db(clip, clip).tolist() == [math.inf]
    assert snr_db(silent, silent).tolist() == [math.inf]
    assert snr_db(silent, clip).tolist() == [-math.inf]
