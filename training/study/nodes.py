"""A study's jobs on the nodes of a cluster, which share its folder and the clips."""

from __future__ import annotations

import hashlib
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from recognizer.cluster import Cluster, check_device
from training.corpora.splits import SplitKind
from training.study.bench import Bench, Plan
from training.study.folder import StudyError
from training.study.jobs import Finished, Job, finish
from training.study.workers import FinishAll


@contextmanager
def at_work_on(cluster: Cluster, plan: Plan) -> Iterator[FinishAll]:
    """Yields what does jobs, in any order, and gives each as it ends; a node that is lost loses what a kill loses.

    Raises:
        ClusterError: the cluster can't do it.
    """
    with cluster.at_work(partial(_begin, plan, _sha256(plan.folder.study)), _finish) as do_all:
        yield do_all


class _NodeBench(Bench):
    """A bench whose clips must all be there: a clip that can't be read would be left out in silence."""

    checked: frozenset[SplitKind] = frozenset()

    def check(self, split: SplitKind) -> None:
        """
        Raises:
            StudyError: the node does not see a clip of the split.
        """
        if split in self.checked:
            return
        paths = self.plan.corpora[split].manifest.table["path"]
        missing = [path for path in paths if not Path(path).is_file()]
        if missing:
            raise StudyError(
                f"the node {socket.gethostname()} does not see {len(missing)} of {len(paths)} clips of the study, "
                f"{missing[0]} the first; every node needs them under the manifest's paths: share their folder"
            )
        self.checked |= {split}


def _begin(plan: Plan, record: str) -> _NodeBench:
    path = plan.folder.study
    if not path.is_file() or _sha256(path) != record:
        raise StudyError(
            f"the node {socket.gethostname()} does not see the study's {path}; every node needs the folder under that "
            "path: share it between them, by NFS for instance"
        )
    check_device(plan.device)
    return _NodeBench(plan)


def _finish(bench: _NodeBench, job: Job) -> Finished:
    if job.result(bench.folder).exists():
        return Finished(job, 0.0, "was done before its node was lost")
    bench.check(job.split)
    return finish(job, bench)


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
