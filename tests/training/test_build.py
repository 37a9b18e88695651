"""A bundle is built from the splits it says, and what can't work is refused before any training."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile
from pydantic import ValidationError

from monitoring.audit import run_audit
from recognizer.audio import read_clip
from recognizer.bundle import BundleError, load_bundle, read_manifest
from recognizer.decision import UNKNOWN
from recognizer.defense import DefenseName
from recognizer.manifest import Manifest, ManifestError, load_manifest
from recognizer.progress import Stage
from recognizer.smoothing import InfeasibleSmoothing
from training import build
from training.build import BuildSettings, build_bundle
from training.recipe import Recipe

QUICK = BuildSettings(name="quick", recipe=Recipe(epochs=1, batch=48), draws=20)


@pytest.fixture
def no_training(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("training began")

    monkeypatch.setattr(build, "fit_network", refuse)


@pytest.fixture
def tones(tone_manifest: Path) -> Manifest:
    return load_manifest(tone_manifest)


def only(manifest: Manifest, keep: pd.Series) -> Manifest:
    return manifest.where(keep.tolist())


# What is built


def test_unknown_is_the_last_label_though_it_sorts_before_others(bundle: Path) -> None:
    assert read_manifest(bundle).labels == ("go", "left", "right", UNKNOWN)


def test_unknown_comes_last_after_commands_that_sort_behind_it(tones: Manifest, tmp_path: Path) -> None:
    renamed = Manifest(tones.table.replace({"command": {"go": "zero"}}), tones.attributes)
    assert build_bundle(renamed, tmp_path / "b", QUICK).labels == ("left", "right", "zero", UNKNOWN)


def test_the_bundle_says_what_it_was_trained_on(bundle: Path, tones: Manifest) -> None:
    manifest = read_manifest(bundle)
    assert manifest.data.clips == {"train": 96, "validation": 96, "test": 96}
    assert manifest.data.speakers == {"train": 4, "validation": 4, "test": 4}
    assert manifest.data.fingerprint == tones.fingerprint()
    assert manifest.vocabulary == {"accent": ("north", "south"), "gender": ("female", "male")}
    assert {name: spec.noise_sigma for name, spec in manifest.networks.items()} == {"clean": 0.0, "noise": 0.02}


def test_the_settings_that_reproduce_it_are_in_it(bundle: Path) -> None:
    settings = BuildSettings.model_validate(read_manifest(bundle).training)
    assert settings == BuildSettings(name="tones", recipe=Recipe(epochs=10, batch=16))


def test_the_defenses_use_their_own_networks(bundle: Path) -> None:
    defenses = read_manifest(bundle).defenses
    assert defenses.undefended_network == "clean"
    assert defenses.neural_rejection is not None
    assert defenses.neural_rejection.network == "clean"
    assert defenses.neural_rejection.fitted_on == (
        "96 training clips (held out were 4 speakers, and of some label 24 clips)"
    )
    assert defenses.smoothing is not None
    assert (defenses.smoothing.network, defenses.smoothing.sigma) == ("noise", 0.02)
    assert defenses.default is DefenseName.SMOOTHING


def test_the_test_accuracy_is_that_of_the_bundle_on_its_test_clips(bundle: Path, tones: Manifest) -> None:
    recognizer, results = load_bundle(bundle), read_manifest(bundle).test_results
    part = tones.split("test").table
    clips = [read_clip(Path(path), recognizer.audio) for path in part["path"]]
    decisions = recognizer.decide(clips, clip_ids=[""] * 96, seed=0, defense="none")
    right = [d.top[0].command == c for d, c in zip(decisions, part["command"], strict=True)]
    assert results["test"]["clean_accuracy"] == pytest.approx(np.mean(right), abs=1e-6)
    assert (results["test"]["clips"], results["test"]["speakers"], results["test"]["skipped"]) == (96, 4, 0)
    assert results["test"]["noise_accuracy_one_draw"] > 0.9
    assert 1 <= results["best_epoch"]["noise"]["number"] <= 10


def test_the_results_of_neural_rejection_are_those_of_an_audit(bundle: Path, tones: Manifest) -> None:
    report, _ = run_audit(
        load_bundle(bundle), tones.split("test"), source="tones", defenses=[DefenseName.NEURAL_REJECTION]
    )
    audited, built = report.defenses[0].overall, read_manifest(bundle).test_results["test"]
    assert built["neural_rejection_correct"] == pytest.approx(audited.accuracy.mean, abs=1e-6)
    assert built["neural_rejection_rejected"] == pytest.approx(audited.rejection.mean, abs=1e-6)


def test_the_clean_network_hears_no_noise_and_the_other_that_of_smoothing(
    tones: Manifest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sigmas: list[float] = []
    fit = build.fit_network

    def spy(*args: object, **kwargs: object) -> object:
        sigmas.append(args[3].noise_sigma)  # type: ignore[attr-defined]
        return fit(*args, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr(build, "fit_network", spy)
    build_bundle(tones, tmp_path / "b", QUICK.model_copy(update={"sigma": 0.05}))
    assert sigmas == [0.0, 0.05]


def test_a_build_that_was_stopped_goes_on_from_its_checkpoints(tones: Manifest, tmp_path: Path) -> None:
    settings = BuildSettings(name="quick", recipe=Recipe(epochs=2, batch=48), draws=20)

    def stop(stage: Stage) -> None:
        if stage.name == "training the noise network" and stage.done == 1:
            raise KeyboardInterrupt

    checkpoints = tmp_path / "b.training"
    with pytest.raises(KeyboardInterrupt):
        build_bundle(tones, tmp_path / "b", settings, checkpoints=checkpoints, on_progress=stop)
    assert sorted(p.name for p in checkpoints.iterdir()) == ["clean.pt", "noise.pt"]
    assert not (tmp_path / "b").exists()
    resumed = build_bundle(tones, tmp_path / "b", settings, checkpoints=checkpoints)
    assert not checkpoints.exists()
    whole = build_bundle(tones, tmp_path / "whole", settings)
    assert resumed.test_results == whole.test_results
    for name in ("clean.safetensors", "noise.safetensors"):
        assert (tmp_path / "b" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_progress_tells_every_stage_to_its_end(tones: Manifest, tmp_path: Path) -> None:
    stages: list[Stage] = []
    build_bundle(tones, tmp_path / "b", QUICK, on_progress=stages.append)
    last = {stage.name: stage for stage in stages}
    assert list(last) == [
        "reading training clips",
        "reading validation clips",
        "reading test clips",
        "training the clean network",
        "training the noise network",
        "fitting neural rejection",
    ]
    assert all(stage.done == stage.total for stage in last.values())


def test_without_a_test_split_there_are_no_test_results(tones: Manifest, tmp_path: Path) -> None:
    manifest = build_bundle(only(tones, tones.table["split"] != "test"), tmp_path / "b", QUICK)
    assert set(manifest.test_results) == {"validation", "best_epoch"}
    assert manifest.data.clips["test"] == 0
    assert load_bundle(tmp_path / "b").name == "quick"


def test_clips_that_can_not_be_heard_are_logged_and_counted(
    tones: Manifest, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    silent = tmp_path / "silent.wav"
    soundfile.write(silent, np.zeros(8000), 16_000)
    table = tones.table.copy()
    table.loc[table.index[table["split"] == "test"][0], "path"] = str(silent)
    with caplog.at_level(logging.WARNING):
        manifest = build_bundle(Manifest(table, tones.attributes), tmp_path / "b", QUICK)
    assert (manifest.test_results["test"]["clips"], manifest.test_results["test"]["skipped"]) == (95, 1)
    assert any("silent.wav" in record.message for record in caplog.records)


# What is refused


@pytest.mark.usefixtures("no_training")
def test_smoothing_that_could_never_accept_is_refused_before_anything_is_read(tones: Manifest, tmp_path: Path) -> None:
    stages: list[Stage] = []
    with pytest.raises(InfeasibleSmoothing, match="take at least 11 draws"):
        build_bundle(tones, tmp_path / "b", BuildSettings(draws=10, error_alpha=0.001), on_progress=stages.append)
    assert stages == []
    assert not (tmp_path / "b").exists()


@pytest.mark.usefixtures("no_training")
@pytest.mark.parametrize("split", ["train", "validation"])
def test_training_and_validation_clips_are_needed(tones: Manifest, tmp_path: Path, split: str) -> None:
    with pytest.raises(ManifestError, match=f"no clip is in the split {split}"):
        build_bundle(only(tones, tones.table["split"] != split), tmp_path / "b", QUICK)


@pytest.mark.usefixtures("no_training")
def test_a_test_command_that_training_lacks_is_refused(tones: Manifest, tmp_path: Path) -> None:
    lacking = (tones.table["split"] == "train") & (tones.table["command"] == "left")
    with pytest.raises(ManifestError, match=r"\['left'\] are none of the labels"):
        build_bundle(only(tones, ~lacking), tmp_path / "b", QUICK)


@pytest.mark.usefixtures("no_training")
def test_a_folder_that_is_no_bundle_is_refused_before_training_and_left_alone(tones: Manifest, tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("precious")
    with pytest.raises(BundleError, match="is no bundle"):
        build_bundle(tones, tmp_path, QUICK)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


@pytest.mark.parametrize(
    "wrong",
    [{"sigma": 0}, {"error_alpha": 0}, {"draws": 0}, {"confidence_threshold": 1.1}, {"default_defense": "luck"}],
)
def test_refuses_settings_that_mean_nothing(wrong: dict[str, float | str]) -> None:
    with pytest.raises(ValidationError):
        BuildSettings.model_validate(wrong)
