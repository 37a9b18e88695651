"""`evenvoice corpus own --hold-out-fold`: as many manifests as folds, and each speaker in the test of one."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
from robot import Evenvoice


def test_each_fold_is_a_manifest_and_each_speaker_is_tested_in_one(
    evenvoice: Evenvoice, tone_manifest: Path, tmp_path: Path
) -> None:
    held = []
    for number in (1, 2, 3):
        out = tmp_path / str(number) / "manifest.csv"
        done = evenvoice(
            "corpus", "own", tone_manifest, "--attributes", "gender,accent", "--stratify", "gender",
            "--hold-out", tone_manifest, "--hold-out-fold", f"{number}/3", "--out", out,
        )  # fmt: skip
        assert done.code == 0, done.err
        test = pd.read_csv(out).query("split == 'test'").drop_duplicates("speaker")
        assert test["gender"].value_counts().to_dict() == {"female": 2, "male": 2}
        held += test["speaker"].tolist()
    assert sorted(held) == sorted(pd.read_csv(tone_manifest)["speaker"].unique())


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--hold-out-fold", "half"), "'half' is not I/K, such as 1/5"),
        (("--hold-out-fold", "4/3"), "the fold to hold out is 4/3"),
        (("--hold-out-fold", "1/3", "--hold-out-share", "0.5"), "--hold-out-share beside --hold-out-fold"),
        (("--ranges", "gender=0-9"), "two or more such as 0-3:4-6:7-10 are accepted"),
    ],
)
def test_what_is_no_fold_or_no_range_is_refused(
    evenvoice: Evenvoice, tone_manifest: Path, tmp_path: Path, options: tuple[str, ...], words: str
) -> None:
    given = ("corpus", "own", tone_manifest, "--attributes", "gender", "--hold-out", tone_manifest)
    done = evenvoice(*given, "--out", tmp_path / "m.csv", *options)
    assert done.code in (1, 2)
    assert words in done.err
    assert not (tmp_path / "m.csv").exists()
