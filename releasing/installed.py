"""A wheel installed into a fresh environment, as an image and a user do, and tried there."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from pathlib import Path

PAGES = ("/readyz", "/fairness", "/console", "/console/static/console.js", "/openapi.json", "/metrics")
"""Answered only where the pages, their parts and the migrations are in the wheel."""
_START_SECONDS = 120


def install(wheel: Path, environment: Path, *, constraints: Path) -> None:
    """Make an environment and install the wheel and its extra `postgres` from wheels alone, at the pinned versions.

    Raises:
        subprocess.CalledProcessError: pip can't, for the reason that it printed.
    """
    run([sys.executable, "-m", "venv", "--clear", "--without-pip", environment])
    pip: list[str | Path] = [
        sys.executable,
        "-m",
        "pip",
        "--disable-pip-version-check",
        "--python",
        environment / "bin" / "python",
    ]
    run([*pip, "install", "--quiet", "--only-binary", ":all:", "--constraint", constraints, f"{wheel}[postgres]"])


def faults_of(environment: Path, *, bundle: Path, version: str, state: Path) -> list[str]:
    """What does not work in an environment: the command, reading a bundle, serving it, each page."""
    evenvoice = environment / "bin" / "evenvoice"
    told = run([evenvoice, "--version"]).strip()
    faults = [] if told == f"evenvoice, version {version}" else [f"evenvoice --version says {told!r}"]
    run([evenvoice, "bundle", "check", bundle])
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    serving = subprocess.Popen(
        [evenvoice, "serve", "--bundle", bundle, "--port", str(port), "--state", state],
        cwd=environment,
        env=_bare_environment(),
    )
    try:
        faults += [f"{page} answers {status}" for page in PAGES if (status := _status_of(port, page)) != 200]
    finally:
        serving.terminate()
        code = serving.wait(60)
    return faults if code == 0 else [*faults, f"evenvoice serve ended with {code}"]


def run(command: Sequence[str | Path]) -> str:
    """What a command prints.

    Raises:
        subprocess.CalledProcessError: it failed.
    """
    return subprocess.run(command, env=_bare_environment(), stdout=subprocess.PIPE, text=True, check=True).stdout


def _bare_environment() -> dict[str, str]:
    """This one's, without what would lead back to this tree."""
    taken = ("EVENVOICE_", "BENTOML", "PROMETHEUS_", "PYTHONPATH", "VIRTUAL_ENV")
    return {name: value for name, value in os.environ.items() if not name.startswith(taken)}


def _status_of(port: int, page: str) -> int:
    ends = time.monotonic() + _START_SECONDS
    while True:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}{page}", timeout=20) as answer:
                return int(answer.status)
        except urllib.error.HTTPError as error:
            if error.code != 503 or time.monotonic() > ends:
                return error.code
        except OSError:
            if time.monotonic() > ends:
                return 0
        time.sleep(0.5)
