"""A bundle is built from the splits it says, and what can't work is refused before any training."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile
from pydantic import ValidationError
from safetensors import safe_open

from monitoring.audit import run_audit
from recognizer.audio import read_clip
from recognizer.bundle import BundleError, load_bundle, read_manifest
from recognizer.decision import UNKNOWN
from recognizer.defense import DefenseName
from recognizer.manifest import Manifest, ManifestError, load_manifest
from recognizer.neural_rejection import NeuralRejection, Score
from recognizer.progress import Stage
from recognizer.purification import LowPass, Quantisation
from recognizer.smoothing import InfeasibleSmoothing
from training import build
from training.build import BuildSettings, build_bundle
from training.checkpoint import CheckpointError
from training.recipe import Recipe, paper_recipe
from training.rejection import RejectionError

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
    assert defenses.default == DefenseName.SMOOTHING


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


def test_a_bundle_says_what_neural_rejection_decides_far_from_its_data(bundle: Path) -> None:
    """Platt of the intercepts alone, out of the bundle's own numbers."""
    with safe_open(bundle / "neural_rejection.safetensors", framework="numpy") as file:
        slope, offset, intercept = (file.get_tensor(name) for name in ("slope", "offset", "intercept"))
    each = 1 / (1 + np.exp(slope * intercept + offset))
    manifest = read_manifest(bundle)
    far, confidence = manifest.test_results["far_from_data"], each.max() / each.sum()
    leader = manifest.labels[int(each.argmax())]
    assert (far["leader"], far["confidence"]) == (leader, pytest.approx(confidence, abs=1e-6))
    assert far["accepts"] == (leader != UNKNOWN and confidence >= 0.5)
    assert f"{leader!r} with a probability of {confidence:.2f}" in far["says"]


def test_a_bundle_whose_calibration_accepts_what_is_far_from_all_data_is_warned_of(
    tones: Manifest, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    commands = only(tones, tones.table["command"] != UNKNOWN)
    lax = QUICK.model_copy(update={"confidence_threshold": 0.0})
    far = build_bundle(commands, tmp_path / "lax", lax).test_results["far_from_data"]
    assert far["accepts"]
    assert far["says"].startswith(f"far from its data NR accepts {far['leader']!r} with a probability of ")
    assert f"{far['says']}: calibration has destroyed its abating" in caplog.text
    caplog.clear()
    settings = lax.model_copy(update={"score": Score.MARGIN})
    margins = build_bundle(commands, tmp_path / "margins", settings)
    assert not margins.test_results["far_from_data"]["accepts"]
    assert "abating" not in caplog.text
    loaded = load_bundle(tmp_path / "margins").defenses[DefenseName.NEURAL_REJECTION]
    assert isinstance(loaded, NeuralRejection)
    assert loaded.score is Score.MARGIN


def test_a_bundle_allows_the_defenses_it_was_built_for(tones: Manifest, tmp_path: Path) -> None:
    both, purified = "neural_rejection.smoothing", "low_pass.quantisation.smoothing"
    settings = QUICK.model_copy(
        update={"allowed": (both, purified), "default_defense": both, "purifiers": {"low_pass": {"cutoff": 2500}}}
    )
    defenses = build_bundle(tones, tmp_path / "b", settings).defenses
    assert (defenses.allowed, defenses.default) == ((both, purified), both)
    assert defenses.purifiers == {
        "low_pass": LowPass(cutoff=2500).model_dump(exclude={"name"}),
        "quantisation": Quantisation().model_dump(exclude={"name"}),
    }
    assert list(load_bundle(tmp_path / "b").defenses) == [both, purified]


@pytest.mark.parametrize("make", [Recipe, paper_recipe])
def test_the_clean_network_hears_no_noise_and_the_other_that_of_smoothing(
    tones: Manifest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make: Callable[..., Recipe]
) -> None:
    """The latter when it is selected, too, whatever the recipe says."""
    recipes: list[Recipe] = []
    fit = build.fit_network

    def spy(*args: object, **kwargs: object) -> object:
        recipes.append(args[3])  # type: ignore[arg-type]
        return fit(*args, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr(build, "fit_network", spy)
    recipe = make(architecture="m5-small", epochs=1, batch=48)
    build_bundle(tones, tmp_path / "b", BuildSettings(name="quick", recipe=recipe, sigma=0.05, draws=20))
    assert [r.noise_sigma for r in recipes] == [0.0, 0.05]
    assert recipes[1].select_under_noise


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
    (checkpoints / "notes.txt").write_text("precious")
    resumed = build_bundle(tones, tmp_path / "b", settings, checkpoints=checkpoints)
    assert [p.name for p in checkpoints.iterdir()] == ["notes.txt"]
    whole = build_bundle(tones, tmp_path / "whole", settings)
    assert resumed.test_results == whole.test_results
    for name in ("clean.safetensors", "noise.safetensors"):
        assert (tmp_path / "b" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_two_builds_never_share_their_checkpoints(tones: Manifest, tmp_path: Path) -> None:
    checkpoints = tmp_path / "b.training"

    def another(stage: Stage) -> None:
        if stage.name == "training the clean network" and stage.done == 1:
            with pytest.raises(CheckpointError, match=r"another run .* is at work in .*b\.training"):
                build_bundle(tones, tmp_path / "b", QUICK, checkpoints=checkpoints)
            assert (checkpoints / "clean.pt").exists()

    build_bundle(tones, tmp_path / "b", QUICK, checkpoints=checkpoints, on_progress=another)
    assert not checkpoints.exists()


def two_commands(tones: Manifest) -> Manifest:
    return only(tones, tones.table["command"].isin(["left", "right"]))


def one_training_speaker(tones: Manifest) -> Manifest:
    table = tones.table.copy()
    table.loc[table["split"] == "train", "speaker"] = "alone"
    return Manifest(table, tones.attributes)


@pytest.mark.parametrize(
    ("reduce", "why"), [(two_commands, "at least 3 labels"), (one_training_speaker, "at least 2 speakers")]
)
def test_where_neural_rejection_can_not_be_fitted_the_bundle_has_none_and_says_why(
    tones: Manifest, tmp_path: Path, caplog: pytest.LogCaptureFixture, reduce: Callable[[Manifest], Manifest], why: str
) -> None:
    with caplog.at_level(logging.WARNING):
        manifest = build_bundle(reduce(tones), tmp_path / "b", QUICK)
    assert manifest.defenses.neural_rejection is None
    assert why in manifest.test_results["no_neural_rejection"]["reason"]
    assert "neural_rejection_correct" not in manifest.test_results["test"]
    assert any("no neural rejection" in record.message and why in record.message for record in caplog.records)
    assert list(load_bundle(tmp_path / "b").defenses) == [DefenseName.NONE, DefenseName.SMOOTHING]
    assert not (tmp_path / "b" / "neural_rejection.safetensors").exists()


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
    assert set(manifest.test_results) == {"validation", "best_epoch", "far_from_data"}
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
def test_neural_rejection_that_is_to_be_the_default_must_be_possible(tones: Manifest, tmp_path: Path) -> None:
    settings = QUICK.model_copy(update={"default_defense": DefenseName.NEURAL_REJECTION})
    with pytest.raises(RejectionError, match=r"at least 3 labels.*; or take another default defense"):
        build_bundle(two_commands(tones), tmp_path / "b", settings)


@pytest.mark.usefixtures("no_training")
def test_neural_rejection_that_an_allowed_defense_needs_must_be_possible(tones: Manifest, tmp_path: Path) -> None:
    settings = QUICK.model_copy(update={"allowed": ("smoothing", "none", "opus.neural_rejection")})
    with pytest.raises(RejectionError, match=r"at least 3 labels.*; or do not allow opus\.neural_rejection$"):
        build_bundle(two_commands(tones), tmp_path / "b", settings)


@pytest.mark.usefixtures("no_training")
def test_one_command_is_no_choice(tones: Manifest, tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match=r"every training clip is of the command 'left'; .* at least 2 commands"):
        build_bundle(only(tones, tones.table["command"] == "left"), tmp_path / "b", QUICK)


@pytest.mark.usefixtures("no_training")
@pytest.mark.parametrize("split", ["validation", "test"])
def test_clips_that_would_share_their_noise_are_refused_before_anything_is_read(
    tones: Manifest, tmp_path: Path, split: str
) -> None:
    table = tones.table.copy()
    one, two = table.index[table["split"] == split][:2]
    for row, root in ((one, "x"), (two, "y")):
        table.loc[row, "path"] = str(tmp_path / root / "a" / "b" / "1.wav")
    stages: list[Stage] = []
    with pytest.raises(ManifestError, match="the same file name and two folders twice"):
        build_bundle(Manifest(table, tones.attributes), tmp_path / "b", QUICK, on_progress=stages.append)
    assert stages == []


@pytest.mark.usefixtures("no_training")
def test_a_command_of_which_no_training_clip_can_be_heard_is_named(tones: Manifest, tmp_path: Path) -> None:
    table = tones.table.copy()
    left = table.index[(table["split"] == "train") & (table["command"] == "left")]
    for row in left:
        table.loc[row, "path"] = str(tmp_path / f"{row}.wav")
        soundfile.write(tmp_path / f"{row}.wav", np.zeros(8000), 16_000)
    with pytest.raises(ManifestError, match=r"no training clip can be heard of 'left' \(24 skipped\)"):
        build_bundle(Manifest(table, tones.attributes), tmp_path / "b", QUICK)


@pytest.mark.usefixtures("no_training")
def test_a_folder_that_is_no_bundle_is_refused_before_training_and_left_alone(tones: Manifest, tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("precious")
    with pytest.raises(BundleError, match="is no bundle"):
        build_bundle(tones, tmp_path, QUICK)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


@pytest.mark.parametrize(
    "wrong",
    [
        {"sigma": 0},
        {"sigma": float("nan")},
        {"error_alpha": 0},
        {"draws": 0},
        {"confidence_threshold": 1.1},
        {"default_defense": "luck"},
        {"default_defense": "neural_rejection.smoothing"},
        {"allowed": ("none",)},
        {"allowed": ("smoothing", "opus.opus")},
        {"allowed": ("smoothing",), "purifiers": {"opus": {}}},
        {"allowed": ("smoothing", "opus"), "purifiers": {"opus": {"bitrate": 1}}},
    ],
)
def test_refuses_settings_that_mean_nothing(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        BuildSettings.model_validate(wrong)
