"""Attacks without gradients: what they may use, what they keep to, and where they succeed though gradients are gone."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import pytest
import torch
from torch import Tensor, nn
from toy_networks import Linear, Quantised, noise_clips, tone_clips

from recognizer.attacks import Adversarial, Aim, Misclassify, pgd, random_noise_attack, rays_attack, square_attack
from recognizer.network import M5

QUERIES = 150
ATTACKS = {
    "square": partial(square_attack, queries=QUERIES),
    "rays": partial(rays_attack, queries=QUERIES),
    "noise": partial(random_noise_attack, draws=QUERIES - 1),
}
EACH = pytest.mark.parametrize("attack", ATTACKS.values(), ids=ATTACKS.keys())
SEARCHES = pytest.mark.parametrize("attack", [ATTACKS["square"], ATTACKS["rays"]], ids=["square", "rays"])
Attack = Callable[..., Adversarial]


class Watched:
    """An objective that remembers what it was asked, and gives no gradient."""

    def __init__(self, network: nn.Module, *, tells_loss: bool = True) -> None:
        self.network, self.tells_loss = network, tells_loss
        self.asked: list[Tensor] = []

    def __call__(self, waveforms: Tensor, labels: Tensor, rows: Tensor) -> Aim:
        assert not torch.is_grad_enabled()
        assert not self.network.training
        self.asked.append(rows)
        loss, is_broken = Misclassify(self.network)(waveforms, labels, rows)
        return Aim(loss if self.tells_loss else torch.zeros_like(loss), is_broken)

    def scores(self, waveforms: Tensor, rows: Tensor) -> Tensor:
        raise NotImplementedError


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@EACH
@pytest.mark.parametrize("eps", [0.0, 0.01, 0.3])
def test_stays_in_the_ball_and_in_the_range_and_says_what_is_true(attack: Attack, eps: float, hears_tones: M5) -> None:
    waveforms, labels = tone_clips(6)
    waveforms = (2.5 * waveforms).clamp(-1, 1)
    found = attack(Misclassify(hears_tones), waveforms, labels, eps=eps, generator=generator(), batch=4)
    assert (found.waveforms.shape, found.waveforms.dtype) == (waveforms.shape, torch.float32)
    assert float((found.waveforms - waveforms).abs().max()) <= eps + 1e-7
    assert float(found.waveforms.abs().max()) <= 1
    assert torch.equal(hears_tones(found.waveforms).argmax(dim=1) != labels, found.is_broken)


@EACH
def test_counts_its_queries_and_asks_with_the_clips_own_rows(attack: Attack, hears_tones: M5) -> None:
    waveforms, labels = tone_clips(5)
    labels[0] = 1  # wrong already
    watched, rows = Watched(hears_tones), torch.tensor([30, 31, 32, 33, 34])
    found = attack(watched, waveforms, labels, eps=0.03, generator=generator(), rows=rows, batch=2)
    asked = torch.bincount(torch.cat(watched.asked), minlength=35)
    assert torch.equal(asked[30:], found.steps)
    assert not asked[:30].any()
    assert int(found.steps.max()) <= QUERIES + 8  # RayS ends a search for a radius
    assert bool(found.is_broken[0])
    assert int(found.steps[0]) < 10


@EACH
def test_the_same_generator_gives_the_same_examples(attack: Attack, hears_tones: M5) -> None:
    waveforms, labels = tone_clips(4)
    first, again, other = (
        attack(Misclassify(hears_tones), waveforms, labels, eps=0.05, generator=generator(seed)) for seed in (0, 0, 1)
    )
    assert torch.equal(first.waveforms, again.waveforms)
    assert not torch.equal(first.waveforms, other.waveforms)


@EACH
def test_the_network_is_as_it_was(attack: Attack, hears_tones: M5) -> None:
    network = nn.Sequential(hears_tones).train()
    statistics = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    attack(Misclassify(network), *tone_clips(3), eps=0.01, generator=generator())
    assert network.training
    assert all(torch.equal(tensor, statistics[name]) for name, tensor in network.state_dict().items())
    network.eval()


@SEARCHES
def test_breaks_more_than_noise_and_no_more_than_gradients_do(attack: Attack, hears_tones: M5) -> None:
    waveforms, labels = tone_clips(12)
    objective, eps = Misclassify(hears_tones), 0.1
    found = int(attack(objective, waveforms, labels, eps=eps, generator=generator()).is_broken.sum())
    noise = int(ATTACKS["noise"](objective, waveforms, labels, eps=eps, generator=generator()).is_broken.sum())
    assert noise < found <= int(pgd(objective, waveforms, labels, eps=eps).is_broken.sum())


@SEARCHES
def test_succeeds_where_gradients_are_zero(attack: Attack, hears_tones: M5) -> None:
    objective = Misclassify(Quantised(hears_tones, 256))
    waveforms, labels = tone_clips(6)
    white = pgd(objective, waveforms, labels, eps=0.3, steps=20)
    assert not white.is_broken.any()
    assert bool((white.zero_gradients == 1).all())
    assert attack(objective, waveforms, labels, eps=0.3, generator=generator()).is_broken.float().mean() > 0.5


def test_rays_needs_the_labels_only(hears_tones: M5) -> None:
    waveforms, labels = tone_clips(6)
    told, untold = (
        ATTACKS["rays"](Watched(hears_tones, tells_loss=tells), waveforms, labels, eps=0.1, generator=generator())
        for tells in (True, False)
    )
    assert torch.equal(told.waveforms, untold.waveforms)
    assert told.is_broken.any()


def test_rays_finds_the_radius_of_a_linear_network() -> None:
    """With weights of one sign held as long as its blocks, its first or opposite signs are the best direction."""
    network = Linear(torch.ones(8), bias=-1.0)
    waveforms, labels = torch.zeros(3, 8), torch.zeros(3, dtype=torch.long)
    smallest = 1 / 8
    for eps, breaks in ((0.9 * smallest, False), (1.1 * smallest, True)):
        found = rays_attack(Misclassify(network), waveforms, labels, eps=eps, generator=generator(), queries=60)
        assert found.is_broken.tolist() == [breaks] * 3


def test_square_attack_never_loses_what_it_had_and_comes_near_the_optimum_of_a_linear_network() -> None:
    network = Linear(torch.ones(16), bias=-20.0)
    waveforms, labels = noise_clips(4, 16), torch.zeros(4, dtype=torch.long)
    losses = [
        square_attack(Misclassify(network), waveforms, labels, eps=0.1, generator=generator(), queries=n).loss
        for n in (1, 2, 50, 400)
    ]
    torch.testing.assert_close(losses[0], network.gap(waveforms).detach())
    assert bool((losses[1] >= losses[0]).all())
    most = network.gap(waveforms).detach() + 0.1 * 16
    assert bool((losses[3] <= most + 1e-5).all())
    assert bool((losses[3] > most - 0.3).all())


def test_noise_is_uniform_in_the_ball() -> None:
    seen: list[Tensor] = []

    class Sees(Watched):
        def __call__(self, waveforms: Tensor, labels: Tensor, rows: Tensor) -> Aim:
            seen.append(waveforms.clone())
            return super().__call__(waveforms, labels, rows)

    network = Linear(torch.zeros(500), bias=-1.0)
    random_noise_attack(
        Sees(network), torch.zeros(2, 500), torch.zeros(2, dtype=torch.long), eps=0.2, generator=generator(), draws=40
    )
    assert not seen[0].any()
    noise = torch.cat(seen[1:])
    assert noise.shape == (80, 500)
    assert len(noise.unique(dim=0)) == 80
    quantiles = torch.quantile(noise, torch.tensor([0.0, 0.25, 0.5, 0.75, 1.0]))
    torch.testing.assert_close(quantiles, torch.tensor([-0.2, -0.1, 0.0, 0.1, 0.2]), rtol=0, atol=0.005)


@EACH
def test_refuses_clips_out_of_range(attack: Attack) -> None:
    objective, loud = Misclassify(Linear(torch.ones(4))), torch.full((1, 4), 1.5)
    with pytest.raises(ValueError, match=r"leave \[-1, 1\]"):
        attack(objective, loud, torch.tensor([0]), eps=0.1, generator=generator())
