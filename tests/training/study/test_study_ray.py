"""A study on the nodes of a Ray cluster comes to the bytes of one in this process, though a node is lost on the way."""

from __future__ import annotations

import json
import shutil
import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from ray_nodes import add_machine, lose, ray_machines

from recognizer import cluster as clusters
from recognizer.audio import AudioFormat
from recognizer.cluster import ClusterError, Needs, connected
from recognizer.manifest import load_manifest
from recognizer.progress import Stage
from training.study import nodes
from training.study.begin import begin
from training.study.bench import Plan
from training.study.folder import StudyError, StudyFolder
from training.study.jobs import Finished, MeasureLoudness
from training.study.run import StudyOutcome, run_study
from training.study.settings import StudySettings

PLAIN, SMOOTHED = "m5-small_at0_noise0", "m5-small_at0_noise0.1_smoothing"
SETTINGS = StudySettings(
    splits=("open",),
    epochs=3,
    clips=4,
    training_clips=40,
    configurations=(PLAIN,),
    eps_grid=(0.001, 0.05),
    purifiers=("quantisation",),
    purification_eps=(0.01,),
    steps=2,
    draws=(10, 60),
    eot_draws=12,
)
JOBS = 1 + 2 + 1 + 1 + 4 + 1


@pytest.fixture(scope="module")
def here(tone_manifest: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The study in this process."""
    out = tmp_path_factory.mktemp("here") / "study"
    assert run_study(load_manifest(tone_manifest), out, SETTINGS, source="manifest.csv").failed == {}
    return out


@pytest.fixture(scope="module")
def machines() -> Iterator[Any]:
    """A head that does no work, and one node that does."""
    with ray_machines(0, 1) as machines:
        yield machines


def same(one: Path, other: Path) -> None:
    """Two studies' files are the same, byte by byte, but for what a clock measured."""
    files = sorted(str(path.relative_to(one)) for path in one.rglob("*") if path.is_file())
    assert files == sorted(str(path.relative_to(other)) for path in other.rglob("*") if path.is_file())
    for name in files:
        if name.endswith(".json"):
            ours, theirs = (json.loads((study / name).read_text()) for study in (one, other))
            assert {**ours, "seconds": 0} == {**theirs, "seconds": 0}, name
        elif name.endswith(".parquet") and "seconds" in (table := pd.read_parquet(one / name)):
            expected = pd.read_parquet(other / name).drop(columns="seconds")
            pd.testing.assert_frame_equal(table.drop(columns="seconds"), expected, check_exact=True)
        else:
            assert (one / name).read_bytes() == (other / name).read_bytes(), name


@pytest.mark.timeout(900)
def test_a_study_whose_node_is_lost_goes_on_on_another_to_the_same_bytes(
    machines: Any, tone_manifest: Path, here: Path, tmp_path: Path
) -> None:
    out = tmp_path / "study"
    checkpoint = StudyFolder(out).network("open", PLAIN).checkpoint
    told: list[Finished] = []
    stages: list[Stage] = []
    with connected(machines.address, Needs()) as cluster, ThreadPoolExecutor(1) as beside:
        running = beside.submit(
            run_study,
            load_manifest(tone_manifest),
            out,
            SETTINGS,
            source="manifest.csv",
            cluster=cluster,
            on_progress=stages.append,
            on_finished=lambda finished, _: told.append(finished),
        )
        while not checkpoint.exists() and not running.done():
            time.sleep(0.005)
        (victim,) = machines.worker_nodes
        lose(victim)
        assert checkpoint.exists()  # in the middle of training
        machines.remove_node(victim, allow_graceful=False)
        add_machine(machines, cpus=1)
        assert running.result(timeout=600) == StudyOutcome(done=JOBS, failed={})
        assert len({finished.job.name for finished in told}) == len(told) == JOBS
        assert stages[-1] == Stage("the study", JOBS, JOBS)
        same(out, here)

        # what is missing is done, and nothing else
        shutil.rmtree(out / "open" / "networks" / SMOOTHED)
        (out / "open" / "rejection" / "pieces" / "smoothing-0000.parquet").unlink()
        told.clear()
        run_study(
            load_manifest(tone_manifest),
            out,
            SETTINGS,
            source="manifest.csv",
            cluster=cluster,
            on_finished=lambda finished, _: told.append(finished),
        )
        assert [finished.job.name for finished in told] == [f"open {SMOOTHED}", "open smoothing-0000"]
        same(out, here)


def test_a_cluster_whose_head_is_lost_is_given_up(machines: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """In words; Ray itself would end this process, with the exit code that an audit has for a disparity.

    The last test that uses the machines.
    """
    monkeypatch.setattr(clusters, "_HEAD", 3.0)
    (head,) = machines.head_node.all_processes["gcs_server"]
    with (
        connected(machines.address, Needs()) as cluster,
        pytest.raises(ClusterError, match=r"head node is lost: it has not answered for 3 s.*same command"),
        cluster.at_work(tuple, signal.sigtimedwait) as do_all,  # which waits for no signal, so many seconds
    ):
        [head.process.kill() for _ in do_all([0.0, 600.0])]


@pytest.fixture
def plan(tone_manifest: Path, here: Path, tmp_path: Path) -> Plan:
    folder = StudyFolder(Path(shutil.copytree(here, tmp_path / "study")))
    record, corpora = begin(load_manifest(tone_manifest), folder, SETTINGS, source="manifest.csv")
    return Plan(folder, SETTINGS, corpora, record.labels, AudioFormat(), "cpu")


def begun_on_a_node(plan: Plan) -> Any:
    return nodes._begin(plan, nodes._sha256(plan.folder.study))


def test_a_node_that_does_not_share_the_folder_is_named(plan: Plan) -> None:
    record = nodes._sha256(plan.folder.study)
    plan.folder.study.write_text("another study")
    with pytest.raises(StudyError, match=r"the node .* does not see the study's .*study.json; every node needs"):
        nodes._begin(plan, record)
    plan.folder.study.unlink()
    with pytest.raises(StudyError, match=r"does not see the study's"):
        nodes._begin(plan, record)


def test_a_node_that_does_not_see_a_clip_is_named_before_anything_is_measured(plan: Plan) -> None:
    corpus = plan.corpora["open"]
    table = corpus.manifest.table.copy()
    table.loc[3, "path"] = "/nowhere/3.wav"
    partly = replace(corpus, manifest=replace(corpus.manifest, table=table))
    job = MeasureLoudness("open")
    result = job.result(plan.folder)
    result.unlink()
    bench = begun_on_a_node(replace(plan, corpora={"open": partly}))
    with pytest.raises(
        StudyError, match=rf"does not see 1 of {len(table)} clips of the study, /nowhere/3.wav the first"
    ):
        nodes._finish(bench, job)
    assert not result.exists()


def test_a_job_that_was_done_before_its_node_was_lost_is_not_done_again(plan: Plan) -> None:
    job = MeasureLoudness("open")
    pd.DataFrame({"clip": ["a"], "rms": [0.5]}).to_parquet(job.result(plan.folder))
    finished = nodes._finish(begun_on_a_node(plan), job)
    assert (finished.job, finished.error) == (job, "")
    assert pd.read_parquet(job.result(plan.folder))["clip"].tolist() == ["a"]
