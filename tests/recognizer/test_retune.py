"""Other thresholds in a bundle: it decides by them, says so, and forgets what no longer describes it."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
from datetime import UTC, datetime
from pathlib import Path

import pytest
import torch

from recognizer.bundle import BundleError, load_bundle, read_manifest, version_of
from recognizer.defense import DefenseName
from recognizer.neural_rejection import NeuralRejection
from recognizer.retune import Choice, RejectionSetting, Setting, SmoothingSetting, TunedOn, current_setting, retune
from recognizer.smoothing import InfeasibleSmoothing, RandomizedSmoothing

ON = TunedOn(
    at=datetime(2030, 1, 2, tzinfo=UTC),
    manifest="own.csv",
    fingerprint="sha256:ab",
    split="validation",
    clips=9,
    speakers=3,
    seed=5,
)
RS = SmoothingSetting(error_alpha=0.02, draws=40)
NR = RejectionSetting(confidence_threshold=0.75)


@pytest.fixture
def own(bundle: Path, tmp_path: Path) -> Path:
    """A copy of the bundle that may be written."""
    return Path(shutil.copytree(bundle, tmp_path / "bundle"))


def written(folder: Path, *settings: Setting) -> Path:
    choices = [Choice(setting=setting, figures={"accuracy": 0.9, "false_acceptance": None}) for setting in settings]
    retune(folder, choices, ON, version=version_of(folder))
    return folder


def weights(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.glob("*.safetensors")}


def test_the_bundle_decides_by_what_was_written(own: Path) -> None:
    before = load_bundle(own)
    kept = weights(own)
    after = load_bundle(written(own, RS, NR))
    smoothing, rejection = after.defenses[DefenseName.SMOOTHING], after.defenses[DefenseName.NEURAL_REJECTION]
    assert isinstance(smoothing, RandomizedSmoothing)
    assert isinstance(rejection, NeuralRejection)
    clips = torch.rand(4, after.audio.window, generator=torch.Generator().manual_seed(0)) - 0.5
    ids = ["a", "b", "c", "d"]
    for decision in smoothing.decide(clips, clip_ids=ids, seed=1):
        assert decision.certificate is not None
        assert decision.certificate.error_alpha == 0.02
        assert (decision.certificate.draws or 0) <= 40
    for decision in rejection.decide(clips, clip_ids=ids, seed=1):
        assert decision.certificate is not None
        assert decision.certificate.confidence_threshold == 0.75
        assert decision.confidence is not None
        assert decision.is_accepted == (decision.confidence >= 0.75 and decision.top[0].command != "unknown")
    assert after.version != before.version
    assert weights(own) == kept
    assert subprocess.run(["sha256sum", "--check", "--quiet", "SHA256SUMS"], cwd=own, check=False).returncode == 0


def test_what_was_not_chosen_stays(own: Path) -> None:
    before = read_manifest(own)
    after = read_manifest(written(own, NR))
    assert after.defenses.smoothing == before.defenses.smoothing
    assert after.defenses.default == before.defenses.default
    assert (after.networks, after.data, after.created_at) == (before.networks, before.data, before.created_at)
    assert current_setting(after, DefenseName.NEURAL_REJECTION) == NR
    assert {k: v for k, v in after.training.items() if k != "tuned"} == before.training


def test_the_bundle_says_what_was_tuned_from_what_on_which_clips_and_when(own: Path) -> None:
    was = current_setting(read_manifest(own), DefenseName.SMOOTHING).model_dump()
    written(own, RS)
    written(own, NR)
    tuned = json.loads((own / "bundle.json").read_text())["training"]["tuned"]
    assert set(tuned) == {"smoothing", "neural_rejection"}
    assert tuned["smoothing"] == {
        "from": was,
        "to": {"error_alpha": 0.02, "draws": 40},
        "figures": {"accuracy": 0.9, "false_acceptance": None},
        "at": "2030-01-02T00:00:00Z",
        "manifest": "own.csv",
        "fingerprint": "sha256:ab",
        "split": "validation",
        "clips": 9,
        "speakers": 3,
        "seed": 5,
    }


def test_test_results_of_a_changed_defense_are_removed_and_named(own: Path) -> None:
    before = read_manifest(own).test_results
    assert "neural_rejection_correct" in before["test"]
    after = read_manifest(written(own, NR)).test_results
    assert not [name for part in ("validation", "test") for name in after[part] if "neural_rejection" in name]
    assert after["test"]["clean_accuracy"] == before["test"]["clean_accuracy"]
    assert {"test.neural_rejection_correct", "validation.neural_rejection_rejected"} <= set(after["tuned"]["removed"])
    again = read_manifest(written(own, RS)).test_results
    assert set(after["tuned"]["removed"]) <= set(again["tuned"]["removed"])


def test_what_it_decides_far_from_data_is_found_anew(own: Path) -> None:
    """As the defense decides that the bundle then has; it takes no clips."""
    before = read_manifest(own).test_results["far_from_data"]
    for threshold in (before["confidence"] - 0.01, before["confidence"] + 0.01):
        found = read_manifest(written(own, RejectionSetting(confidence_threshold=threshold))).test_results
        rejection = load_bundle(own).defenses[DefenseName.NEURAL_REJECTION]
        assert isinstance(rejection, NeuralRejection)
        decided = rejection.far_from_data()
        assert found["far_from_data"]["accepts"] is decided.is_accepted
        assert found["far_from_data"]["confidence"] == before["confidence"]
        assert found["far_from_data"]["says"].endswith(f" {threshold:g}")
        assert "far_from_data" not in found["tuned"]["removed"]


def test_a_link_to_a_bundle_stays_one_and_what_it_points_to_is_tuned(own: Path, tmp_path: Path) -> None:
    link = tmp_path / "current"
    link.symlink_to(own, target_is_directory=True)
    written(link, NR)
    assert link.is_symlink()
    assert link.resolve() == own
    assert current_setting(read_manifest(own), DefenseName.NEURAL_REJECTION) == NR


def test_the_bundle_may_be_the_folder_that_is_worked_in(own: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(own)
    written_here = [Choice(setting=NR, figures={})]
    retune(Path(), written_here, ON, version=version_of(own))
    assert current_setting(read_manifest(own), DefenseName.NEURAL_REJECTION) == NR


def test_files_that_the_bundle_lists_and_does_not_use_stay(own: Path) -> None:
    (own / "LICENSE").write_text("as you like\n")
    digest = hashlib.sha256((own / "LICENSE").read_bytes()).hexdigest()
    with (own / "SHA256SUMS").open("a") as sums:
        sums.write(f"{digest}  LICENSE\n")
    written(own, NR)
    assert (own / "LICENSE").read_text() == "as you like\n"
    assert f"{digest}  LICENSE" in (own / "SHA256SUMS").read_text().splitlines()
    assert current_setting(read_manifest(own), DefenseName.NEURAL_REJECTION) == NR


def test_the_setting_that_it_has_keeps_its_test_results(own: Path) -> None:
    before = read_manifest(own)
    same = current_setting(before, DefenseName.NEURAL_REJECTION)
    assert read_manifest(written(own, same)).test_results == before.test_results


def test_a_bundle_that_changed_meanwhile_is_left_alone(own: Path) -> None:
    measured = version_of(own)
    written(own, NR)
    now = version_of(own)
    with pytest.raises(BundleError, match="has changed since it was measured"):
        retune(own, [Choice(setting=RS, figures={})], ON, version=measured)
    assert version_of(own) == now


def test_settings_under_which_nothing_is_accepted_are_refused(own: Path) -> None:
    before = version_of(own)
    with pytest.raises(InfeasibleSmoothing, match="every clip would be rejected"):
        written(own, SmoothingSetting(error_alpha=0.001, draws=5))
    with pytest.raises(BundleError, match="two settings of one defense"):
        written(own, NR, RejectionSetting(confidence_threshold=0.1))
    assert version_of(own) == before


def test_a_defense_that_is_not_there_has_no_setting(own: Path) -> None:
    with pytest.raises(BundleError, match="no none whose thresholds"):
        current_setting(read_manifest(own), DefenseName.NONE)
