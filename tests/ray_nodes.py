"""Clusters of Ray on this machine, and how a node of one is lost."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest

_TRIES = 3  # a node whose agents take longer than 15 s to begin, on a busy machine, gives up


@contextmanager
def ray_machines(*cpus: int, modules: Sequence[Path] = ()) -> Iterator[Any]:
    """A `ray.cluster_utils.Cluster` of nodes with so many CPUs each, the head first.

    Args:
        modules: folders that the nodes import from, beside this one.
    """
    utils = pytest.importorskip("ray.cluster_utils", reason="Ray is not installed; see the extra `ray`")
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("RAY_USAGE_STATS_ENABLED", "0")
        environment.setenv("OMP_NUM_THREADS", "1")
        environment.setenv("RAY_DISABLE_DOCKER_CPU_WARNING", "1")
        environment.setenv("PYTHONPATH", os.pathsep.join(map(str, [Path(__file__).parent, *modules])))
        machines = utils.Cluster()
        try:
            for count in cpus:
                add_machine(machines, cpus=count)
            yield machines
        finally:
            machines.shutdown()


def add_machine(machines: Any, *, cpus: int) -> Any:
    """A node more."""
    for left in reversed(range(_TRIES)):
        try:
            node = machines.add_node(num_cpus=cpus)
            break
        except Exception as error:
            if not left or "timed out during startup" not in str(error):
                raise
    machines.wait_for_nodes()
    return node


def lose(node: Any) -> None:
    """SIGKILL a node's raylet and all that it started: what is left when a machine's power goes."""
    raylet = psutil.Process(node.all_processes["raylet"][0].process.pid)
    workers = raylet.children(recursive=True)
    for process in (raylet, *workers):
        process.kill()
    psutil.wait_procs(workers, timeout=30)
