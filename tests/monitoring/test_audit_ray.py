"""An audit on the nodes of a Ray cluster comes to the bytes of one in this process, whatever happens to the nodes."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from ray_nodes import add_machine, lose, ray_machines
from waiting import PATIENCE, until

from monitoring.audit import AttackSettings, AuditError, AuditFolder, AuditReport, Recording, run_audit
from monitoring.audit.clips import hashes_of
from monitoring.audit.nodes import Nodes, measured_on
from monitoring.audit.outcomes import whole as heard_whole
from monitoring.audit.plan import AuditPlan
from monitoring.measured import AuditSettings
from recognizer.audio import AudioFormat
from recognizer.bundle import load_bundle
from recognizer.cluster import Cluster, ClusterError, Needs, connected
from recognizer.manifest import Manifest, load_manifest, write_table
from recognizer.parcel import Parcel
from recognizer.recognizer import Recognizer

SETTINGS = AuditSettings(seed=2, min_speakers=10, replicates=100)
ATTACK = AttackSettings(clips=3, eps_grid=(0.001, 0.02), steps=2, smoothing_steps=1, eot_draws=2, health_queries=2)
CLIPS = 5  # of a shard
SHARDS = 10 + 3  # of 49 clips; and one lot under each of three defenses


@dataclass(frozen=True)
class Watched:
    """A front end that leaves recordings as they are, and writes down who was given which, from where.

    On the node `victim` it never comes back, and on others it does once the victim has begun.
    """

    log: Path
    victim: str = ""

    def __call__(self, path: Path, audio: AudioFormat) -> Recording:
        import ray

        node = ray.get_runtime_context().get_node_id() if ray.is_initialized() else "here"
        with self.log.open("a") as log:
            log.write(json.dumps([node, os.getpid(), str(path)]) + "\n")
        while node == self.victim:
            time.sleep(0.1)
        until = time.monotonic() + 60  # a busy machine may be long in starting the victim's worker
        while self.victim and not self.has_begun(self.victim) and time.monotonic() < until:
            time.sleep(0.1)
        return heard_whole(path, audio)

    def has_begun(self, node: str) -> bool:
        return any(other == node for other, _, _ in self.seen())

    def seen(self) -> list[tuple[str, int, str]]:
        """Node, process and path."""
        lines = self.log.read_text().splitlines(keepends=True) if self.log.exists() else []
        return [tuple(json.loads(line)) for line in lines if line.endswith("\n")]


@pytest.fixture(scope="module")
def few(bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bundle with few draws of smoothing: enough where only bytes matter."""
    folder = tmp_path_factory.mktemp("few") / "bundle"
    shutil.copytree(bundle, folder)
    return with_draws(folder, 12)


def with_draws(folder: Path, draws: int) -> Path:
    described = json.loads((folder / "bundle.json").read_text())
    described["defenses"]["smoothing"].update(draws=draws, error_alpha=0.01)
    (folder / "bundle.json").write_text(json.dumps(described))
    names = sorted(path.name for path in folder.iterdir() if path.name != "SHA256SUMS")
    sums = [f"{hashlib.sha256((folder / name).read_bytes()).hexdigest()}  {name}\n" for name in names]
    (folder / "SHA256SUMS").write_text("".join(sums))
    return folder


@pytest.fixture(scope="module")
def recognizer(few: Path) -> Recognizer:
    return load_bundle(few)


@pytest.fixture(scope="module")
def some(tone_manifest: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A manifest of 48 clips of all twelve speakers, and of one that can't be heard."""
    folder = tmp_path_factory.mktemp("some")
    table = load_manifest(tone_manifest).table.groupby(["speaker", "command"]).head(1).reset_index(drop=True)
    (folder / "own").mkdir()
    (folder / "own" / "broken.wav").write_bytes(b"RIFF and no more")
    broken = table.iloc[[0]].assign(path=str(folder / "own" / "broken.wav"))
    write_table(pd.concat((table, broken)), folder / "manifest.csv")
    return folder / "manifest.csv"


def audit(recognizer: Recognizer, manifest: Path, folder: Path, **options: Any) -> AuditReport:
    given: dict[str, Any] = {"settings": SETTINGS, "attack": ATTACK, "shard_clips": CLIPS, **options}
    return run_audit(recognizer, load_manifest(manifest), source="m.csv", folder=AuditFolder(folder), **given)[0]


@pytest.fixture(scope="module")
def whole(recognizer: Recognizer, some: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of an audit in this process."""
    folder = tmp_path_factory.mktemp("whole")
    report = audit(recognizer, some, folder / "audit", cut=Watched(folder / "log"))
    assert report.runtime.shards == SHARDS
    assert len(report.unheard) == 1
    return folder / "audit"


def assert_same(folder: Path, whole: Path) -> None:
    files = sorted(str(path.relative_to(whole)) for path in whole.rglob("*.parquet"))
    assert files == sorted(str(path.relative_to(folder)) for path in folder.rglob("*.parquet"))
    assert len(files) == SHARDS + 2
    for name in files:
        assert (folder / name).read_bytes() == (whole / name).read_bytes(), name
    ours, theirs = (AuditReport.model_validate_json((f / "audit.json").read_bytes()) for f in (folder, whole))
    assert ours.model_copy(update={"created_at": theirs.created_at, "runtime": theirs.runtime}) == theirs


@pytest.fixture(scope="module")
def machines() -> Iterator[Any]:
    """A cluster of two nodes of one CPU each; the second may be killed, and is there again for the next test."""
    with ray_machines(1, 1, modules=[Path(__file__).parent]) as nodes:  # where they find `Watched`
        yield nodes


@pytest.fixture(scope="module")
def cluster(machines: Any) -> Iterator[Cluster]:
    with connected(machines.address, Needs()) as cluster:
        yield cluster


@pytest.fixture
def nodes(cluster: Cluster, few: Path) -> Nodes:
    assert cluster.workers == 2
    return Nodes(cluster, Parcel.of(few))


def test_two_nodes_come_to_the_bytes_of_one_process(
    nodes: Nodes, recognizer: Recognizer, some: Path, whole: Path, tmp_path: Path
) -> None:
    watched = Watched(tmp_path / "log")
    report = audit(recognizer, some, tmp_path / "audit", nodes=nodes, cut=watched)
    assert_same(tmp_path / "audit", whole)
    assert report.runtime.workers == 2
    seen = watched.seen()
    assert len({(node, process) for node, process, _ in seen}) == len({node for node, _, _ in seen}) == 2
    assert {path for _, _, path in seen} == set(load_manifest(some).table["path"])


def test_clips_that_are_sent_along_are_heard_as_if_they_lay_there(
    nodes: Nodes, recognizer: Recognizer, some: Path, whole: Path, tmp_path: Path
) -> None:
    watched = Watched(tmp_path / "log")
    audit(recognizer, some, tmp_path / "audit", nodes=replace(nodes, ships_audio=True), cut=watched)
    assert_same(tmp_path / "audit", whole)
    assert not {path for _, _, path in watched.seen()} & set(load_manifest(some).table["path"])
    assert not any(Path(path).exists() for _, _, path in watched.seen())  # nor are they left behind


def test_a_node_that_is_lost_loses_its_shards_under_way_and_nothing_else(
    nodes: Nodes, machines: Any, recognizer: Recognizer, some: Path, whole: Path, tmp_path: Path
) -> None:
    (victim,) = machines.worker_nodes
    watched = Watched(tmp_path / "log", victim.node_id)

    def kill() -> None:
        while not watched.has_begun(victim.node_id):
            time.sleep(0.02)
        lose(victim)

    killer = threading.Thread(target=kill, daemon=True)
    killer.start()
    report = audit(recognizer, some, tmp_path / "audit", nodes=nodes, cut=watched)
    assert_same(tmp_path / "audit", whole)
    assert report.runtime.shards_found == 0
    held = {path for node, _, path in watched.seen() if node == victim.node_id}
    assert len(held) == 1  # the victim began with a clip, and another node heard it after all
    assert held < {path for node, _, path in watched.seen() if node != victim.node_id}
    machines.remove_node(victim, allow_graceful=False)
    add_machine(machines, cpus=1)


def test_an_audit_that_was_stopped_goes_on_on_the_cluster(
    nodes: Nodes, recognizer: Recognizer, some: Path, whole: Path, tmp_path: Path
) -> None:
    shutil.copytree(whole, tmp_path / "audit")
    for name in ("clean-00001", "clean-00009", "attacked-smoothing-00000"):
        (tmp_path / "audit" / "shards" / f"{name}.parquet").unlink()
    watched = Watched(tmp_path / "log")
    report = audit(recognizer, some, tmp_path / "audit", nodes=nodes, cut=watched)
    assert report.runtime.shards_found == SHARDS - 3
    assert len(watched.seen()) == CLIPS + 4 + ATTACK.clips
    assert_same(tmp_path / "audit", whole)


def stopping(machines: Any, bundle: Path, manifest: Path, out: Path) -> subprocess.Popen[bytes]:
    command = [Path(sys.executable).with_name("evenvoice"), "audit", "run", "--bundle", bundle, "--manifest", manifest]
    command += ["--out", out, "--shard-clips", "1", "--attacked-clips", "0", "--split", "train", "--split", "test"]
    command += ["--engine", "ray", "--ray-address", machines.address]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}  # of the nodes only
    return subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, env=environment)


@pytest.mark.usefixtures("cluster")
def test_ctrl_c_ends_the_work_on_the_nodes_and_finished_shards_stay(
    machines: Any, bundle: Path, tone_manifest: Path, tmp_path: Path
) -> None:
    import ray

    child = stopping(machines, bundle, tone_manifest, tmp_path / "audit")
    assert until(lambda: len(list((tmp_path / "audit" / "shards").glob("*.parquet"))) > 1 or child.poll() is not None)
    child.send_signal(signal.SIGINT)
    out, err = child.communicate(timeout=PATIENCE)
    assert child.returncode == 130, err
    assert err.splitlines()[0] == b"the cluster has room for 2 workers"
    assert b"Traceback" not in err, err.decode()
    assert b"ray" not in (out + err).lower()
    assert until(lambda: ray.available_resources().get("CPU") == 2)  # nobody is at work for it any more
    with AuditFolder(tmp_path / "audit").locked():
        assert len(list((tmp_path / "audit" / "shards").glob("*.parquet"))) < 192


def test_an_error_of_a_shard_is_told_as_if_it_had_been_measured_here(
    nodes: Nodes, few: Path, recognizer: Recognizer, some: Path, tmp_path: Path
) -> None:
    other = Parcel.of(with_draws(Path(shutil.copytree(few, tmp_path / "other")), 13))
    with pytest.raises(AuditError, match=r"^the bundle was replaced as the audit began: sha256:.* before, now sha256:"):
        audit(recognizer, some, tmp_path / "audit", nodes=replace(nodes, bundle=other))


def plan_of(recognizer: Recognizer, clips: Manifest) -> AuditPlan:
    return AuditPlan.of(
        clips,
        defenses=("none",),
        version=recognizer.version,
        seed=0,
        attack=AttackSettings(clips=0),
        shard_clips=CLIPS,
    )


def test_a_node_that_has_other_bytes_or_none_is_named(nodes: Nodes, recognizer: Recognizer, some: Path) -> None:
    plan = plan_of(recognizer, load_manifest(some))
    hashes = list(hashes_of(plan.manifest))
    with pytest.raises(AuditError, match=r"the node .* has other bytes in .*wav than the audit was begun on"):
        list(measured_on(nodes, plan, plan.shards, [hashes[-1], *hashes[1:]]))
    moved = Manifest(
        plan.manifest.table.assign(path="/nowhere" + plan.manifest.table["path"]), plan.manifest.attributes
    )
    elsewhere = plan_of(recognizer, moved)
    with pytest.raises(AuditError, match=r"the node .* can't read /nowhere/.*wav .*No such file.*--ship-audio"):
        list(measured_on(nodes, elsewhere, elsewhere.shards, hashes))


def test_a_clip_that_can_not_be_unpacked_under_its_name_is_not_sent(
    nodes: Nodes, recognizer: Recognizer, some: Path
) -> None:
    table = load_manifest(some).table
    odd = Manifest(table.assign(path=[f"/x/../y/{i}.wav" for i in range(len(table))]), ())
    plan = plan_of(recognizer, odd)
    with pytest.raises(AuditError, match=r"the clip ../y/0.wav can't be sent along"):
        list(measured_on(replace(nodes, ships_audio=True), plan, plan.shards, ["" for _ in plan.clips]))


@pytest.mark.parametrize(
    ("needs", "words"),
    [(Needs(cpus=2), "a worker needs 2 CPUs, and no node has them"), (Needs(gpus=0.5), "1 CPUs and 0.5 GPUs")],
)
@pytest.mark.usefixtures("cluster")
def test_a_cluster_without_room_for_a_worker_says_so(machines: Any, needs: Needs, words: str) -> None:
    with (
        pytest.raises(ClusterError, match=f"{words}.*there are 1 CPUs and 0 GPUs, 1 CPUs and 0 GPUs.*--ray-cpus"),
        connected(machines.address, needs),
    ):
        pass


def test_several_workers_share_what_a_node_has() -> None:
    node = {"Alive": True, "Resources": {"CPU": 8.0, "GPU": 1.0}}
    assert [Needs(*needs).room_in(node) for needs in ((1,), (3,), (0.1,), (1, 0.5), (1, 1), (1, 2))] == [
        8,
        2,
        80,
        2,
        1,
        0,
    ]
    assert Needs().room_in({**node, "Alive": False}) == 0


@pytest.mark.usefixtures("cluster")
def test_work_waits_for_a_node_and_not_for_ever(machines: Any, tmp_path: Path) -> None:
    large = add_machine(machines, cpus=2)
    impatient = Cluster(Needs(cpus=2), patience=1.0)
    assert impatient.workers == 1

    def kill() -> None:
        assert until((tmp_path / "begun").exists)
        lose(large)

    threading.Thread(target=kill, daemon=True).start()
    with (
        pytest.raises(
            ClusterError, match=r"no node is left that has 2 CPUs for a worker: there are 1 CPUs.*same command"
        ),
        impatient.at_work(partial(Path, tmp_path), wait_in) as do_all,
    ):
        list(do_all(["begun"]))


def wait_in(folder: Path, name: str) -> None:
    (folder / name).touch()
    time.sleep(600)
