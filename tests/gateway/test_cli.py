"""The command line: what each command gives, and one line for each error of the user's."""

from __future__ import annotations

import csv
import json
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile
from robot import Door, Evenvoice, Run, Spoken, encoded

from gateway.cli.main import _COMMANDS
from monitoring.audit import AuditReport
from recognizer.bundle import load_bundle, read_manifest, version_of
from training.recipe import Recipe, paper_recipe


def test_help_is_quick_and_lists_every_command() -> None:
    started = time.perf_counter()
    script = Path(sys.executable).with_name("evenvoice")
    done = subprocess.run([script, "--help"], capture_output=True, text=True, check=True)
    assert time.perf_counter() - started < 2.0
    assert all(f"\n  {name} " in done.stdout for name in _COMMANDS)


@pytest.mark.parametrize("name", sorted(_COMMANDS))
def test_every_command_exists_and_has_help(evenvoice: Evenvoice, name: str) -> None:
    done = evenvoice(name, "--help")
    assert done.code == 0
    assert "Usage: evenvoice" in done.out or f"Usage: {Path(sys.argv[0]).name}" in done.out


def test_the_version_is_the_packages(evenvoice: Evenvoice) -> None:
    from importlib.metadata import version

    assert evenvoice("--version").out.strip() == f"evenvoice, version {version('evenvoice')}"


def test_a_command_that_is_none_is_a_usage_error(evenvoice: Evenvoice) -> None:
    done = evenvoice("listen-to-me")
    assert done.code == 2
    assert "No such command" in done.err


def refused(done: Run, *words: str, code: int = 1) -> None:
    """One line on standard error, exit code 1 or, where codes are verdicts, 3."""
    assert done.code == code, done
    assert done.err.startswith("evenvoice: ")
    assert len(done.err.strip().splitlines()) == 1
    for word in words:
        assert word in done.err


def test_a_bundle_that_is_not_there_is_one_line(evenvoice: Evenvoice, spoken: Spoken, tmp_path: Path) -> None:
    nowhere = tmp_path / "nowhere"
    for arguments in (("bundle", "show", nowhere), ("bundle", "check", nowhere)):
        refused(evenvoice(*arguments), f"there is no bundle folder {nowhere}")
    refused(evenvoice("classify", spoken.path, "--bundle", nowhere), "no bundle folder")
    refused(evenvoice("classify", spoken.path, "--bundle", tmp_path), "is no bundle")


def test_a_manifest_that_is_not_there_is_one_line(evenvoice: Evenvoice, bundle: Path, tmp_path: Path) -> None:
    nowhere = tmp_path / "nowhere.csv"
    arguments = ("audit", "run", "--bundle", bundle, "--manifest", nowhere)
    refused(evenvoice(*arguments), f"no manifest at {nowhere}", code=3)
    refused(evenvoice("corpus", "describe", nowhere), f"no manifest at {nowhere}")
    refused(evenvoice("train", nowhere, "--out", tmp_path / "out"), f"no manifest at {nowhere}")


def test_a_missing_column_is_one_line_that_names_it(evenvoice: Evenvoice, bundle: Path, tmp_path: Path) -> None:
    manifest = tmp_path / "m.csv"
    manifest.write_text("path,label,speaker\na.wav,go,s1\n")
    audit = ("audit", "run", "--bundle", bundle, "--manifest", manifest)
    for arguments, code in ((audit, 3), (("corpus", "describe", manifest), 1)):
        refused(evenvoice(*arguments), "no column command", "--columns command=label", code=code)
    refused(evenvoice("corpus", "describe", manifest, "--columns", "command=word"), "no column 'word'")


def test_a_pair_that_is_none_is_a_usage_error(evenvoice: Evenvoice, tone_manifest: Path) -> None:
    done = evenvoice("corpus", "describe", tone_manifest, "--columns", "command")
    assert done.code == 2
    assert "NAME=NAME" in done.err


@pytest.mark.parametrize(
    ("command", "option", "value"),
    [
        ("audit run", "--min-speakers", "9"),
        ("audit run", "--tolerance", "-1"),
        ("audit run", "--tolerance", "2"),
        ("train", "--sigma", "0"),
        ("train", "--error-alpha", "0"),
        ("train", "--error-alpha", "1.5"),
        ("train", "--draws", "0"),
        ("train", "--confidence-threshold", "2"),
        ("train", "--epochs", "0"),
        ("train", "--adversarial-eps", "-0.1"),
        ("train", "--recipe", "weak"),
        ("train", "--precision", "float16"),
        ("train", "--learning-rate", "nan"),
        ("train", "--learning-rate", "inf"),
        ("train", "--sigma", "nan"),
        ("train", "--confidence-threshold", "nan"),
        ("train", "--device", "mars"),
        ("audit run", "--tolerance", "nan"),
        ("audit run", "--device", "mars"),
    ],
)
def test_a_setting_that_means_nothing_is_a_usage_error(
    evenvoice: Evenvoice, bundle: Path, tone_manifest: Path, tmp_path: Path, command: str, option: str, value: str
) -> None:
    rest = ["--bundle", bundle, "--manifest", tone_manifest] if command == "audit run" else [tone_manifest]
    done = evenvoice(*command.split(), *rest, "--out", tmp_path / "out", option, value)
    assert done.code == (3 if command == "audit run" else 2)  # 2 is a verdict of an audit
    assert option in done.err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("command", ["classify", "serve", "study run", "train"])
@pytest.mark.parametrize("device", ["mars", "meta"])
def test_a_device_that_computes_nothing_is_refused_before_anything_is_read(
    evenvoice: Evenvoice, tmp_path: Path, command: str, device: str
) -> None:
    nowhere = tmp_path / "nowhere"
    given = ["--bundle", nowhere] if command in ("classify", "serve") else ["--out", tmp_path / "out"]
    files = [] if command == "serve" else [nowhere]
    done = evenvoice(*command.split(), *files, *given, "--device", device)
    assert done.code == 2
    assert f"'--device': '{device}' can't be used here" in done.err


@pytest.mark.parametrize("out", [".", "..", "/"])
def test_a_bundle_needs_a_folder_of_its_own(evenvoice: Evenvoice, tone_manifest: Path, out: str) -> None:
    done = evenvoice("train", tone_manifest, "--out", out)
    assert done.code == 2
    assert f"'--out': '{out}' names no new folder" in done.err


def test_smoothing_that_could_never_accept_is_refused_before_training(
    evenvoice: Evenvoice, tone_manifest: Path, tmp_path: Path
) -> None:
    done = evenvoice("train", tone_manifest, "--out", tmp_path / "out", "--draws", "5", "--error-alpha", "0.001")
    refused(done, "at least 11 draws")  # 2^(1 - N) <= 0.001


def test_train_takes_a_recipe_and_changes_to_it(evenvoice: Evenvoice, tone_manifest: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    options = ["--recipe", "paper", "--architecture", "m5-small", "--epochs", "1", "--adversarial-eps", "0.001"]
    done = evenvoice("train", tone_manifest, "--out", out, *options)
    assert done.code == 0, done.err
    recipe = Recipe.model_validate(read_manifest(out).training["recipe"])
    assert recipe == paper_recipe(architecture="m5-small", epochs=1, adversarial_eps=0.001)
    assert [p.name for p in tmp_path.iterdir() if p.name.startswith("out")] == ["out"]  # no checkpoints are left


def test_train_writes_the_defenses_that_are_allowed(evenvoice: Evenvoice, tone_manifest: Path, tmp_path: Path) -> None:
    both, purified = "neural_rejection.smoothing", "opus.low_pass.smoothing"
    options = ["--epochs", "1", "--architecture", "m5-small", "--allow", both, "--allow", purified]
    options += ["--purifier", "opus:bitrate=12000", "--purifier", "low_pass:cutoff=2500.5", "--default-defense", both]
    options += ["--score", "margin"]
    done = evenvoice("train", tone_manifest, "--out", tmp_path / "out", *options)
    assert done.code == 0, done.err
    manifest = read_manifest(tmp_path / "out")
    defenses = manifest.defenses
    assert (defenses.allowed, defenses.default) == ((both, purified), both)
    assert defenses.neural_rejection is not None
    assert defenses.neural_rejection.score == "margin"
    assert manifest.test_results["far_from_data"]["says"] in " ".join(done.out.split())
    assert (defenses.purifiers["opus"]["bitrate"], defenses.purifiers["low_pass"]["cutoff"]) == (12_000, 2500.5)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--allow", "opus.opus"], "'opus' comes twice"),
        (["--default-defense", "luck"], "there is no step 'luck'; accepted are none, or"),
        (["--allow", "none"], "the default defense smoothing is none of those allowed, none; allow it, too"),
        (["--default-defense", "opus"], "the default defense opus is none of those allowed, none, neural_rejection"),
        (["--allow", "smoothing", "--allow", "opus", "--purifier", "opus=9"], "NAME:SETTING=NUMBER is accepted"),
        (["--purifier", "opus:bitrate=12000"], "the purifiers opus are set, and no defense that is allowed takes them"),
        (
            ["--allow", "smoothing", "--allow", "opus", "--purifier", "opus:bitrate=1"],
            "'opus' can't be set so: bitrate",
        ),
    ],
)
def test_defenses_that_can_not_be_are_a_usage_error_before_training(
    evenvoice: Evenvoice, tone_manifest: Path, tmp_path: Path, options: list[str], words: str
) -> None:
    done = evenvoice("train", tone_manifest, "--out", tmp_path / "out", *options)
    assert done.code == 2
    assert words in " ".join(done.err.split())
    assert not (tmp_path / "out").exists()


def test_training_on_another_trainings_checkpoints_is_one_line(
    evenvoice: Evenvoice, tone_manifest: Path, tmp_path: Path
) -> None:
    (tmp_path / "out.training").mkdir()
    (tmp_path / "out.training" / "clean.pt").write_bytes(b"not one")
    done = evenvoice("train", tone_manifest, "--out", tmp_path / "out", "--epochs", "1")
    *reading, last = done.err.splitlines(keepends=True)
    assert all(line.startswith("reading ") for line in reading)
    refused(Run(done.code, done.out, last), "out.training/clean.pt can't be read; remove it to begin anew")


def test_classify_says_what_the_server_says(evenvoice: Evenvoice, door: Door, bundle: Path, spoken: Spoken) -> None:
    for defense in ("none", "neural_rejection"):
        done = evenvoice("classify", spoken.path, "--bundle", bundle, "--defense", defense, "--json")
        said = json.loads(done.out)
        served = door.decide(spoken.data, defense=defense).json()
        assert done.code == 0
        for key in ("decision", "command", "reason", "detail", "confidence"):
            assert said[key] == served[key], key
        assert said["top"] == served["top"]


def test_classify_with_a_seed_says_the_same_again(evenvoice: Evenvoice, bundle: Path, spoken: Spoken) -> None:
    arguments = ("classify", spoken.path, "--bundle", bundle, "--defense", "smoothing", "--seed", "7", "--json")
    once, again = evenvoice(*arguments), evenvoice(*arguments)
    assert once.out == again.out
    assert json.loads(once.out)["seed"] == 7


def test_a_broken_file_is_exit_code_2_and_the_others_are_still_decided(
    evenvoice: Evenvoice, bundle: Path, spoken: Spoken, tmp_path: Path
) -> None:
    broken, silent = tmp_path / "broken.wav", tmp_path / "silent.wav"
    broken.write_bytes(b"no audio")
    silent.write_bytes(encoded(np.zeros(8000)))
    files = (broken, tmp_path / "nowhere.wav", spoken.path, silent)
    done = evenvoice("classify", *files, "--bundle", bundle, "--defense", "none", "--json")
    rows = [json.loads(line) for line in done.out.splitlines()]
    assert done.code == 2
    assert [row["file"] for row in rows] == [str(f) for f in files]
    assert [row["decision"] for row in rows] == ["error", "error", "accept", "abstain"]
    assert [row["reason"] for row in rows] == [None, None, "ok", "no_speech"]
    table = evenvoice("classify", *files, "--bundle", bundle, "--defense", "none")
    assert table.code == 2
    assert spoken.command in table.out
    assert "no_speech" in table.out


def test_a_silent_file_is_an_abstention_and_no_failure(evenvoice: Evenvoice, bundle: Path, tmp_path: Path) -> None:
    silent = tmp_path / "silent.wav"
    silent.write_bytes(encoded(np.zeros(8000)))
    assert evenvoice("classify", silent, "--bundle", bundle).code == 0


def test_a_files_name_is_never_read_as_markup(
    evenvoice: Evenvoice, bundle: Path, spoken: Spoken, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    strange = Path(shutil.copy(spoken.path, tmp_path / "[bold]a[red].wav"))
    monkeypatch.chdir(tmp_path)
    done = evenvoice("classify", strange.name, "--bundle", bundle, "--defense", "none")
    assert done.code == 0
    assert "[bold]a[red].wav" in done.words.replace(" ", "")


def test_a_defense_the_bundle_lacks_is_one_line(evenvoice: Evenvoice, bundle: Path, spoken: Spoken) -> None:
    done = evenvoice("classify", spoken.path, "--bundle", bundle, "--defense", "shield")
    refused(done, "no defense 'shield'", "smoothing")


def test_bundle_show_prints_the_manifest_and_the_version(evenvoice: Evenvoice, bundle: Path) -> None:
    done = evenvoice("bundle", "show", bundle)
    text, _, last = done.out.rstrip("\n").rpartition("\n")
    assert done.code == 0
    assert json.loads(text) == json.loads((bundle / "bundle.json").read_text())
    assert last == version_of(bundle)


def test_bundle_check_loads_it_as_the_gateway_would(evenvoice: Evenvoice, bundle: Path, tmp_path: Path) -> None:
    done = evenvoice("bundle", "check", bundle)
    recognizer = load_bundle(bundle)
    assert done.code == 0
    assert f"{len(recognizer.labels)} labels" in done.words
    assert all(name in done.words for name in recognizer.defenses)

    damaged = tmp_path / "damaged"
    shutil.copytree(bundle, damaged)
    weights = next(damaged.glob("*.safetensors"))
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1  # one bit
    weights.write_bytes(content)
    refused(evenvoice("bundle", "check", damaged), weights.name, "damaged")


def test_audit_run_writes_files_that_agree(
    evenvoice: Evenvoice, bundle: Path, tone_manifest: Path, tmp_path: Path
) -> None:
    out = tmp_path / "audit"
    arguments = ("audit", "run", "--bundle", bundle, "--manifest", tone_manifest, "--attacked-clips", "0")
    done = evenvoice(*arguments, "--defense", "none", "--defense", "neural_rejection", "--out", out)
    assert done.code == 2, done.err  # four speakers
    files = {"audit.html", "audit.json", "audit.md", "outcomes.parquet", "shards", "state.json"}
    assert {p.name for p in out.iterdir()} == files
    report = AuditReport.model_validate_json((out / "audit.json").read_text())
    outcomes = pd.read_parquet(out / "outcomes.parquet")
    table = pd.read_csv(tone_manifest)
    test = table[table["split"] == "test"]
    assert report.bundle_version == version_of(bundle)
    assert report.clips == len(test)
    assert [r.defense for r in report.defenses] == ["none", "neural_rejection"]
    assert len(outcomes) == 2 * len(test)
    assert report.bundle_version in (out / "audit.md").read_text()
    assert "Gaps between groups" in done.out


def test_an_audit_of_a_split_without_clips_is_one_line(
    evenvoice: Evenvoice, bundle: Path, tone_manifest: Path, tmp_path: Path
) -> None:
    table = pd.read_csv(tone_manifest)
    table["path"] = [str(tone_manifest.parent / p) for p in table["path"]]
    table[table["split"] == "train"].to_csv(tmp_path / "m.csv", index=False)
    done = evenvoice("audit", "run", "--bundle", bundle, "--manifest", tmp_path / "m.csv")
    refused(done, "no clip is in the split test", "train", code=3)


def test_corpus_describe_counts_clips_and_speakers(evenvoice: Evenvoice, tone_manifest: Path) -> None:
    done = evenvoice("corpus", "describe", tone_manifest)
    table = pd.read_csv(tone_manifest)
    assert done.code == 0
    for accent, rows in table.groupby("accent"):
        per_split = rows.groupby("split").agg(clips=("path", "size"), speakers=("speaker", "nunique"))
        (line,) = (line for line in done.out.splitlines() if f" {accent} " in line and "/" in line)
        for split in ("train", "validation", "test"):
            clips, speakers = per_split.loc[split]
            assert f"{clips} / {speakers}" in line


@pytest.fixture
def own_folder(tmp_path: Path) -> Path:
    """Two commands of six speakers, three times each."""
    root = tmp_path / "own"
    noise = np.random.default_rng(0).uniform(-0.5, 0.5, 8000)
    for command in ("up", "down"):
        (root / command).mkdir(parents=True)
        for speaker in range(6):
            for take in range(3):
                soundfile.write(root / command / f"p{speaker}_{take}.wav", noise, 16_000)
    return root


def test_corpus_folder_makes_a_manifest_that_audits_and_training_read(
    evenvoice: Evenvoice, own_folder: Path, tmp_path: Path
) -> None:
    out = tmp_path / "own.csv"
    done = evenvoice("corpus", "folder", own_folder, "--out", out, "--split", "open")
    assert done.code == 0, done.err
    table = pd.read_csv(out, dtype=str)
    assert len(table) == 36
    assert set(table["command"]) == {"up", "down"}
    assert set(table["speaker"].str[-2:]) == {f"p{i}" for i in range(6)}
    assert (table.groupby("speaker")["split"].nunique() == 1).all()
    assert evenvoice("corpus", "describe", out).code == 0
    refused(evenvoice("corpus", "folder", tmp_path / "nowhere", "--out", out))


def test_corpus_own_maps_columns_and_labels_the_rest_unknown(
    evenvoice: Evenvoice, own_folder: Path, tmp_path: Path
) -> None:
    rows = [
        {"path": str(path), "label": path.parent.name, "person": path.name[:2], "accent": " North "}
        for path in sorted(own_folder.rglob("*.wav"))
    ]
    with (tmp_path / "mine.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    out = tmp_path / "out.parquet"
    done = evenvoice(
        "corpus", "own", tmp_path / "mine.csv", "--out", out, "--columns", "command=label,speaker=person",
        "--attributes", "accent", "--commands", "up", "--split", "open",
    )  # fmt: skip
    assert done.code == 0, done.err
    table = pd.read_parquet(out)
    assert table["command"].value_counts().to_dict() == {"up": 18, "unknown": 18}
    assert set(table["accent"]) == {"north"}
    assert table["speaker"].nunique() == 6
    done = evenvoice(
        "corpus", "own", tmp_path / "mine.csv", "--out", out, "--columns", "command=label,speaker=person",
        "--attributes", "accent", "--commands", "up", "--sounds", "0.25", "--pseudo-words", "0.5",
    )  # fmt: skip
    assert done.code == 0, done.err
    table = pd.read_parquet(out)
    made = table[table["path"].str.startswith("sounds/")]
    for split, clips in table[table["command"] == "up"]["split"].value_counts().items():
        of_split = made[made["split"] == split]["sound"].value_counts()
        assert of_split.get("music", 0) == round(0.25 * clips)
        assert of_split.get("pseudo-word", 0) == round(0.5 * clips)
    assert set(made["command"]) == {"unknown"}
    assert all((tmp_path / path).is_file() for path in made["path"])
    assert evenvoice("corpus", "own", tmp_path / "mine.csv", "--out", out, "--sounds", "-1").code == 2


def test_serve_wants_a_port_and_a_bundle(evenvoice: Evenvoice) -> None:
    assert evenvoice("serve").code == 2
    assert evenvoice("serve", "--bundle", "x", "--port", "0").code == 2
    assert evenvoice("serve", "--bundle", "x", "--workers", "0").code == 2


def test_a_state_folder_that_cannot_be_made_is_one_line(evenvoice: Evenvoice, bundle: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    done = evenvoice("serve", "--bundle", bundle, "--state", tmp_path / "file" / "state")
    refused(done, str(tmp_path / "file"))
