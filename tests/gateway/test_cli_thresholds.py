"""`evenvoice thresholds`: measures, writes what it was told to, and never looks at test clips."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import pandas as pd
import pytest
from robot import Evenvoice

from recognizer.bundle import load_bundle, read_manifest, version_of
from recognizer.defense import DefenseName
from recognizer.manifest import load_manifest
from recognizer.smoothing import RandomizedSmoothing

QUICK = (
    *("--error-alphas", "0.0001,0.01", "--draws", "8,20", "--confidence-thresholds", "0.4,0.9"),
    *("--attacked-clips", "2", "--steps", "2"),
)


@pytest.fixture
def own(bundle: Path, tmp_path: Path) -> Path:
    """A copy of the bundle whose votes have 20 draws at most, and that may be written."""
    folder = Path(shutil.copytree(bundle, tmp_path / "bundle"))
    shown = json.loads((folder / "bundle.json").read_text())
    shown["defenses"]["smoothing"] |= {"draws": 20, "error_alpha": 0.01, "test": "sequential"}
    (folder / "bundle.json").write_text(json.dumps(shown))
    _sum_again(folder)
    return folder


def _sum_again(folder: Path) -> None:
    names = sorted(path.name for path in folder.iterdir() if path.name != "SHA256SUMS")
    lines = [f"{hashlib.sha256((folder / name).read_bytes()).hexdigest()}  {name}\n" for name in names]
    (folder / "SHA256SUMS").write_text("".join(lines))


def test_a_sweep_measures_marks_and_writes_the_chosen_setting(
    evenvoice: Evenvoice, own: Path, tone_manifest: Path, tmp_path: Path
) -> None:
    before = version_of(own)
    done = evenvoice("thresholds", own, tone_manifest, *QUICK, "--out", tmp_path / "out")
    assert done.code == 0, done.err
    assert version_of(own) == before
    assert "the bundle stays as it is; --write NAME=VALUE" in done.words
    assert "smoothing of the bundle has error_alpha=0.01,draws=20" in done.words
    assert "left out, since even a unanimous vote would be rejected: error_alpha=0.0001,draws=8" in done.words

    table = pd.read_csv(tmp_path / "out" / "thresholds.csv")
    report = json.loads((tmp_path / "out" / "thresholds.json").read_text())
    assert table["name"].tolist() == [row["name"] for row in report["settings"]]
    assert set(table["name"]) == {
        *("error_alpha=0.01,draws=8", "error_alpha=0.01,draws=20", "error_alpha=0.0001,draws=20"),
        *("confidence_threshold=0.4", "confidence_threshold=0.5", "confidence_threshold=0.9"),
    }
    assert report["measured_on"]["clips"] == 96
    assert report["measured_on"]["fingerprint"] == load_manifest(tone_manifest).split("validation").fingerprint()

    written = evenvoice(
        *("thresholds", own, tone_manifest, *QUICK),
        *("--write", "error_alpha=0.0001", "--write", "confidence_threshold=0.9"),
    )
    assert written.code == 0, written.err
    assert version_of(own) != before
    assert version_of(own) in written.words
    manifest = read_manifest(own)
    assert manifest.defenses.smoothing is not None
    assert (manifest.defenses.smoothing.error_alpha, manifest.defenses.smoothing.draws) == (0.0001, 20)
    assert manifest.defenses.neural_rejection is not None
    assert manifest.defenses.neural_rejection.confidence_threshold == 0.9
    tuned = manifest.training["tuned"]["smoothing"]
    row = table.set_index("name").loc["error_alpha=0.0001,draws=20"]
    for figure in ("accuracy", "false_rejection", "attacked_wrong", "draws_mean"):
        assert tuned["figures"][figure] == pytest.approx(row[figure])
    smoothing = load_bundle(own).defenses[DefenseName.SMOOTHING]
    assert isinstance(smoothing, RandomizedSmoothing)
    assert (smoothing.error_alpha, smoothing.draws) == (0.0001, 20)


def test_the_test_split_is_refused(evenvoice: Evenvoice, own: Path, tone_manifest: Path, tmp_path: Path) -> None:
    before = version_of(own)
    for arguments in (
        ("--split", "test"),
        ("--split", "test", "--write", "confidence_threshold=0.9"),
        ("--columns", "split=accent"),
    ):
        done = evenvoice("thresholds", own, tone_manifest, *QUICK, *arguments, "--out", tmp_path / "out")
        assert done.code == 1, done
        assert len(done.err.strip().splitlines()) == 1
        assert "test clips" in done.err
    assert evenvoice("thresholds", own, tone_manifest, "--split", "validation,test").code == 2
    assert version_of(own) == before
    assert not (tmp_path / "out").exists()


def test_the_bundle_may_be_the_folder_that_is_worked_in(
    evenvoice: Evenvoice, own: Path, tone_manifest: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(own)
    only = ("--defense", "neural_rejection", "--attacked-clips", "0")
    done = evenvoice("thresholds", ".", tone_manifest, *QUICK, *only, "--write", "confidence_threshold=0.9")
    assert done.code == 0, done.err
    assert version_of(own) in done.words
    rejection = read_manifest(own).defenses.neural_rejection
    assert rejection is not None
    assert rejection.confidence_threshold == 0.9


def test_a_bundle_that_cannot_be_replaced_is_refused_before_the_sweep(
    evenvoice: Evenvoice, own: Path, tone_manifest: Path, tmp_path: Path
) -> None:
    """Its name leaves no room for that of the folder that is written beside it: so even the superuser can't."""
    long = own.rename(tmp_path / ("b" * 250))
    before = version_of(long)
    done = evenvoice("thresholds", long, tone_manifest, *QUICK, "--write", "confidence_threshold=0.9")
    assert done.code == 1
    assert "can't be replaced, since nothing can be written into" in done.err
    assert "right/rejected" not in done.words
    assert version_of(long) == before
    assert [path.name for path in tmp_path.iterdir()] == [long.name]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("error_alpha=0.3", "not among the measured settings"),
        ("draws=8,error_alpha=0.0001", "not among the measured settings"),
        ("draws=many", "draws='many' is no number"),
        ("sigma=0.1", "sigma: the settings of this sweep are"),
        ("error_alpha", "is not NAME=NAME"),
    ],
)
def test_only_a_measured_setting_is_written(
    evenvoice: Evenvoice, own: Path, tone_manifest: Path, given: str, said: str
) -> None:
    before = version_of(own)
    done = evenvoice("thresholds", own, tone_manifest, *QUICK, "--write", given)
    assert done.code == 2
    assert said in " ".join(done.err.split())
    assert version_of(own) == before


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("--error-alphas", "0"),
        ("--error-alphas", "0.01,x"),
        ("--draws", "0"),
        ("--confidence-thresholds", "1.5"),
        ("--confidence-thresholds", "nan"),
        ("--eps", "0"),
        ("--min-speakers", "9"),
    ],
)
def test_values_that_mean_nothing_are_usage_errors(
    evenvoice: Evenvoice, own: Path, tone_manifest: Path, option: str, value: str
) -> None:
    done = evenvoice("thresholds", own, tone_manifest, option, value)
    assert done.code == 2
    assert option in done.err


def test_one_defense_can_be_swept_alone(evenvoice: Evenvoice, own: Path, tone_manifest: Path) -> None:
    done = evenvoice(
        "thresholds", own, tone_manifest, *QUICK, "--defense", "neural_rejection", "--attributes", "accent"
    )
    assert done.code == 0, done.err
    assert "smoothing" not in done.words
    refused = evenvoice("thresholds", own, tone_manifest, *QUICK, "--attributes", "shoe")
    assert refused.code == 1
    assert "no column shoe; it has" in refused.err
    own_smoothing = json.loads((own / "bundle.json").read_text())
    own_smoothing["defenses"]["allowed"] = ["none", "smoothing"]
    (own / "bundle.json").write_text(json.dumps(own_smoothing))
    _sum_again(own)
    none = evenvoice(
        *("thresholds", own, tone_manifest, *QUICK, "--defense", "neural_rejection"),
        *("--write", "confidence_threshold=0.9"),
    )
    assert none.code == 1
    assert "the bundle's defenses are none, smoothing, and neural_rejection is a step of none of them" in none.err
