"""What the engines of an audit cost beside each other: `python -m benchmarks.engines BUNDLE MANIFEST`.

BUNDLE and MANIFEST as `make real-speech` leaves them. Test clips are audited without attacks by two local workers, and
by a Ray cluster of two nodes of one CPU on this machine, once with the clips under their paths and once sent along. All
begin with nothing loaded. Clips a second are counted from the first shard on; before it, processes start and load
torch. Jobs of nothing tell what Ray itself takes of each. That the results are the same bytes is checked.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Any

from ray.cluster_utils import Cluster as Machines
from rich.console import Console
from rich.table import Table

from benchmarks.goals import Goal, finish
from monitoring.audit import AttackSettings, AuditFolder, run_audit
from monitoring.audit.nodes import Nodes
from monitoring.measured import AuditSettings
from recognizer.bundle import load_bundle
from recognizer.cluster import Cluster, Needs, connected
from recognizer.manifest import Manifest, load_manifest
from recognizer.parcel import Parcel

LOCAL = "local, 2 workers"
PATHS, SENT = "Ray, 2 nodes of 1 CPU", "Ray, likewise, clips sent along"
LEAST = 0.8
"""Of the local engine's clips a second, that Ray is to reach once the workers are there."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("manifest", type=Path)
    parser.add_argument("--clips", type=int, default=192, help="of the split `test`, at most")
    parser.add_argument("--shard-clips", type=int, default=8)
    arguments = parser.parse_args()
    manifest = _some(load_manifest(arguments.manifest).split("test"), arguments.clips)
    bundle = arguments.bundle
    with tempfile.TemporaryDirectory() as root:
        audit = partial(_audit, bundle, manifest, arguments.shard_clips, Path(root))
        rows = {LOCAL: audit(LOCAL, workers=2, load=partial(load_bundle, bundle))}
        os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
        machines = Machines()
        try:
            for _ in range(2):
                machines.add_node(num_cpus=1)
            for name in (PATHS, SENT):
                with connected(machines.address, Needs()) as cluster:
                    rows[name] = audit(name, nodes=Nodes(cluster, Parcel.of(bundle), ships_audio=name == SENT))
                    rows[name]["job_ms"] = _job_ms(cluster)
        finally:
            machines.shutdown()
        _check_same(Path(root))
    for row in rows.values():
        row["clips_a_second"] = (len(manifest.table) - arguments.shard_clips) / row["measuring_s"]
    _print(rows, len(manifest.table))
    share = rows[PATHS]["clips_a_second"] / rows[LOCAL]["clips_a_second"]
    finish(
        "engines",
        {"clips": len(manifest.table), "shard_clips": arguments.shard_clips, "engines": rows},
        [Goal("Ray's clips a second, of the local engine's", share, LEAST)],
    )


def _audit(
    bundle: Path, manifest: Manifest, shard_clips: int, root: Path, name: str, **engine: Any
) -> dict[str, float]:
    """Seconds until the first shard is there, and from it to the last."""
    ended: list[float] = []

    def note(stage: Any) -> None:
        if stage.name == "deciding on clips":
            ended.append(time.perf_counter())

    started = time.perf_counter()
    run_audit(
        load_bundle(bundle),
        manifest,
        source="manifest",
        settings=AuditSettings(min_speakers=10, replicates=100),
        attack=AttackSettings(clips=0),
        shard_clips=shard_clips,
        folder=AuditFolder(root / name),
        on_progress=note,
        **engine,
    )
    return {"first_s": ended[0] - started, "measuring_s": ended[-1] - ended[0]}


def _job_ms(cluster: Cluster, jobs: int = 500) -> float:
    """Milliseconds that a job of nothing takes, all workers together."""
    with cluster.at_work(int, max) as do_all:
        list(do_all([1] * 10))
        started = time.perf_counter()
        list(do_all([1] * jobs))
    return 1000 * (time.perf_counter() - started) / jobs


def _some(manifest: Manifest, clips: int) -> Manifest:
    """Every n-th clip, so that there are many speakers."""
    step = -(-len(manifest.table) // clips)
    return manifest.where([i % step == 0 for i in range(len(manifest.table))])


def _check_same(root: Path) -> None:
    for file in (root / LOCAL).rglob("*.parquet"):
        for name in (PATHS, SENT):
            if (root / name / file.relative_to(root / LOCAL)).read_bytes() != file.read_bytes():
                raise SystemExit(f"{file.name} differs: {name}")


def _print(rows: dict[str, dict[str, float]], clips: int) -> None:
    table = Table("engine", "first shard, s", "clips a second after it", "ms a job of nothing", title=f"{clips} clips")
    for name, row in rows.items():
        job = f"{row['job_ms']:.1f}" if "job_ms" in row else ""
        table.add_row(name, f"{row['first_s']:.1f}", f"{row['clips_a_second']:.2f}", job)
    Console(width=110).print(table)


if __name__ == "__main__":
    main()
