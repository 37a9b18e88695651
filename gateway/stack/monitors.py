"""Prometheus, Alertmanager and a Pushgateway of this machine, on what `deploy/prometheus` has."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import httpx
import yaml

from gateway.stack.ports import LOOPBACK, port_near
from gateway.stack.program import Program, running
from monitoring.rules import RuleSettings, rules_file

DEPLOYED = Path(__file__).parent.parent.parent / "deploy" / "prometheus"
PROMETHEUS, ALERTMANAGER, PUSHGATEWAY = "prometheus", "prometheus-alertmanager", "prometheus-pushgateway"
"""The programs, and Debian's packages, of these names."""
JOB, PUSHED_JOB = "evenvoice", "pushgateway"
"""Of `prometheus.yml`."""

SCRAPE, EVALUATION = "2s", "5s"
"""How often Prometheus looks and computes here: so that one need not wait for what takes no more than a look."""
_READY_SECONDS = 30.0


class NotHere(RuntimeError):
    """Something that belongs to a clone of the repository, or to the machine, is missing."""


def missing() -> list[str]:
    """Those that are not installed, by their packages."""
    return [name for name in (PROMETHEUS, ALERTMANAGER, PUSHGATEWAY) if _program(name) is None]


def _program(name: str) -> str | None:
    """Where it lies; as its own project calls it, too."""
    return shutil.which(name) or shutil.which(name.removeprefix("prometheus-"))


@contextmanager
def alertmanager(folder: Path) -> Iterator[str]:
    """The URL of one with the deployed routes, whose receivers send nowhere."""
    port = port_near(9093)
    options = (
        f"--config.file={_deployed('alertmanager.yml')}",
        f"--storage.path={folder / 'data'}",
        f"--web.listen-address={LOOPBACK}:{port}",
        "--cluster.listen-address=",
    )
    with _monitor(ALERTMANAGER, options, folder, port) as url:
        yield url


@contextmanager
def pushgateway(folder: Path) -> Iterator[str]:
    """The URL of one that keeps what it was given in the folder."""
    port = port_near(9091)
    options = (f"--web.listen-address={LOOPBACK}:{port}", f"--persistence.file={folder.resolve() / 'pushed'}")
    with _monitor(PUSHGATEWAY, options, folder, port) as url:
        yield url


@contextmanager
def prometheus(folder: Path, *, gateway: str, pushed: str | None, told: str | None) -> Iterator[str]:
    """The URL of one that scrapes a gateway and computes the rules.

    Args:
        gateway: host:port.
        pushed: host:port of the Pushgateway; without it no alert asks for audits.
        told: host:port of the Alertmanager.
    """
    port = port_near(9090)
    folder.mkdir(parents=True)
    # the rules as they are deployed, computed more often; what is to last for minutes still does
    rules = RuleSettings(interval=EVALUATION) if pushed else RuleSettings(interval=EVALUATION, audit_days=None)
    (folder / "rules.yml").write_text(rules_file(rules), encoding="utf-8")
    targets = {JOB: [gateway], PUSHED_JOB: [pushed] if pushed else []}
    config = folder / "prometheus.yml"
    config.write_text(_configuration(targets, [told] if told else []), encoding="utf-8")
    options = (
        f"--config.file={config}",
        f"--storage.tsdb.path={folder / 'data'}",
        f"--web.listen-address={LOOPBACK}:{port}",
    )
    with _monitor(PROMETHEUS, options, folder, port) as url:
        yield url


def alerts_page(prometheus: str) -> str:
    """The URL for a browser; Debian's Prometheus has an older page."""
    newer = f"{prometheus}/alerts"
    is_there = httpx.get(newer, timeout=5.0, follow_redirects=True).status_code == httpx.codes.OK
    return newer if is_there else f"{prometheus}/classic/alerts"


def _configuration(targets: dict[str, list[str]], told: Sequence[str]) -> str:
    """The deployed `prometheus.yml`, with other targets and a quicker pace; JSON, which is YAML."""
    config = yaml.safe_load(_deployed("prometheus.yml").read_text(encoding="utf-8"))
    config["global"] = {"scrape_interval": SCRAPE, "evaluation_interval": EVALUATION}
    config["alerting"] = {"alertmanagers": [{"static_configs": [{"targets": list(told)}]}]}
    for job in config["scrape_configs"]:
        job["static_configs"] = [{"targets": targets[job["job_name"]]}]
    return json.dumps(config, indent=2) + "\n"


def _deployed(name: str) -> Path:
    """
    Raises:
        NotHere: this is no clone.
    """
    path = DEPLOYED / name
    if not path.is_file():
        raise NotHere(f"{path} is not there: the stack runs in a clone of the repository, which has deploy/")
    return path


@contextmanager
def _monitor(name: str, options: Sequence[str], folder: Path, port: int) -> Iterator[str]:
    """One that answers at its port, with its log in the folder.

    Raises:
        NotHere: it is not installed.
        ProgramFailed: it did not start.
    """
    path = _program(name)
    if path is None:
        raise NotHere(f"{name} is not installed; on Debian and Ubuntu: apt install {name}")
    folder.mkdir(parents=True, exist_ok=True)
    url = f"http://{LOOPBACK}:{port}"
    with running(name, [path, *options], log=folder / f"{name}.log") as started:
        _await(started, url)
        yield url


def _await(started: Program, url: str) -> None:
    def is_ready() -> bool:
        try:
            return httpx.get(f"{url}/-/ready", timeout=1.0).status_code == httpx.codes.OK
        except httpx.HTTPError:
            return False

    started.await_ready(is_ready, seconds=_READY_SECONDS)
