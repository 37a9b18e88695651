"""Training repeats itself, hears the noise it is told of, and keeps the epoch that was best on held-out clips."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pandas as pd
import pytest
import torch
from pydantic import ValidationError
from scipy import stats
from scipy.special import log_softmax
from torch import Tensor

from recognizer.manifest import Manifest
from recognizer.network import M5, Architecture, predict_logits
from training import hardening
from training.augmentation import Augmentation
from training.dataset import ClipSet
from training.hardening import Epoch, Recipe, TrainingError, evaluate, fit_network

SAMPLES = 7_000
STILL = Augmentation(speed=0, shift_seconds=0, gain_db=0, background_db=(-200, -200))


def tones(clips: int, seed: int = 0, *, speakers: list[str] | None = None, wrong: bool = False) -> ClipSet:
    """Two commands, a low and a high tone of random phase; `wrong` labels them the other way round."""
    rng = np.random.default_rng(seed)
    targets = np.arange(clips) % 2
    hertz = np.where(targets, 1500.0, 300.0) * rng.uniform(0.97, 1.03, clips)
    time = np.arange(SAMPLES) / 16_000
    waveforms = 0.4 * np.sin(2 * np.pi * (hertz[:, None] * time + rng.uniform(0, 1, (clips, 1))))
    table = pd.DataFrame({"path": [f"{i}.wav" for i in range(clips)], "speaker": speakers or ["s"] * clips})
    return ClipSet(
        torch.from_numpy(waveforms.astype(np.float32)),
        torch.from_numpy(1 - targets if wrong else targets),
        Manifest(table, ()),
    )


def fit(training: ClipSet, validation: ClipSet, **recipe: object) -> hardening.Fitted:
    settings = Recipe.model_validate({"epochs": 2, "batch": 8, **recipe})
    return fit_network(training, validation, 2, settings, sample_rate=16_000)


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


@pytest.mark.parametrize("other", [{"seed": 1}, {"noise_sigma": 0.05}, {"weight_decay": 0.9}, {"label_smoothing": 0.3}])
def test_every_setting_changes_the_weights(other: dict[str, float]) -> None:
    one, two = fit(tones(16), tones(8, 1), epochs=1), fit(tones(16), tones(8, 1), epochs=1, **other)
    assert not torch.equal(one.network.head.weight, two.network.head.weight)


def test_the_network_hears_fresh_gaussian_noise_of_the_recipes_sigma(heard: list[tuple[bool, Tensor]]) -> None:
    clips = tones(16)
    silent = ClipSet(torch.zeros_like(clips.waveforms), clips.targets, clips.manifest)
    fit(silent, silent, noise_sigma=0.07, epochs=2, augmentation=STILL)
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
    fit(training, tones(4, 1), epochs=2, augmentation=STILL)
    batches = [waveforms for in_training, waveforms in heard if in_training]
    assert [len(b) for b in batches] == [11, 10, 11, 10]
    for epoch in (torch.cat(batches[:2]), torch.cat(batches[2:])):
        nearest = torch.cdist(epoch, training.waveforms).argmin(dim=1)
        assert sorted(nearest.tolist()) == list(range(21))


def test_no_speaker_is_heard_more_often_an_epoch_than_asked(heard: list[tuple[bool, Tensor]]) -> None:
    speakers = ["talkative"] * 20 + ["terse"] * 2 + ["medium"] * 6
    training = tones(28, speakers=speakers)
    fit(training, tones(4, 1), epochs=4, clips_a_speaker=5, batch=12, augmentation=STILL)
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


@pytest.mark.parametrize("wrong", [{"epochs": 0}, {"batch": 1}, {"learning_rate": 0}, {"noise_sigma": -1}, {"lr": 1}])
def test_refuses_a_recipe_that_can_not_be_cooked(wrong: dict[str, float]) -> None:
    with pytest.raises(ValidationError):
        Recipe.model_validate(wrong)
