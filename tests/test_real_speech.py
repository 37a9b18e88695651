"""The README's run on real digits, smaller: manifest, bundle and audit through the same code."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from monitoring.audit import run_audit
from monitoring.measured import AuditSettings
from recognizer.bundle import load_bundle
from recognizer.defense import DefenseName
from recognizer.manifest import Manifest
from training.build import BuildSettings, build_bundle
from training.corpora.audiomnist import DIGITS
from training.corpora.folder import own_manifest
from training.hardening import Recipe

CORPORA = ("fsdd", "kokoro20", "speech_commands_mini", "duke_digits")
CHANCE = 1 / len(DIGITS)


@pytest.fixture(scope="module")
def digits(speech: Path) -> Manifest:
    held_out = speech / "duke_digits" / "manifest.csv"
    return own_manifest(
        [speech / name / "manifest.csv" for name in CORPORA],
        columns={"command": "label"},
        commands=DIGITS,
        others="drop",
        native_from="native",
        attributes=("gender", "native", "age"),
        hold_out_from=[held_out],
        hold_out_share=0.55,
        stratify=("gender",),
    ).manifest


def test_test_speakers_are_duke_speakers_that_training_never_heard(digits: Manifest, speech: Path) -> None:
    duke = set(pd.read_csv(speech / "duke_digits" / "manifest.csv")["speaker"])
    test = set(digits.split("test").table["speaker"])
    assert len(test) == round(0.55 * len(duke))
    assert test < duke
    assert not test & set(digits.split("train", "validation").table["speaker"])


def test_a_short_training_on_real_digits_hears_unseen_speakers(digits: Manifest, tmp_path: Path) -> None:
    settings = BuildSettings(name="digits", recipe=Recipe(epochs=8, clips_a_speaker=12), draws=20)
    build_bundle(digits, tmp_path / "bundle", settings)
    test = digits.split("test")
    report, outcomes = run_audit(
        load_bundle(tmp_path / "bundle"), test, source="digits", settings=AuditSettings(min_speakers=10)
    )
    assert report.unheard == ()
    assert len(outcomes) == len(DefenseName) * len(test.table)
    for result in report.defenses:
        assert result.overall.speakers == test.table["speaker"].nunique()
        assert result.overall.accuracy.mean > 3 * CHANCE
        gender = next(a for a in result.attributes if a.attribute == "gender")
        assert {g.group for g in gender.groups} == set(test.table["gender"])
        assert all(gap.compared == ("female", "male") for gap in gender.gaps)
