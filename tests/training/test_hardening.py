"""Training repeats itself, hears the noise it is told of, and keeps the epoch that was best on held-out clips."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from scipy import stats
from scipy.special import log_softmax
from tones import SAMPLES, fit, tones
from torch import Tensor
from torch.optim.optimizer import register_optimizer_step_post_hook

from recognizer.attacks import Misclassify, pgd
from recognizer.network import M5, Architecture, predict_logits
from training import hardening
from training.augmentation import UNCHANGED
from training.dataset import ClipSet
from training.hardening import Epoch, TrainingError, evaluate, fit_network
from training.recipe import Recipe, paper_recipe


class Recorder(M5):
    """A network that remembers what it heard; a list for all, since training makes its own."""

    heard: list[tuple[bool, Tensor]]

    def forward(self, waveforms: Tensor) -> Tensor:
        self.heard.append((self.training, waveforms.detach().clone()))
        return super().forward(waveforms)


@pytest.fixture
def heard(monkeypatch: pytest.MonkeyPatch) -> list[tuple[bool, Tensor]]:
    """(training, waveforms) of every forward pass."""
    Recorder.heard = []
    monkeypatch.setattr(hardening, "M5", Recorder)
    return Recorder.heard


def test_learns_two_tones() -> None:
    fitted = fit(tones(48), tones(16, 1), epochs=6)
    assert fitted.best.validation_accuracy == 1.0
    unheard = tones(40, 2)
    assert (predict_logits(fitted.network, unheard.waveforms).argmax(dim=1) == unheard.targets).float().mean() > 0.95
    assert not fitted.network.training


def test_the_same_seed_gives_the_same_weights_and_history() -> None:
    torch.manual_seed(1)
    one = fit(tones(16), tones(8, 1), noise_sigma=0.05)
    torch.manual_seed(2)
    before = torch.get_rng_state()
    two = fit(tones(16), tones(8, 1), noise_sigma=0.05)
    assert torch.equal(torch.get_rng_state(), before)
    assert one.history == two.history
    for key, tensor in one.network.state_dict().items():
        assert torch.equal(tensor, two.network.state_dict()[key])


@pytest.mark.parametrize(
    "other", [{"seed": 1}, {"noise_sigma": 0.05}, {"weight_decay": 0.9}, {"label_smoothing": 0.3}, {"mixup": 0.4}]
)
def test_every_setting_changes_the_weights(other: dict[str, float]) -> None:
    one, two = fit(tones(16), tones(8, 1), epochs=1), fit(tones(16), tones(8, 1), epochs=1, **other)
    assert not torch.equal(one.network.head.weight, two.network.head.weight)


def test_the_network_hears_fresh_gaussian_noise_of_the_recipes_sigma(heard: list[tuple[bool, Tensor]]) -> None:
    clips = tones(16)
    silent = ClipSet(torch.zeros_like(clips.waveforms), clips.targets, clips.manifest)
    fit(silent, silent, noise_sigma=0.07, epochs=2, augmentation=UNCHANGED)
    in_training = torch.cat([waveforms for training, waveforms in heard if training])
    assert in_training.shape == (32, SAMPLES)
    assert stats.kstest(in_training[::4].numpy().ravel() / 0.07, "norm").pvalue > 1e-3
    assert len(torch.unique(in_training, dim=0)) == 32  # none is heard twice
    one, two = (waveforms for training, waveforms in heard if not training)
    assert float(one.std()) == pytest.approx(0.07, rel=0.02)
    assert torch.equal(one, two)  # so that epochs are compared under the same noise


def test_without_noise_the_validation_clips_are_heard_as_they_are(heard: list[tuple[bool, Tensor]]) -> None:
    validation = tones(6, 1)
    fit(tones(16), validation, epochs=1)
    ((_, waveforms),) = [h for h in heard if not h[0]]
    assert torch.equal(waveforms, validation.waveforms)


def test_every_clip_is_heard_once_an_epoch_in_batches_of_at_least_the_size(heard: list[tuple[bool, Tensor]]) -> None:
    training = tones(21)
    fit(training, tones(4, 1), epochs=2, augmentation=UNCHANGED)
    batches = [waveforms for in_training, waveforms in heard if in_training]
    assert [len(b) for b in batches] == [11, 10, 11, 10]
    for epoch in (torch.cat(batches[:2]), torch.cat(batches[2:])):
        nearest = torch.cdist(epoch, training.waveforms).argmin(dim=1)
        assert sorted(nearest.tolist()) == list(range(21))


def test_no_speaker_is_heard_more_often_an_epoch_than_asked(heard: list[tuple[bool, Tensor]]) -> None:
    speakers = ["talkative"] * 20 + ["terse"] * 2 + ["medium"] * 6
    training = tones(28, speakers=speakers)
    fit(training, tones(4, 1), epochs=4, clips_a_speaker=5, batch=12, augmentation=UNCHANGED)
    batches = [torch.cdist(w, training.waveforms).argmin(dim=1).tolist() for in_training, w in heard if in_training]
    for epoch in batches:
        assert len(set(epoch)) == len(epoch)
        assert Counter(speakers[i] for i in epoch) == {"talkative": 5, "terse": 2, "medium": 5}
    assert len({i for epoch in batches for i in epoch if speakers[i] == "talkative"}) > 5  # drawn anew each time


def test_keeps_the_epoch_with_the_lowest_validation_loss() -> None:
    """The better it learns its tones, the worse it does on validation clips that are labelled the other way round."""
    validation = tones(12, 1, wrong=True)
    fitted = fit(tones(32), validation, epochs=5)
    losses = [epoch.validation_loss for epoch in fitted.history]
    assert [epoch.number for epoch in fitted.history] == [1, 2, 3, 4, 5]
    assert losses[-1] > min(losses)
    assert fitted.best == fitted.history[int(np.argmin(losses))]
    logits = predict_logits(fitted.network, validation.waveforms).double().numpy()
    kept = -log_softmax(logits, axis=1)[np.arange(12), validation.targets.numpy()].mean()
    assert kept == pytest.approx(min(losses), rel=1e-4)


def halves(heard: list[tuple[bool, Tensor]]) -> list[tuple[Tensor, Tensor]]:
    """What adversarial training gave the network to learn from: the clips, and the attacked ones, a pair a step."""
    return [(w[: len(w) // 2], w[len(w) // 2 :]) for training, w in heard if training]


def test_adversarial_training_hears_clips_and_their_attacked_copies_in_one_batch(
    heard: list[tuple[bool, Tensor]],
) -> None:
    fit(tones(16), tones(4, 1), adversarial_eps=0.02, adversarial_steps=3, epochs=1, augmentation=UNCHANGED)
    steps = halves(heard)
    assert [len(clean) for clean, _ in steps] == [8, 8]
    for clean, attacked in steps:
        assert torch.cdist(clean, tones(16).waveforms).amin(dim=1).max() == 0
        distance = (attacked - clean).abs()
        assert 0.011 < float(distance.max()) <= 0.02 + 1e-6  # three steps of eps / 5


def test_noise_is_on_the_clips_and_the_attack_on_copies_without(heard: list[tuple[bool, Tensor]]) -> None:
    recipe = {"noise_sigma": 0.3, "adversarial_eps": 0.01, "adversarial_steps": 1, "augmentation": UNCHANGED}
    fit(tones(16), tones(4, 1), epochs=1, **recipe)
    for noisy, attacked in halves(heard):
        nearest = torch.cdist(attacked, tones(16).waveforms).argmin(dim=1)
        clean = tones(16).waveforms[nearest]
        assert float((attacked - clean).abs().max()) <= 0.01 + 1e-6
        assert float((noisy - clean).std()) == pytest.approx(0.3, rel=0.02)


def test_adversarial_training_selects_by_the_mean_of_clean_and_attacked_loss() -> None:
    validation = tones(12, 1)
    fitted = fit(tones(16), validation, adversarial_eps=0.02, adversarial_steps=3, epochs=1)
    attacked = pgd(
        Misclassify(fitted.network), validation.waveforms, validation.targets, eps=0.02, steps=3, stop_when_broken=False
    ).waveforms
    rows = np.arange(12), validation.targets.numpy()
    clean, broken = (
        -log_softmax(predict_logits(fitted.network, w).double().numpy(), axis=1)[rows].mean()
        for w in (validation.waveforms, attacked)
    )
    assert fitted.best.validation_loss == pytest.approx((clean + broken) / 2, rel=1e-4)


def test_adversarial_training_makes_a_network_that_withstands_what_breaks_another() -> None:
    settings: dict[str, object] = {"epochs": 10, "augmentation": UNCHANGED}
    plain = fit(tones(48), tones(16, 1), **settings)
    hardened = fit(tones(48), tones(16, 1), adversarial_eps=0.1, adversarial_steps=5, **settings)
    unheard = tones(40, 2)

    def accuracy(network: M5) -> float:
        broken = pgd(Misclassify(network), unheard.waveforms, unheard.targets, eps=0.1, steps=20).is_broken
        return 1 - float(broken.double().mean())

    assert accuracy(hardened.network) > accuracy(plain.network) + 0.3


def test_the_papers_recipe_is_plain_adam(heard: list[tuple[bool, Tensor]]) -> None:
    """A loop as one would write it, on the very batches that the network heard."""
    training = tones(24)
    recipe = paper_recipe(architecture="m5-small", epochs=2, batch=8, noise_sigma=0.05, seed=3)
    fitted = fit_network(training, tones(8, 1), 2, recipe, sample_rate=16_000)
    torch.manual_seed(3)
    network = M5(fitted.network.config)
    adam = torch.optim.Adam(network.parameters(), lr=1e-3)
    for in_training, waveforms in list(heard):
        if not in_training:
            continue
        targets = training.targets[torch.cdist(waveforms, training.waveforms).argmin(dim=1)]
        loss = torch.nn.functional.cross_entropy(network(waveforms), targets)
        adam.zero_grad()
        loss.backward()
        adam.step()
    assert fitted.best.number == 2
    for name, tensor in network.state_dict().items():
        torch.testing.assert_close(fitted.network.state_dict()[name], tensor, rtol=1e-4, atol=1e-5)


def test_the_papers_validation_hears_no_noise(heard: list[tuple[bool, Tensor]]) -> None:
    validation = tones(6, 1)
    recipe = paper_recipe(architecture="m5-small", epochs=1, batch=8, noise_sigma=0.3)
    fit_network(tones(16), validation, 2, recipe, sample_rate=16_000)
    ((_, waveforms),) = [h for h in heard if not h[0]]
    assert torch.equal(waveforms, validation.waveforms)


def test_the_only_step_of_a_training_moves_the_weights() -> None:
    """AdamW's first step moves a weight by the learning rate, whatever its gradient."""
    fitted = fit(tones(8), tones(8, 1), epochs=1, weight_decay=0.0, learning_rate=0.003)
    torch.manual_seed(0)
    moved = (fitted.network.head.weight - M5(fitted.network.config).head.weight).abs()
    assert float(moved.detach().median()) == pytest.approx(0.003, rel=1e-3)


@pytest.mark.parametrize(("epochs", "is_cycle"), [(4, False), (5, True)])
def test_a_cycle_needs_room_for_its_rise_and_fall(epochs: int, is_cycle: bool) -> None:
    rates: list[float] = []
    hook = register_optimizer_step_post_hook(lambda optimiser, *_: rates.append(optimiser.param_groups[0]["lr"]))
    try:
        fit(tones(8), tones(8, 1), epochs=epochs, learning_rate=0.003)
    finally:
        hook.remove()
    assert len(rates) == epochs
    if is_cycle:
        assert rates[0] < max(rates) <= 0.003
        assert rates[-1] < rates[0]
    else:
        assert rates == [0.003] * epochs


def test_averaged_weights_are_the_moving_average_of_every_step() -> None:
    every: list[Tensor] = []
    hook = register_optimizer_step_post_hook(
        lambda optimiser, *_: every.append(optimiser.param_groups[0]["params"][-1].detach().clone())
    )
    try:
        fitted = fit(tones(32), tones(8, 1), averaging=0.2, epochs=1)
    finally:
        hook.remove()
    assert len(every) == 4
    expected = every[0]
    for step, weights in enumerate(every[1:], start=1):
        decay = min(0.2, (1 + step) / (10 + step))  # 2 / 11 at first, then 0.2
        expected = decay * expected + (1 - decay) * weights
    torch.testing.assert_close(fitted.network.head.bias, expected)


def test_bfloat16_trains_nearly_as_float32_does() -> None:
    one, two = (fit(tones(48), tones(16, 1), epochs=6, precision=p) for p in ("float32", "bfloat16"))
    assert not torch.equal(one.network.head.weight, two.network.head.weight)
    assert two.network.head.weight.dtype == torch.float32
    assert two.best.validation_accuracy == 1.0


def test_a_label_without_training_clips_is_named() -> None:
    clips = tones(16)
    only = ClipSet(clips.waveforms[::2], clips.targets[::2], clips.manifest.where([i % 2 == 0 for i in range(16)]))
    with pytest.raises(TrainingError, match="labels number 1 have no training clip"):
        fit(only, tones(8, 1))


def test_an_attack_on_a_network_that_blew_up_is_told_as_training_that_did() -> None:
    with pytest.raises(TrainingError, match="no longer finite in epoch 1; take a smaller learning rate"):
        fit(tones(32), tones(8, 1), learning_rate=1e30, adversarial_eps=0.01, adversarial_steps=2)


def test_mixup_and_adversarial_training_are_not_cooked_together() -> None:
    with pytest.raises(ValidationError, match="do not go together"):
        Recipe(mixup=0.2, adversarial_eps=0.01)


def test_each_epoch_is_told_as_it_ends() -> None:
    told: list[Epoch] = []
    recipe = Recipe(epochs=3, batch=8)
    fitted = fit_network(tones(16), tones(8, 1), 2, recipe, sample_rate=16_000, on_epoch=told.append)
    assert tuple(told) == fitted.history


def test_a_loss_that_is_no_number_stops_training_at_once() -> None:
    training = tones(16)
    training.waveforms[3] = torch.nan
    with pytest.raises(TrainingError, match="no longer finite in epoch 1; take a smaller learning rate"):
        fit(training, tones(8, 1))


@pytest.mark.parametrize("epochs", [1, 2])
def test_a_learning_rate_that_blows_the_weights_up_gives_no_network(epochs: int) -> None:
    with pytest.raises(TrainingError, match="loss is no longer finite"):
        fit(tones(8), tones(8, 1), learning_rate=1e30, epochs=epochs)


def test_one_clip_trains_nothing() -> None:
    with pytest.raises(TrainingError, match="1 training clips are too few; at least 2"):
        fit(tones(1), tones(8, 1))


def test_evaluation_is_mean_cross_entropy_and_accuracy() -> None:
    torch.manual_seed(0)
    network = M5(Architecture(labels=2, width=2, last_width=4, stride=16)).train()
    clips = tones(300)  # more than a batch
    loss, accuracy = evaluate(network, clips)
    logits = predict_logits(network, clips.waveforms).double().numpy()
    rows = np.arange(300), clips.targets.numpy()
    assert loss == pytest.approx(-log_softmax(logits, axis=1)[rows].mean(), rel=1e-5)
    assert accuracy == np.mean(logits.argmax(axis=1) == rows[1])


def test_evaluation_under_noise_is_fixed_by_its_seed() -> None:
    torch.manual_seed(0)
    network, clips = M5(Architecture(labels=2, width=2, last_width=4, stride=16)), tones(20)
    noisy = evaluate(network, clips, noise_sigma=0.3, seed=1)
    assert evaluate(network, clips, noise_sigma=0.3, seed=1) == noisy
    assert evaluate(network, clips, noise_sigma=0.3, seed=2) != noisy
    assert evaluate(network, clips, noise_sigma=0.0, seed=1) != noisy


@pytest.mark.parametrize(
    "wrong",
    [
        {"epochs": 0},
        {"batch": 1},
        {"learning_rate": 0},
        {"learning_rate": float("nan")},
        {"learning_rate": float("inf")},
        {"noise_sigma": -1},
        {"lr": 1},
    ],
)
def test_refuses_a_recipe_that_can_not_be_cooked(wrong: dict[str, float]) -> None:
    with pytest.raises(ValidationError):
        Recipe.model_validate(wrong)
