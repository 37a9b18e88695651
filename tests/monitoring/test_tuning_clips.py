"""Thresholds are tuned on validation clips, and by no way round on test clips."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from monitoring.thresholds import TunedOnTest, load_tuning_clips
from recognizer.bundle import read_manifest
from recognizer.manifest import ManifestError, load_manifest, read_table, write_table

BOTH = ("neural_rejection", "smoothing")
Edit = Callable[[pd.DataFrame], pd.DataFrame]


def edited(tone_manifest: Path, folder: Path, edit: Edit) -> Path:
    """Another manifest of the same clips."""
    table = read_table(tone_manifest)
    table["path"] = [str(tone_manifest.parent / p) for p in table["path"]]
    write_table(edit(table), folder / "manifest.csv")
    return folder / "manifest.csv"


def test_only_the_chosen_split_comes_back(tone_manifest: Path) -> None:
    for split in ("validation", "train"):
        found = load_tuning_clips(tone_manifest, split=split)
        assert set(found.clips.table["split"]) == {split}
        assert len(found.clips.table) == 96


@pytest.mark.parametrize("split", ["test", "TEST", " Test "])
def test_the_test_split_is_refused_however_it_is_spelt(tone_manifest: Path, split: str) -> None:
    with pytest.raises(TunedOnTest, match="never tuned on test clips"):
        load_tuning_clips(tone_manifest, split=split)


@pytest.mark.parametrize("split", ["", "dev", "validation,test"])
def test_another_split_is_none(tone_manifest: Path, split: str) -> None:
    with pytest.raises(ManifestError, match="validation or train is accepted"):
        load_tuning_clips(tone_manifest, split=split)


def test_another_column_does_not_make_test_clips_validation_clips(tone_manifest: Path, tmp_path: Path) -> None:
    path = edited(tone_manifest, tmp_path, lambda table: table.assign(mine="validation"))
    with pytest.raises(TunedOnTest, match="'mine' can't stand in for it"):
        load_tuning_clips(path, columns={"split": "mine"})


def test_another_column_may_be_the_only_split(tone_manifest: Path, tmp_path: Path) -> None:
    path = edited(tone_manifest, tmp_path, lambda table: table.rename(columns={"split": "fold"}))
    found = load_tuning_clips(path, columns={"split": "fold"})
    assert found.clips.table["path"].str.contains("validation-").all()
    with pytest.raises(ManifestError, match="no column split"):
        load_tuning_clips(path)


@pytest.mark.parametrize("link", [os.symlink, os.link, shutil.copy])
def test_a_test_clip_under_another_name_is_refused(
    tone_manifest: Path, tmp_path: Path, link: Callable[[Path, Path], None]
) -> None:
    held_out = next(p for p in load_manifest(tone_manifest).split("test").table["path"])
    link(Path(held_out), tmp_path / "renamed.wav")

    def smuggle(table: pd.DataFrame) -> pd.DataFrame:
        row = table[table["split"] == "validation"].iloc[[0]].assign(path=str(tmp_path / "renamed.wav"))
        return pd.concat([table, row], ignore_index=True)

    with pytest.raises(TunedOnTest, match=r"1 clips are files of the test split.*renamed\.wav"):
        load_tuning_clips(edited(tone_manifest, tmp_path, smuggle))


def test_a_manifest_without_validation_clips_is_refused(tone_manifest: Path, tmp_path: Path) -> None:
    path = edited(tone_manifest, tmp_path, lambda table: table[table["split"] == "test"])
    with pytest.raises(ManifestError, match="no clip is in the split validation"):
        load_tuning_clips(path)


def test_cautions_tell_the_bundles_own_validation_clips_from_others(
    tone_manifest: Path, bundle: Path, tmp_path: Path
) -> None:
    manifest = read_manifest(bundle)
    own = " ".join(load_tuning_clips(tone_manifest).cautions(manifest, defenses=BOTH))
    assert "networks were selected on these clips" in own
    assert "another manifest" not in own
    other_path = edited(tone_manifest, tmp_path, lambda table: table[table["split"] != "test"])
    other = " ".join(load_tuning_clips(other_path).cautions(manifest, defenses=BOTH))
    assert "another manifest" in other
    assert "networks were selected on these clips" not in other
    assert "these are training clips" in " ".join(
        load_tuning_clips(tone_manifest, split="train").cautions(manifest, defenses=BOTH)
    )
    assert manifest.defenses.neural_rejection is not None
    assert manifest.defenses.neural_rejection.fitted_on in own
    without = " ".join(load_tuning_clips(tone_manifest).cautions(manifest, defenses=["smoothing"]))
    assert "networks were selected on these clips" in without
    assert "neural rejection" not in without


def test_other_attributes_than_the_usual_ones_can_be_tuned_on(tone_manifest: Path, tmp_path: Path) -> None:
    """And the fingerprint is that of the manifest as training with them reads it."""
    path = edited(tone_manifest, tmp_path, lambda table: table.assign(shoe=table["speaker"].str.len().astype(str)))
    found = load_tuning_clips(path, attributes=["shoe", "accent"])
    assert found.clips.attributes == ("shoe", "accent")
    assert set(found.clips.table["shoe"]) == {"23", "21"}
    assert found.fingerprint == load_manifest(path, attributes=["shoe", "accent"]).fingerprint()
    assert found.fingerprint != load_tuning_clips(path).fingerprint


def test_speakers_who_are_in_the_test_split_too_are_counted(tone_manifest: Path, bundle: Path, tmp_path: Path) -> None:
    assert load_tuning_clips(tone_manifest).speakers_in_test == 0
    path = edited(
        tone_manifest,
        tmp_path,
        lambda table: table.assign(speaker=table["speaker"].str.replace("test-north", "validation-north")),
    )
    found = load_tuning_clips(path)
    assert found.speakers_in_test == 2
    assert "2 speakers of these clips are in the test split too" in " ".join(
        found.cautions(read_manifest(bundle), defenses=BOTH)
    )
