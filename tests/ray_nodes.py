"""Clusters of Ray on this machine, and how a node of one is lost."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest

_TRIES = 3  # a port may be taken between its choice and its use
_PORTS = ("metrics_agent_port", "metrics_export_port", "dashboard_agent_listen_port", "runtime_env_agent_port")
"""Of a node's agents. A node that is not told them waits for its agents to choose, and gives up after 15 s: on a busy
machine they take longer to load."""


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
            ports = dict(zip(_PORTS, _free_ports(len(_PORTS)), strict=True))
            node = machines.add_node(num_cpus=cpus, include_dashboard=False, **ports)
            break
        except Exception as error:
            if not left or "timed out during startup" not in str(error):
                raise
    machines.wait_for_nodes()
    return node


def _free_ports(count: int) -> list[int]:
    """Different ones."""
    with ExitStack() as held:
        probes = [held.enter_context(socket.socket()) for _ in range(count)]
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [probe.getsockname()[1] for probe in probes]


def lose(node: Any) -> None:
    """SIGKILL a node's raylet and all that it started: what is left when a machine's power goes."""
    raylet = psutil.Process(node.all_processes["raylet"][0].process.pid)
    workers = raylet.children(recursive=True)
    for process in (raylet, *workers):
        process.kill()
    psutil.wait_procs(workers, timeout=30)
