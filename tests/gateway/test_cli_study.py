"""`evenvoice study`: run, stopped, gone on with; usage errors, and exit codes."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from robot import Evenvoice

from gateway.cli import study
from training.recipe import strong_recipe
from training.study import report
from training.study.folder import StudyFolder
from training.study.run import StudyOutcome

KEY = "m5-small_at0_noise0"
SMALL = (
    *("--splits", "closed", "--configurations", KEY, "--epochs", "2", "--training-clips", "30", "--clips", "2"),
    *("--steps", "1", "--draws", "10,20"),
)


def test_a_study_that_is_told_to_end_ends_at_once_and_the_same_command_goes_on(
    evenvoice: Evenvoice, tone_manifest: Path, tmp_path: Path
) -> None:
    out = tmp_path / "study"
    command = ["study", "run", str(tone_manifest), "--out", str(out), *SMALL]
    script = Path(sys.executable).with_name("evenvoice")
    child = subprocess.Popen([script, *command, "--workers", "2"], stderr=subprocess.PIPE, stdout=subprocess.DEVNULL)
    while not StudyFolder(out).network("closed", KEY).checkpoint.exists():
        assert child.poll() is None
        time.sleep(0.01)
    child.send_signal(signal.SIGTERM)
    _, said = child.communicate(timeout=60)
    assert child.returncode == 128 + signal.SIGTERM
    assert b"Traceback" not in said

    done = evenvoice(*command)
    assert done.code == 0, done
    assert f"parts of the study in {out} are done, 0 have no result" in done.out
    assert re.search(rf"closed {KEY}: .* of clean clips right, \d+ s \(\d+ of \d+, about \d+ min left\)", done.err)
    record = json.loads((out / "study.json").read_text())
    assert record["source"] == "manifest.csv"
    assert record["settings"] | {"splits": ["closed"], "clips": 2, "steps": 1, "draws": [10, 20]} == record["settings"]
    assert record["settings"]["epochs"] == 2
    assert (out / "closed" / "rejection" / "purification.parquet").exists()

    other = evenvoice(*command, "--seed", "1")
    assert other.code == 1
    assert (
        other.err.strip()
        .splitlines()[-1]
        .startswith(f"evenvoice: the study in {out} was begun with other settings: seed")
    )


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("--splits", "loose"),
        ("--configurations", "m5_at0_noise0"),
        ("--draws", "ten"),
        ("--draws", "0"),
        ("--epochs", "0"),
        ("--clips", "0"),
        ("--training-clips", "3"),
        ("--attack", "none"),
        ("--workers", "0"),
        ("--recipe", "weak"),
        ("--architecture", "m5-tricks"),
        ("--columns", "command"),
    ],
)
def test_an_option_that_means_nothing_is_a_usage_error(
    evenvoice: Evenvoice, tone_manifest: Path, tmp_path: Path, option: str, value: str
) -> None:
    done = evenvoice("study", "run", tone_manifest, "--out", tmp_path / "study", option, value)
    assert done.code == 2
    assert option in done.err
    assert not (tmp_path / "study").exists()


def test_a_manifest_that_is_not_there_is_one_line(evenvoice: Evenvoice, tmp_path: Path) -> None:
    done = evenvoice("study", "run", tmp_path / "nowhere.csv", "--out", tmp_path / "study")
    assert done.code == 1
    assert done.err == f"evenvoice: there is no manifest at {tmp_path / 'nowhere.csv'}\n"


@pytest.mark.parametrize("architecture", ["m5-small", "m5"])
@pytest.mark.parametrize("recipe", ["paper", "strong"])
def test_without_epochs_the_recipes_own_for_the_architecture_are_run(
    evenvoice: Evenvoice,
    tone_manifest: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    architecture: str,
    recipe: str,
) -> None:
    asked: list[tuple[str, str, int]] = []

    def remember(*arguments: object, **_: object) -> StudyOutcome:
        settings = arguments[2]
        asked.append((settings.recipe, settings.architecture, settings.epochs))  # type: ignore[attr-defined]
        return StudyOutcome(1, {})

    monkeypatch.setattr(study, "run_study", remember)
    options = ("--recipe", recipe, "--architecture", architecture)
    assert evenvoice("study", "run", tone_manifest, "--out", tmp_path, *options).code == 0
    expected = 1000 if recipe == "paper" else strong_recipe(architecture=architecture).epochs
    assert asked == [(recipe, architecture, expected)]


def test_a_part_without_a_result_is_exit_code_2_and_named(
    evenvoice: Evenvoice, tone_manifest: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    failed = {f"closed {KEY}": "the loss is no longer finite in epoch 3"}
    monkeypatch.setattr(study, "run_study", lambda *_, **__: StudyOutcome(40, failed))
    done = evenvoice("study", "run", tone_manifest, "--out", tmp_path)
    assert done.code == 2
    assert "40 parts of the study" in done.out
    assert f"closed {KEY}: the loss is no longer finite in epoch 3" in done.out


def test_a_report_is_written_beside_the_study_or_where_it_is_wanted(
    evenvoice: Evenvoice, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(report, "write_report", lambda folder, out: out / f"{folder.name}.html")
    beside = evenvoice("study", "report", tmp_path / "digits")
    elsewhere = evenvoice("study", "report", tmp_path / "digits", "--out", tmp_path / "page")
    assert beside.out == f"wrote {tmp_path / 'digits' / 'report' / 'digits.html'}\n"
    assert elsewhere.out == f"wrote {tmp_path / 'page' / 'digits.html'}\n"


def test_a_report_on_no_study_is_one_line(evenvoice: Evenvoice, tmp_path: Path) -> None:
    done = evenvoice("study", "report", tmp_path)
    assert done.code == 1
    assert done.err.startswith("evenvoice: ")
    assert len(done.err.strip().splitlines()) == 1
