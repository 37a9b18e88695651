"""Servers as processes of their own on this machine: started, waited for, weighed, stopped."""

from __future__ import annotations

import http.client
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

START_SECONDS = 120.0
STOP_SECONDS = 30.0
POLL_SECONDS = 0.02
EVENVOICE = Path(sys.executable).with_name("evenvoice")
UNHURRIED = {"EVENVOICE_DEADLINE_MS": "20000", "EVENVOICE_VALID_FOR_MS": "30000", "EVENVOICE_MAX_PENDING": "64"}
"""So that a slow machine shows as slow, not as abstentions for lack of time."""


class ServerFailed(RuntimeError):
    """A server that ended, or was not ready in time; the message is what it printed."""


@dataclass
class Server:
    """One that runs."""

    port: int
    process: subprocess.Popen[bytes]
    state: Path
    ready_seconds: float = 0.0
    """From its start to its first answer 200 at `/readyz`."""

    def family(self) -> list[psutil.Process]:
        """Its processes, the first one first."""
        try:
            first = psutil.Process(self.process.pid)
            return [first, *first.children(recursive=True)]
        except psutil.NoSuchProcess:
            return []

    def cpu_seconds(self) -> float:
        """That its processes took so far."""
        times = [process.cpu_times() for process in self.family()]
        return sum(t.user + t.system for t in times)

    def resident_mib(self) -> float:
        return sum(process.memory_info().rss for process in self.family()) / 2**20


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def evenvoice(
    bundle: Path, state: Path, *, environment: Mapping[str, str] | None = None, options: tuple[str, ...] = ()
) -> Iterator[Server]:
    """`evenvoice serve`, ready."""
    command = [EVENVOICE, "serve", "--bundle", bundle, "--state", state, *options]
    with _running(command, state, {**UNHURRIED, **(environment or {})}) as server:
        yield server


@contextmanager
def bare(bundle: Path, state: Path, *, threads: int) -> Iterator[Server]:
    """`benchmarks.bare_server`, ready."""
    command = [sys.executable, "-m", "benchmarks.bare_server", bundle, "--threads", str(threads)]
    with _running(command, state, {}) as server:
        yield server


@contextmanager
def _running(command: list[str | Path], state: Path, environment: Mapping[str, str]) -> Iterator[Server]:
    state.mkdir(parents=True, exist_ok=True)
    inherited = {k: v for k, v in os.environ.items() if not k.startswith(("EVENVOICE_", "BENTOML", "PROMETHEUS"))}
    port, log = free_port(), state / "log"
    begun = time.perf_counter()
    with log.open("wb") as said:
        process = subprocess.Popen(
            [str(part) for part in (*command, "--port", str(port))],
            env={**inherited, **environment},
            stdout=said,
            stderr=subprocess.STDOUT,
        )
    server = Server(port, process, state)
    try:
        _wait_for(server, log)
        server.ready_seconds = time.perf_counter() - begun
        yield server
    finally:
        family = server.family()
        process.send_signal(signal.SIGTERM)
        _, alive = psutil.wait_procs(family, timeout=STOP_SECONDS)
        for left in alive:
            left.kill()
        process.wait()


def _wait_for(server: Server, log: Path) -> None:
    ends = time.monotonic() + START_SECONDS
    while time.monotonic() < ends:
        if server.process.poll() is not None:
            break
        if _is_ready(server.port):
            return
        time.sleep(POLL_SECONDS)
    raise ServerFailed(log.read_text(errors="replace"))


def _is_ready(port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=1.0)
    try:
        connection.request("GET", "/readyz")
        return connection.getresponse().status == 200
    except OSError:
        return False
    finally:
        connection.close()
