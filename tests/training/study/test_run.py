"""A whole tiny study: its files, killed and gone on with, in several processes, and with all that can go wrong."""

from __future__ import annotations

import json
import math
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import psutil
import pytest
import soundfile
import torch

from recognizer import whole_file
from recognizer.audio import AudioFormat
from recognizer.manifest import ManifestError, load_manifest
from recognizer.progress import Stage, silent
from training.corpora.splits import SplitKind
from training.hardening import TrainingError
from training.study import hardened
from training.study.begin import begin
from training.study.evaluation import evaluate_network
from training.study.folder import StudyError, StudyFolder
from training.study.jobs import Finished
from training.study.run import StudyOutcome, run_study
from training.study.settings import StudyRecord, StudySettings

PLAIN, TRICKS, SMOOTHED = "m5-small_at0_noise0", "m5-small-tricks_at0.001_noise0", "m5-small_at0_noise0.1_smoothing"
TABLES = ("neural_rejection", "smoothing", "under_attack", "purification")
SETTINGS = StudySettings(
    splits=("open",),
    epochs=2,
    clips=6,
    training_clips=40,
    configurations=(TRICKS,),
    eps_grid=(0.001, 0.05),
    purifiers=("low_pass", "quantisation"),
    purification_eps=(0.01,),
    steps=2,
    draws=(10, 60),
    eot_draws=12,
)


def run(
    manifest: Path,
    out: Path,
    settings: StudySettings = SETTINGS,
    *,
    workers: int = 1,
    on_progress: Callable[[Stage], None] = silent,
    on_finished: Callable[[Finished], None] = lambda _: None,
    on_stage: Callable[[Stage], None] = silent,
) -> StudyOutcome:
    return run_study(
        load_manifest(manifest),
        out,
        settings,
        source=manifest.name,
        workers=workers,
        on_progress=on_progress,
        on_finished=lambda finished, stage: (on_finished(finished), on_stage(stage))[0],
    )


@pytest.fixture(scope="session")
def finished(tone_manifest: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study of the tones, run in one go. Read only: break a copy."""
    out = tmp_path_factory.mktemp("studies") / "whole"
    assert run(tone_manifest, out).failed == {}
    return out


@pytest.fixture
def copy(finished: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(finished, tmp_path / "study"))


def forget(study: Path, key: str) -> Path:
    """Take a network's results away."""
    home = study / "open" / "networks" / key
    shutil.rmtree(home)
    return home


def tables_of(study: Path) -> dict[str, pd.DataFrame]:
    """Every table but the pieces, without what a clock measured."""
    paths = sorted(p for p in study.rglob("*.parquet") if p.parent.name != "pieces")
    return {str(p.relative_to(study)): pd.read_parquet(p).drop(columns="seconds", errors="ignore") for p in paths}


def same(one: Path, other: Path) -> None:
    """Two studies' tables, weights and training histories are equal to the last bit."""
    first, second = tables_of(one), tables_of(other)
    assert list(first) == list(second)
    for name, table in first.items():
        pd.testing.assert_frame_equal(table, second[name], check_exact=True)
    weights = sorted(str(p.relative_to(one)) for p in one.rglob("*.safetensors"))
    assert len(weights) == 4
    for name in weights:
        assert (one / name).read_bytes() == (other / name).read_bytes(), name
    for name in (PLAIN, TRICKS, SMOOTHED):
        histories = [
            json.loads((s / "open/networks" / name / "training.json").read_text())["history"] for s in (one, other)
        ]
        assert histories[0] == histories[1]


# What a study leaves behind


def test_every_file_of_the_contract_is_there_with_its_columns(finished: Path) -> None:
    found = {name: list(table) for name, table in tables_of(finished).items()}
    assert found == {
        "open/loudness.parquet": ["clip", "rms"],
        "open/clips.parquet": ["clip", "speaker", "command", "split", "is_attacked", "accent", "gender"],
        **{
            f"open/networks/{k}/outcomes.parquet": ["clip", "eps", "is_correct", "snr_db"]
            for k in (PLAIN, TRICKS, SMOOTHED)
        },
        "open/rejection/neural_rejection.parquet": ["clip", "draws", "score", "confidence", "is_right"],
        "open/rejection/smoothing.parquet": ["clip", "draws", "score", "p_value", "is_right"],
        "open/rejection/under_attack.parquet": ["defense", "attack", "eps", "clip", "outcome"],
        "open/rejection/purification.parquet": ["purifier", "attack", "eps", "clip", "is_correct"],
    }
    for key in (PLAIN, TRICKS, SMOOTHED):
        home = finished / "open" / "networks" / key
        names = ["done.json", "health.json", "network.safetensors", "outcomes.parquet", "training.json"]
        assert sorted(p.name for p in home.iterdir()) == names
    assert not list(finished.rglob("*.unfinished"))


def test_clean_outcomes_are_of_every_test_clip_and_attacked_ones_of_the_chosen(finished: Path) -> None:
    clips = pd.read_parquet(finished / "open/clips.parquet")
    test, attacked = set(clips.loc[clips["split"] == "test", "clip"]), set(clips.loc[clips["is_attacked"], "clip"])
    assert len(attacked) == 6
    assert len(test) == 54  # 3 speakers, 3 commands, 6 takes; `unknown` is left out
    for key in (PLAIN, TRICKS, SMOOTHED):
        outcomes = pd.read_parquet(finished / "open/networks" / key / "outcomes.parquet")
        heard = {eps: set(part["clip"]) for eps, part in outcomes.groupby("eps")}
        assert heard == {0.0: test, 0.001: attacked, 0.05: attacked}
    rejection = finished / "open/rejection"
    assert set(pd.read_parquet(rejection / "neural_rejection.parquet")["clip"]) == test
    assert set(pd.read_parquet(rejection / "smoothing.parquet")["clip"]) == attacked
    under_attack = pd.read_parquet(rejection / "under_attack.parquet")
    assert under_attack.groupby(["defense", "attack", "eps"]).size().eq(6).all()
    assert len(under_attack) == 2 * 2 * 3 * 6
    assert pd.read_parquet(rejection / "purification.parquet").groupby(["purifier", "attack"]).ngroups == 4


def test_loudness_is_the_root_mean_square_of_what_a_network_hears(finished: Path, tone_manifest: Path) -> None:
    loudness = pd.read_parquet(finished / "open/loudness.parquet").set_index("clip")["rms"]
    clips = pd.read_parquet(finished / "open/clips.parquet")
    assert set(loudness.index) == set(clips.loc[clips["is_attacked"], "clip"])
    manifest = load_manifest(tone_manifest)
    path_of = dict(zip(manifest.clip_ids, manifest.table["path"], strict=True))
    for clip, rms in loudness.items():
        samples, _ = soundfile.read(path_of[clip])  # shorter than the window, which is zeros around it
        assert rms == pytest.approx(math.sqrt(sum(x * x for x in samples) / AudioFormat().window), rel=1e-4)


def test_what_neural_rejection_was_fitted_on_is_kept_in_words(finished: Path) -> None:
    told = json.loads((finished / "open/rejection/neural_rejection.json").read_text())
    assert re.match(r"\d+ (training|held-out) clips", told["fitted_on"])


def test_the_record_says_what_was_run_on_what(finished: Path, tone_manifest: Path) -> None:
    record = StudyRecord.model_validate_json((finished / "study.json").read_bytes())
    assert record.settings == SETTINGS
    assert record.labels == ("go", "left", "right")
    assert record.attributes == ("accent", "gender")
    assert record.manifest == load_manifest(tone_manifest).fingerprint()
    assert record.notes[0] == "72 clips that are labelled 'unknown', and so no command, are left out"


def test_a_networks_record_says_how_it_was_hardened(finished: Path) -> None:
    told = json.loads((finished / "open/networks" / TRICKS / "training.json").read_text())
    assert told["configuration"] == {
        "tricks": True,
        "adversarial_eps": 0.001,
        "noise_sigma": 0.0,
        "select_under_noise": False,
    }
    assert told["recipe"]["architecture"] == "m5-small-tricks"
    assert [epoch["number"] for epoch in told["history"]] == [1, 2]
    assert told["best"] in told["history"]
    assert told["parameters"] == 24_906 - 7 * 65  # the published count at 10 labels, here 3
    health = json.loads((finished / "open/networks" / TRICKS / "health.json").read_text())
    assert (health["attack"], health["steps"]) == ("nested", 2)


def test_networks_are_trained_from_seeds_of_their_own(finished: Path) -> None:
    seeds = {json.loads(path.read_text())["recipe"]["seed"] for path in finished.glob("open/networks/*/training.json")}
    assert len(seeds) == 3


# Going on


def test_a_finished_study_is_not_done_again(tone_manifest: Path, copy: Path, finished: Path) -> None:
    told: list[Finished] = []
    outcome = run(tone_manifest, copy, on_finished=told.append)
    assert told == []
    assert outcome == StudyOutcome(done=1 + 3 + 1 + 1 + 4 + 2, failed={})
    same(copy, finished)


def test_what_is_missing_is_done_and_nothing_else(tone_manifest: Path, copy: Path, finished: Path) -> None:
    forget(copy, TRICKS)
    (copy / "open/rejection/pieces/smoothing-0000.parquet").unlink()
    told: list[str] = []
    stages: list[Stage] = []
    told_of: list[Stage] = []
    run(
        tone_manifest,
        copy,
        on_finished=lambda f: told.append(f.job.name),
        on_stage=told_of.append,
        on_progress=stages.append,
    )
    assert told == [f"open {TRICKS}", "open smoothing-0000"]
    whole = [stage for stage in stages if stage.name == "the study"]
    assert whole == told_of
    assert [(stage.done, stage.total) for stage in whole] == [(11, 12), (12, 12)]
    assert whole[0].note.endswith("min left")
    same(copy, finished)


CHILD = """
import sys, torch
from pathlib import Path
from recognizer.manifest import load_manifest
from training.study.run import run_study
from training.study.settings import StudySettings
torch.set_num_threads(1)
manifest, out, settings, workers = sys.argv[1:]
run_study(load_manifest(Path(manifest)), Path(out), StudySettings.model_validate_json(settings), source="manifest.csv",
          workers=int(workers))
"""


def start(manifest: Path, out: Path, *, workers: int = 1) -> subprocess.Popen[bytes]:
    arguments = [sys.executable, "-c", CHILD, manifest, out, SETTINGS.model_dump_json(), str(workers)]
    return subprocess.Popen(arguments, env={**os.environ, "OMP_NUM_THREADS": "1"}, stderr=subprocess.DEVNULL)


def kill_once(there: Callable[[], bool], child: subprocess.Popen[bytes]) -> None:
    """SIGKILL a process as soon as something holds; its own children end with it."""
    while not there():
        assert child.poll() is None, "the study ended before it could be killed"
        time.sleep(0.01)
    workers = psutil.Process(child.pid).children(recursive=True)
    child.kill()
    assert child.wait() == -signal.SIGKILL
    _, alive = psutil.wait_procs(workers, timeout=30)
    assert not alive


def test_killed_in_training_and_in_rejection_it_ends_as_if_it_had_not_been(
    tone_manifest: Path, finished: Path, tmp_path: Path
) -> None:
    out = tmp_path / "study"
    folder = StudyFolder(out)
    kill_once(folder.network("open", TRICKS).checkpoint.exists, start(tone_manifest, out, workers=2))
    assert not folder.network("open", TRICKS).done.exists()
    kill_once((folder.rejection("open") / "pieces" / "smoothing-0000.parquet").exists, start(tone_manifest, out))
    assert not (folder.rejection("open") / "purification.parquet").exists()
    assert run(tone_manifest, out).failed == {}
    same(out, finished)


def test_two_workers_give_what_one_gives(tone_manifest: Path, finished: Path, tmp_path: Path) -> None:
    told: list[str] = []
    outcome = run(tone_manifest, tmp_path / "study", workers=2, on_finished=lambda f: told.append(f.job.name))
    assert outcome == StudyOutcome(done=12, failed={})
    assert len(set(told)) == 12
    same(tmp_path / "study", finished)


def test_a_table_is_there_as_soon_as_its_last_piece_is(tone_manifest: Path, copy: Path) -> None:
    rejection = copy / "open/rejection"
    shutil.rmtree(rejection)
    joined: dict[str, bool] = {}

    def look(finished: Finished) -> None:
        joined[finished.job.stem] = (rejection / "smoothing.parquet").exists()

    run(tone_manifest, copy, on_finished=look)
    after = list(joined)[list(joined).index("smoothing-0000") + 1 :]
    assert not joined["smoothing-0000"]  # told of before it is joined
    assert len(after) == 6
    assert all(joined[stem] for stem in after)


def test_another_version_is_warned_of_and_put_on_record(
    tone_manifest: Path, copy: Path, caplog: pytest.LogCaptureFixture
) -> None:
    old = json.loads((copy / "study.json").read_text())
    del old["gone_on_with"]  # as it was written before there was any
    old["versions"]["torch"] = "1.13.0"
    (copy / "study.json").write_text(json.dumps(old))
    run(tone_manifest, copy)
    assert json.loads((copy / "study.json").read_text()) == old  # nothing was left to do
    (copy / "open/loudness.parquet").unlink()
    run(tone_manifest, copy)
    assert f"torch was 1.13.0 and is now {torch.__version__}" in caplog.text
    record = StudyRecord.model_validate_json((copy / "study.json").read_bytes())
    assert (record.versions.torch, [each.torch for each in record.gone_on_with]) == ("1.13.0", [torch.__version__])
    caplog.clear()
    (copy / "open/loudness.parquet").unlink()
    run(tone_manifest, copy)
    assert "other versions" not in caplog.text
    assert StudyRecord.model_validate_json((copy / "study.json").read_bytes()) == record


# What can go wrong


@pytest.fixture
def diverging(monkeypatch: pytest.MonkeyPatch) -> None:
    """Training with Tricks ends in a loss that is not finite."""
    fit_network = hardened.fit_network

    def fit(*arguments: object, **options: object) -> object:
        if "tricks" in arguments[3].architecture:  # type: ignore[attr-defined]
            raise TrainingError("the loss is no longer finite in epoch 1; take a smaller learning rate")
        return fit_network(*arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(hardened, "fit_network", fit)


@pytest.mark.usefixtures("diverging")
def test_a_configuration_without_a_network_is_told_and_the_others_go_on(
    tone_manifest: Path, copy: Path, finished: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = forget(copy, TRICKS)
    forget(copy, SMOOTHED)
    outcome = run(tone_manifest, copy)
    words = "the loss is no longer finite in epoch 1; take a smaller learning rate"
    assert outcome.failed == {f"open {TRICKS}": words}
    assert json.loads((home / "failed.json").read_text()) == {"error": words}
    assert not (home / "done.json").exists()
    assert (copy / "open/networks" / SMOOTHED / "done.json").exists()
    monkeypatch.undo()
    assert run(tone_manifest, copy).failed == {}
    assert not (home / "failed.json").exists()
    same(copy, finished)


def test_without_the_undefended_network_what_sits_on_it_says_so(
    tone_manifest: Path, copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    forget(copy, PLAIN)
    shutil.rmtree(copy / "open/rejection")

    def diverge(*_: object, **__: object) -> None:
        raise TrainingError("diverged")

    monkeypatch.setattr(hardened, "fit_network", diverge)
    failed = run(tone_manifest, copy).failed
    assert failed.pop(f"open {PLAIN}") == "diverged"
    assert set(failed.values()) == {f"the network {PLAIN} of the open split, on which this sits, is missing"}
    assert len(failed) == 1 + 2 + 2  # NR, its two attackers, two purifiers
    assert [p.name for p in sorted((copy / "open/rejection").glob("*.parquet"))] == [
        "smoothing.parquet",
        "under_attack.parquet",
    ]


def test_a_full_disk_stops_the_study_and_leaves_what_is_finished(
    tone_manifest: Path, copy: Path, finished: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = forget(copy, TRICKS)
    forget(copy, SMOOTHED)

    class FullDisk:
        getpid = os.getpid

        @staticmethod
        def fsync(descriptor: int) -> None:
            if TRICKS in str(Path(f"/proc/self/fd/{descriptor}").readlink()):
                raise OSError(28, "No space left on device")

    monkeypatch.setattr(whole_file, "os", FullDisk)
    with pytest.raises(StudyError, match=r"network.safetensors can't be written: No space left on device"):
        run(tone_manifest, copy)
    assert [p.name for p in home.iterdir()] == ["checkpoint.pt"]
    assert (copy / "open/networks" / PLAIN / "done.json").exists()
    assert not (copy / "open/networks" / SMOOTHED).exists()
    monkeypatch.undo()
    run(tone_manifest, copy)
    same(copy, finished)


def test_two_runs_on_one_folder_are_one_too_many(tone_manifest: Path, copy: Path) -> None:
    with StudyFolder(copy).locked(), pytest.raises(StudyError, match=r"another run .* is at work in"):
        run(tone_manifest, copy)


def test_other_settings_are_refused_by_name(tone_manifest: Path, copy: Path) -> None:
    other = SETTINGS.model_copy(update={"epochs": 3, "seed": 1})
    with pytest.raises(StudyError, match=r"epochs was 2 and is now 3; seed was 0 and is now 1. Give those again"):
        run(tone_manifest, copy, other)


def test_another_corpus_is_refused(tone_manifest: Path, copy: Path) -> None:
    manifest = load_manifest(tone_manifest)
    fewer = manifest.where([True] * (len(manifest.table) - 1) + [False])
    with pytest.raises(StudyError, match=r"was begun on another corpus: manifest.csv had other clips"):
        run_study(fewer, copy, SETTINGS, source="manifest.csv")


def test_a_folder_of_something_else_is_left_alone(tone_manifest: Path, tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    (tmp_path / "novel.unfinished").write_text("so is this")
    with pytest.raises(StudyError, match=r"holds something else \(novel.unfinished, thesis.tex\); give a new folder"):
        run(tone_manifest, tmp_path)
    assert (tmp_path / "thesis.tex").read_text() == "years of work"
    assert (tmp_path / "novel.unfinished").read_text() == "so is this"


def test_results_without_a_record_are_not_taken_for_ones_own(tone_manifest: Path, copy: Path) -> None:
    (copy / "study.json").unlink()
    with pytest.raises(
        StudyError, match=r"holds something else \(open/loudness.parquet, open/networks, open/rejection\)"
    ):
        run(tone_manifest, copy, SETTINGS.model_copy(update={"epochs": 1}))
    assert not (copy / "study.json").exists()


def test_a_beginning_that_was_killed_is_begun_again(tone_manifest: Path, finished: Path, tmp_path: Path) -> None:
    out = tmp_path / "study"
    (out / "open").mkdir(parents=True)
    (out / "closed").mkdir()
    shutil.copy(finished / "open/clips.parquet", out / "open")
    (out / "closed/clips.parquet.77.unfinished").write_bytes(b"PAR1")
    (out / "study.json.77.unfinished").write_bytes(b"{")
    record, corpora = begin(load_manifest(tone_manifest), StudyFolder(out), SETTINGS, source="manifest.csv")
    assert record.settings == SETTINGS
    assert list(corpora) == ["open"]
    assert not list(out.rglob("*.unfinished"))


@pytest.mark.parametrize("split", ["closed", "open"])
def test_a_corpus_of_one_speaker_leaves_no_study_behind(tone_manifest: Path, tmp_path: Path, split: SplitKind) -> None:
    manifest = load_manifest(tone_manifest)
    alone = manifest.where((manifest.table["speaker"] == "train-north-male").tolist())
    with pytest.raises(ManifestError, match="the corpus has 1 speaker"):
        run_study(alone, tmp_path / "s", SETTINGS.model_copy(update={"splits": (split,)}), source="manifest.csv")
    assert not (tmp_path / "s" / "study.json").exists()


def test_an_interrupted_evaluation_leaves_the_training_behind(
    tone_manifest: Path, copy: Path, finished: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = forget(copy, TRICKS)

    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(hardened, "evaluate_network", interrupt)
    with pytest.raises(KeyboardInterrupt):
        run(tone_manifest, copy)
    assert {p.name for p in home.iterdir()} == {"checkpoint.pt", "network.safetensors", "training.json"}
    monkeypatch.setattr(hardened, "evaluate_network", evaluate_network)
    run(tone_manifest, copy)
    same(copy, finished)
