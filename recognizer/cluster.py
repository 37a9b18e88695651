"""Work on the nodes of a Ray cluster. Each worker process makes what its jobs need once and keeps it; the jobs of a
node that is lost are done again on another."""

from __future__ import annotations

import logging
import os
import platform
import re
import signal
import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any, Generic, TypeVar

import torch

logger = logging.getLogger(__name__)

J = TypeVar("J")
R = TypeVar("R")
S = TypeVar("S")

RETRIES = 3
"""Of a job whose worker or node ended under it; one that ends that often is to blame itself."""
PATIENCE = 60.0
"""Seconds that a run waits for a node once there is none left that has room for a worker."""
_LOOK = 2.0  # seconds between two looks at the nodes while no job ends
_HEAD = 20.0  # seconds that the head may take to answer, or to come back
_GIVE_UP = "RAY_gcs_rpc_server_reconnect_timeout_s"
_NEVER = "1000000"  # by default Ray ends a process 60 s after its head is lost, with the exit code of a disparity
_ANSWER = 5.0  # seconds that a cluster may take to accept a connection
_AHEAD = 2  # jobs handed over a worker, so that none waits for its next


class ClusterError(RuntimeError):
    """A cluster that can't be worked on; the message says why and what to do."""


@dataclass(frozen=True)
class Needs:
    """What a worker takes of its node. It computes in one thread, however many CPUs it takes."""

    cpus: float = 1.0
    gpus: float = 0.0

    def room_in(self, node: dict[str, Any]) -> int:
        """How many workers a node of `ray.nodes()` has room for while nobody else is at work on it."""
        resources = node["Resources"] if node["Alive"] else {}
        parts = ((resources.get("CPU", 0.0), self.cpus), (resources.get("GPU", 0.0), self.gpus))
        return min(int(there / needed + 1e-9) for there, needed in parts if needed)

    def __str__(self) -> str:
        return f"{self.cpus:g} CPUs" + (f" and {self.gpus:g} GPUs" if self.gpus else "")


@dataclass(frozen=True)
class _Order(Generic[S, J, R]):
    """What a worker is told once."""

    begin: Callable[[], S]
    work: Callable[[S, J], R]
    versions: dict[str, str]


class Cluster:
    """A cluster that this process is connected to; see `connected`."""

    def __init__(self, needs: Needs, *, patience: float = PATIENCE, stays: bool = True) -> None:
        """
        Args:
            stays: whether the connection outlives the work.

        Raises:
            ClusterError: no node has room for a worker.
        """
        self._needs, self._patience, self._stays = needs, patience, stays
        if not self.workers:
            raise ClusterError(
                f"a worker needs {needs}, and no node has them: {_told(self._nodes())}. "
                "Ask for less with --ray-cpus and --ray-gpus, or start a node that has them"
            )

    @property
    def workers(self) -> int:
        """That the nodes have room for now.

        Raises:
            ClusterError: the head is lost.
        """
        return sum(self._needs.room_in(node) for node in self._nodes())

    @contextmanager
    def at_work(
        self, begin: Callable[[], S], work: Callable[[S, J], R]
    ) -> Iterator[Callable[[Iterable[J]], Iterator[R]]]:
        """Yields what does jobs and gives their results, each as it ends. An error, Ctrl-C included, ends the workers.

        Args:
            begin: called in each worker process before its first job, from where one torch thread computes.
            work: a job, with what `begin` gave.
        """
        ray = _ray()
        self._tell_of_others()
        told = ray.put(_Order(begin, work, _versions()))
        key = uuid.uuid4().hex
        needs = {"num_cpus": self._needs.cpus, "num_gpus": self._needs.gpus}
        # by default a process ends with its first job on a GPU, and what it has loaded with it
        remote = ray.remote(**needs, max_retries=RETRIES, max_calls=0)(_do)
        under_way: set[Any] = set()

        def do_all(jobs: Iterable[J]) -> Iterator[R]:
            coming = iter(jobs)
            is_over = False
            while True:
                while not is_over and len(under_way) < _AHEAD * max(1, self.workers):
                    try:
                        job = next(coming)
                    except StopIteration:
                        is_over = True
                        break
                    under_way.add(remote.remote(key, [told], job))  # in a list Ray does not fetch it for every job
                if not under_way:
                    return
                for ended in self._ended(under_way):
                    under_way.discard(ended)
                    yield _result_of(ended)

        try:
            yield do_all
        finally:
            if self._stays:  # otherwise they end with the connection; to cancel them just before crashes Ray
                for job in under_way:
                    ray.cancel(job, force=True)

    def _ended(self, under_way: set[Any]) -> list[Any]:
        """Jobs that have ended, at least one.

        Raises:
            ClusterError: no node has had room for a worker for too long, or the head is lost.
        """
        ray = _ray()
        last_room = time.monotonic()
        while True:
            ended, _ = ray.wait(list(under_way), num_returns=1, timeout=_LOOK)
            if ended:
                return list(ended)
            if self.workers:
                last_room = time.monotonic()
            elif time.monotonic() - last_room > self._patience:
                raise ClusterError(
                    f"no node is left that has {self._needs} for a worker: {_told(self._nodes())}. What is finished "
                    "stays; start a node and give the same command again to go on"
                )

    def _nodes(self) -> list[dict[str, Any]]:
        """As the head knows them; Ray itself would wait for one that does not answer.

        Raises:
            ClusterError: it does not.
        """
        found: Future[list[dict[str, Any]]] = Future()

        def ask() -> None:
            try:
                found.set_result(_ray().nodes())
            except Exception as error:
                found.set_exception(error)

        threading.Thread(target=ask, daemon=True).start()
        try:
            return found.result(timeout=_HEAD)
        except TimeoutError:
            raise ClusterError(
                f"the cluster's head node is lost: it has not answered for {_HEAD:g} s. What is finished stays; give "
                "the same command again to go on, on another cluster"
            ) from None

    def _tell_of_others(self) -> None:
        free = _ray().available_resources()
        if free.get("CPU", 0.0) < self._needs.cpus or free.get("GPU", 0.0) < self._needs.gpus:
            logger.warning("the cluster is at other work; this one begins when %s are free", self._needs)


@contextmanager
def connected(address: str | None, needs: Needs, *, patience: float = PATIENCE) -> Iterator[Cluster]:
    """A cluster, until the end of the block. A connection that was there before stays.

    Args:
        address: `HOST:PORT`, or `ray://HOST:PORT` from a machine that is no node of it; None is that of RAY_ADDRESS,
            else the one that this machine is a node of, else one of this machine alone for the time of the block.
        needs: of a worker.
        patience: see `PATIENCE`.

    Raises:
        ClusterError: Ray is not installed, no cluster answers, or it has no room for a worker.
    """
    address = address or os.environ.get("RAY_ADDRESS") or None
    if address:  # read as Ray is loaded: it would ask something that is no Ray 20 times, 35 s each
        os.environ.setdefault("RAY_NUM_REDIS_GET_RETRIES", "1")
    ray = _ray()
    is_there = ray.is_initialized()
    if not is_there:
        _connect(address)
    try:
        yield Cluster(needs, patience=patience, stays=is_there)
    finally:
        if not is_there:
            ray.shutdown()


def _connect(address: str | None) -> None:
    ray = _ray()
    _check_answers(address or "")
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # of a cluster that is started here: it calls nobody
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # as Ray will do anyway, and warns of
    given = os.environ.get(_GIVE_UP)
    if address:  # of this process only, and no node's that is started here
        os.environ.setdefault(_GIVE_UP, _NEVER)
    logging.getLogger("ray").setLevel(logging.ERROR)  # what it tells before `init` sets that, too
    handler = signal.getsignal(signal.SIGTERM)
    try:
        ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR, include_dashboard=None)
    except Exception as error:  # whatever Ray raises: ConnectionError, RuntimeError, ValueError, its own
        reason = str(error).strip().partition("\n")[0]
        raise ClusterError(f"no Ray cluster can be had at {address or 'this machine'}: {reason}") from error
    finally:
        if given is None:
            os.environ.pop(_GIVE_UP, None)
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, handler)  # Ray puts its own in the place of a command's


def _check_answers(address: str) -> None:
    """That somebody listens at HOST:PORT: Ray itself tries for minutes, and ends the process then.

    Raises:
        ClusterError: nobody does.
    """
    host, colon, port = address.rpartition("://")[2].rpartition(":")
    if not colon or not port.isdecimal():
        return  # such as `auto`
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=_ANSWER).close()
    except (OSError, OverflowError) as error:
        raise ClusterError(f"no Ray cluster can be had at {address}: {error}") from error


def _ray() -> Any:
    """The package, which the extra `ray` installs.

    Raises:
        ClusterError: it is not there.
    """
    try:
        import ray
    except ImportError as error:
        raise ClusterError(f"Ray can't be loaded ({error}); pip install 'evenvoice[ray]'") from error
    return ray


def _told(nodes: list[dict[str, Any]]) -> str:
    """What the nodes have, in words."""
    alive = [node["Resources"] for node in nodes if node["Alive"]]
    if not alive:
        return "there is no node"
    return "there are " + ", ".join(f"{n.get('CPU', 0):g} CPUs and {n.get('GPU', 0):g} GPUs" for n in alive)


def _versions() -> dict[str, str]:
    """What results depend on."""
    return {"evenvoice": version("evenvoice"), "torch": torch.__version__, "Python": platform.python_version()}


def _result_of(ended: Any) -> Any:
    """A job's result, or the error that ended it, as if it had been raised here.

    Raises:
        ClusterError: its worker, or several of its nodes, ended under it.
    """
    ray = _ray()
    try:
        return ray.get(ended)
    except ray.exceptions.RayTaskError as error:
        told = str(error.cause)
        if "failed to import on the worker" in told or isinstance(error.cause, ray.exceptions.RaySystemError):
            missing = re.search("No module named [^\\n]*", told)
            raise ClusterError(
                f"a node can't load the work ({missing[0] if missing else told.partition(chr(10))[0]}); every node "
                f"needs evenvoice {version('evenvoice')} in the Python environment that its Ray was started from"
            ) from error
        raise error.cause from error  # for a fault, where on the node it was
    except ray.exceptions.RayError as error:
        reason = str(error).strip().partition("\n")[0]
        raise ClusterError(
            f"a worker was ended from outside {RETRIES + 1} times, perhaps for want of memory ({reason}). What is "
            "finished stays; give the same command again to go on, with more --ray-cpus a worker if it was memory"
        ) from error


_held: tuple[str, Callable[[Any, Any], Any], Any] | None = None
"""A worker process' own: of which work, how to do a job of it, and what that takes."""


def _do(key: str, told: list[Any], job: Any) -> Any:
    global _held
    if _held is None or _held[0] != key:
        _held = None  # before the next comes
        order = _ray().get(told[0])
        _check_versions(order.versions)
        torch.set_num_threads(1)
        _held = key, order.work, order.begin()
    return _held[1](_held[2], job)


def check_device(device: str) -> None:
    """For a worker, that its node can compute on a device.

    Raises:
        ClusterError: it can't.
    """
    try:
        torch.zeros(1, device=device)
    except Exception as error:  # a device's backend raises what it likes
        reason = str(error).strip().partition("\n")[0]
        raise ClusterError(
            f"the node {socket.gethostname()} can't compute on {device!r}: {reason}. Does a worker have --ray-gpus?"
        ) from None


def _check_versions(driver: dict[str, str]) -> None:
    here = _versions()
    differ = [f"{name} {here[name]} for {driver[name]}" for name in driver if here[name] != driver[name]]
    if differ:
        raise ClusterError(
            f"the node {socket.gethostname()} has {', '.join(differ)}; the same versions are needed on every node"
        )
