"""A real Pushgateway and a real Prometheus that scrapes it, each on a port of the loopback."""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest


def program(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"no {name} here; apt install prometheus prometheus-pushgateway")
    return found


@contextmanager
def pushgateway(folder: Path) -> Iterator[str]:
    """Its URL."""
    url, port = _free()
    with _running(
        folder, program("prometheus-pushgateway"), f"--web.listen-address=127.0.0.1:{port}", "--persistence.file="
    ):
        _until_ready(f"{url}/-/ready")
        yield url


@contextmanager
def prometheus(folder: Path, *, scraping: str) -> Iterator[str]:
    """The URL of one that scrapes a Pushgateway each second, as docs/audit-tools.md says."""
    url, port = _free()
    target = scraping.removeprefix("http://")
    (folder / "prometheus.yml").write_text(
        "global: {scrape_interval: 1s}\n"
        "scrape_configs:\n"
        "  - job_name: pushgateway\n"
        "    honor_labels: true\n"
        f"    static_configs: [{{targets: ['{target}']}}]\n"
    )
    options = (
        f"--config.file={folder / 'prometheus.yml'}",
        f"--storage.tsdb.path={folder / 'data'}",
        f"--web.listen-address=127.0.0.1:{port}",
    )
    with _running(folder, program("prometheus"), *options):
        _until_ready(f"{url}/-/ready")
        yield url


def asked(url: str, query: str) -> list[tuple[dict[str, str], float]]:
    """Labels and value of each series that an instant query gives."""
    answer = httpx.get(f"{url}/api/v1/query", params={"query": query})
    answer.raise_for_status()
    found: list[dict[str, Any]] = answer.json()["data"]["result"]
    return [(series["metric"], float(series["value"][1])) for series in found]


def asked_until_found(url: str, query: str, seconds: float = 30) -> list[tuple[dict[str, str], float]]:
    end = time.monotonic() + seconds
    while not (found := asked(url, query)) and time.monotonic() < end:
        time.sleep(0.2)
    return found


def _free() -> tuple[str, int]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    return f"http://127.0.0.1:{port}", port


@contextmanager
def _running(folder: Path, *command: str) -> Iterator[None]:
    with (folder / f"{Path(command[0]).name}.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, cwd=folder)
    try:
        yield
    finally:
        process.terminate()
        process.wait(20)


def _until_ready(url: str) -> None:
    for _ in range(300):
        try:
            if httpx.get(url).status_code == 200:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.1)
    raise AssertionError(f"nothing answers at {url}")
