"""Fitting neural rejection: on which clips, with folds that keep speakers together, and what can't be fitted."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from numpy.typing import NDArray
from sklearn.calibration import CalibratedClassifierCV

from recognizer.audio import AudioFormat
from recognizer.decision import UNKNOWN
from recognizer.manifest import Manifest
from recognizer.network import M5, Architecture
from recognizer.neural_rejection import SupportVectorMachine
from training.corpora.audiomnist import DIGITS
from training.corpora.folder import own_manifest
from training.corpora.sounds import Shares, add_sounds
from training.dataset import ClipSet, load_clips
from training.hardening import fit_network
from training.recipe import Recipe
from training.rejection import (
    ENOUGH_CLIPS,
    ENOUGH_SPEAKERS,
    RejectionError,
    check_clips,
    choose_clips,
    export_machine,
    features_of,
    fit_pipeline,
    fit_rejection,
    speaker_folds,
)


def clip_set(targets: list[int], samples: int = 600, speakers: int = 6) -> ClipSet:
    """Noise that is louder at the start, the end or the middle as the target says."""
    draw = torch.Generator().manual_seed(0)
    waveforms = 0.05 * torch.randn(len(targets), samples, generator=draw)
    third = samples // 3
    for row, target in zip(waveforms, targets, strict=True):
        row[target * third : (target + 1) * third] *= 6
    table = pd.DataFrame({"path": [f"{i}.wav" for i in range(len(targets))]})
    table["speaker"] = [f"s{i // 3 % speakers}" for i in range(len(targets))]
    return ClipSet(waveforms, torch.tensor(targets), Manifest(table, ()))


def blobs(clips: int = 120, labels: int = 3) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    rng = np.random.default_rng(0)
    targets = np.arange(clips) % labels
    return rng.normal(size=(labels, 5))[targets] * 2 + rng.normal(size=(clips, 5)), targets


SPEAKERS = [f"s{i // 3 % 6}" for i in range(120)]


# Which clips


def test_held_out_clips_are_taken_where_there_are_enough_of_every_label_and_speakers() -> None:
    training, held_out = clip_set([0, 1, 2]), clip_set([0, 1, 2] * ENOUGH_CLIPS, speakers=ENOUGH_SPEAKERS)
    words = f"{3 * ENOUGH_CLIPS} held-out clips of {ENOUGH_SPEAKERS} speakers"
    assert choose_clips(training, held_out, 3) == (held_out, words)


@pytest.mark.parametrize(
    "held_out",
    [
        clip_set(([0, 1, 2] * ENOUGH_CLIPS)[:-1], speakers=ENOUGH_SPEAKERS),
        clip_set([0, 1, 2] * ENOUGH_CLIPS, speakers=ENOUGH_SPEAKERS - 1),
        clip_set([0, 1] * 50, speakers=ENOUGH_SPEAKERS),
    ],
    ids=["a clip too few of one label", "a speaker too few", "a label without clips"],
)
def test_with_too_little_held_out_the_training_clips_are_taken_and_the_bundle_says_why(held_out: ClipSet) -> None:
    training = clip_set([0, 1, 2])
    chosen, words = choose_clips(training, held_out, 3)
    assert chosen is training
    assert words.startswith("3 training clips (held out were ")


def test_features_are_the_networks_penultimate_ones_in_evaluation_mode() -> None:
    torch.manual_seed(0)
    network = M5(Architecture(labels=3, width=4, last_width=6, stride=1)).train()
    clips = clip_set([0, 1, 2] * 100)  # more than a batch
    features = features_of(network, clips)
    assert features.shape == (300, 6)
    assert features.dtype == np.float64
    with torch.inference_mode():
        np.testing.assert_allclose(features, network.eval().features(clips.waveforms), atol=1e-5)


# Fitting


def test_folds_keep_a_speaker_together_and_test_every_clip_once() -> None:
    features, targets = blobs()
    splits = fit_pipeline(features, targets, SPEAKERS).cv
    assert len(splits) == 5
    assert sorted(np.concatenate([left_out for _, left_out in splits])) == list(range(120))
    for kept, left_out in splits:
        assert not {SPEAKERS[i] for i in kept} & {SPEAKERS[i] for i in left_out}
        assert set(targets[kept]) == {0, 1, 2}


def test_two_speakers_are_two_folds() -> None:
    features, targets = blobs()
    assert len(fit_pipeline(features, targets, [f"s{i // 60}" for i in range(120)]).cv) == 2


def test_fitting_repeats_itself() -> None:
    features, targets = blobs()
    np.random.seed(1)  # noqa: NPY002
    one = export_machine(fit_pipeline(features, targets, SPEAKERS)).tensors()
    np.random.seed(2)  # noqa: NPY002
    two = export_machine(fit_pipeline(features, targets, SPEAKERS)).tensors()
    for name, tensor in one.items():
        assert torch.equal(tensor, two[name])


def test_a_vector_that_supports_several_classes_is_stored_once() -> None:
    features, targets = blobs()
    machine = export_machine(fit_pipeline(features, targets, SPEAKERS))
    assert len(np.unique(machine.support, axis=0)) == len(machine.support) <= 120
    assert (machine.dual != 0).any(dim=0).all()
    assert all(tensor.dtype == torch.float64 for tensor in machine.tensors().values())


def test_a_clip_that_stands_twice_does_not_change_the_scores_exported() -> None:
    features, targets = blobs(60)
    fitted = fit_pipeline(np.repeat(features, 2, axis=0), np.repeat(targets, 2), SPEAKERS)
    scores = export_machine(fitted).scores(torch.from_numpy(features))
    expected = fitted.calibrated_classifiers_[0].estimator.decision_function(features)
    np.testing.assert_allclose(scores, expected, atol=1e-6)


def test_a_feature_that_never_changes_is_no_trouble() -> None:
    features, targets = blobs()
    features[:, 2] = 7.0
    fitted = fit_pipeline(features, targets, SPEAKERS)
    probabilities = export_machine(fitted).probabilities(torch.from_numpy(features))
    np.testing.assert_allclose(probabilities, fitted.predict_proba(features), atol=1e-6)


def test_a_machine_fitted_on_clips_knows_them() -> None:
    torch.manual_seed(0)
    network = M5(Architecture(labels=3, width=8, last_width=16, stride=1)).eval()
    clips = clip_set([0, 1, 2] * 30)
    machine = fit_rejection(network, clips)
    assert machine.fits(labels=3, features=16)
    features = torch.from_numpy(features_of(network, clips))
    sklearns = fit_pipeline(features.numpy(), clips.targets.numpy(), clips.manifest.table["speaker"].tolist())
    np.testing.assert_allclose(machine.probabilities(features), sklearns.predict_proba(features.numpy()), atol=1e-6)


# What can't be fitted


def test_two_labels_are_too_few() -> None:
    features, targets = blobs(labels=2)
    with pytest.raises(RejectionError, match="at least 3 labels; add an `unknown` class"):
        fit_pipeline(features, targets, SPEAKERS)


def test_one_speaker_is_too_few() -> None:
    features, targets = blobs()
    with pytest.raises(RejectionError, match="at least 2 speakers"):
        fit_pipeline(features, targets, ["s"] * 120)


def test_a_label_of_one_speaker_only_can_not_be_calibrated() -> None:
    features, targets = blobs()
    speakers = ["alone" if target == 1 else speaker for target, speaker in zip(targets, SPEAKERS, strict=True)]
    with pytest.raises(RejectionError, match="clips of one speaker only"):
        fit_pipeline(features, targets, speakers)


def test_many_speakers_of_few_clips_make_as_many_folds_as_a_label_has_clips() -> None:
    splits = speaker_folds(np.array([0, 1, 2] * 2), [f"s{i}" for i in range(6)])
    assert sorted(np.concatenate([left_out for _, left_out in splits])) == list(range(6))
    assert len(splits) == 2


def test_one_clip_of_each_label_is_too_few() -> None:
    with pytest.raises(RejectionError, match="2 clips a label are needed"):
        speaker_folds(np.arange(3), ["a", "b", "c"])


@pytest.mark.parametrize("speakers", [6, 1])
def test_clips_are_refused_without_a_network_as_they_would_be_with_one(speakers: int) -> None:
    clips = clip_set([0, 1, 2] * 12, speakers=speakers)
    network = M5(Architecture(labels=3, width=4, last_width=6, stride=1)).eval()
    if speakers == 1:
        for refuse in (lambda: check_clips(clips), lambda: fit_rejection(network, clips)):
            with pytest.raises(RejectionError, match="at least 2 speakers"):
                refuse()
    else:
        check_clips(clips)
        fit_rejection(network, clips)


# On real speech


@dataclass(frozen=True)
class Heard:
    """Features of clips of one network, and what scikit-learn fitted to the training ones."""

    machine: SupportVectorMachine
    fitted: CalibratedClassifierCV
    features: dict[str, NDArray[np.float64]]
    """digits (of speakers not trained on), words, babble, music, noise"""


@pytest.fixture(scope="module")
def heard(speech: Path, tmp_path_factory: pytest.TempPathFactory) -> Heard:
    """A short training on the digits of kokoro20; its other words, and made sounds, are what nobody has trained on."""
    corpus = own_manifest(
        [speech / "kokoro20" / "manifest.csv"],
        columns={"command": "label"},
        attributes=(),
        commands=DIGITS,
    )
    manifest = add_sounds(corpus, tmp_path_factory.mktemp("sounds"), Shares(sounds=0.3), seed=0).manifest
    table = manifest.table
    is_digit = table["command"] != UNKNOWN
    labels, audio = (*DIGITS, UNKNOWN), AudioFormat()
    training, validation = (
        load_clips(manifest.where((is_digit & (table["split"] == s)).tolist()), labels, audio)
        for s in ("train", "validation")
    )
    network = fit_network(training, validation, len(DIGITS), Recipe(epochs=20), sample_rate=16_000).network
    fitted = fit_pipeline(
        features_of(network, training), training.targets.numpy(), training.manifest.table["speaker"].tolist()
    )
    kinds = table["sound"].where(table["sound"].isin(["babble", "music", "noise", ""]), "words").replace("", "digits")
    is_test = table["split"] == "test"
    features = {
        str(kind): features_of(network, load_clips(manifest.where((is_test & (kinds == kind)).tolist()), labels, audio))
        for kind in sorted(set(kinds))
    }
    return Heard(export_machine(fitted), fitted, features)


def test_on_real_speech_the_machine_gives_scikit_learns_scores(heard: Heard) -> None:
    for features in heard.features.values():
        here = torch.from_numpy(features)
        margins = heard.fitted.calibrated_classifiers_[0].estimator.decision_function(features)
        np.testing.assert_allclose(heard.machine.scores(here), margins, atol=1e-5)
        np.testing.assert_allclose(heard.machine.probabilities(here), heard.fitted.predict_proba(features), atol=1e-5)


@pytest.mark.parametrize("kind", ["babble", "music", "noise", "words"])
def test_margins_turn_away_what_is_no_digit_more_often_than_digits(heard: Heard, kind: str) -> None:
    """At the threshold that three in four digits of unheard speakers pass."""
    best = {k: heard.machine.scores(torch.from_numpy(f)).amax(dim=1).numpy() for k, f in heard.features.items()}
    threshold = np.quantile(best["digits"], 0.25)
    assert (best[kind] < threshold).mean() > 0.25 + 0.2


def test_far_from_real_digits_every_margin_is_negative(heard: Heard) -> None:
    far = heard.machine.scores(torch.full((1, heard.machine.mean.numel()), 1e6, dtype=torch.float64))
    assert (far < 0).all()
