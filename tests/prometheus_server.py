"""A real Prometheus, of this machine, that scrapes or holds what a test gives it."""

from __future__ import annotations

import json
import math
import shutil
import socket
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest

PROMETHEUS, PROMTOOL = shutil.which("prometheus"), shutil.which("promtool")
needs_prometheus = pytest.mark.skipif(not (PROMETHEUS and PROMTOOL), reason="prometheus and promtool are not installed")

Series = tuple[Mapping[str, str], float]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass
class Prometheus:
    """`prometheus`, looking every second at its targets; ended with `stop`."""

    home: Path
    targets: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """Job -> host:port."""
    history: str = ""
    """OpenMetrics text with moments, that it holds from the start."""
    rules: str = ""
    """A file of rules that it computes."""
    alertmanagers: Sequence[str] = ()
    """host:port of those that it tells of alerts."""

    def __post_init__(self) -> None:
        assert PROMETHEUS is not None
        self.home.mkdir(parents=True, exist_ok=True)
        data, config = self.home / "data", self.home / "prometheus.yml"
        if self.history:
            assert PROMTOOL is not None
            samples = self.home / "history.om"
            samples.write_text(self.history)
            subprocess.run(
                [PROMTOOL, "tsdb", "create-blocks-from", "openmetrics", samples, data], check=True, capture_output=True
            )
        jobs = [
            {"job_name": job, "honor_labels": True, "static_configs": [{"targets": list(hosts)}]}
            for job, hosts in self.targets.items()
        ]
        every = {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"}
        (self.home / "rules.yml").write_text(self.rules)
        told = {"alertmanagers": [{"static_configs": [{"targets": list(self.alertmanagers)}]}]}
        config.write_text(  # JSON is YAML
            json.dumps({"global": every, "scrape_configs": jobs, "rule_files": ["rules.yml"], "alerting": told})
        )
        self.port = free_port()
        self.log = self.home / "prometheus.log"
        with self.log.open("w") as log:
            self._process = subprocess.Popen(
                [
                    PROMETHEUS,
                    f"--config.file={config}",
                    f"--storage.tsdb.path={data}",
                    "--storage.tsdb.retention.time=100y",
                    f"--web.listen-address=127.0.0.1:{self.port}",
                ],
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        for _ in range(600):
            assert self._process.poll() is None, self.log.read_text()
            try:
                if self._get("/-/ready").status_code == 200:
                    return
            except httpx.HTTPError:
                pass
            time.sleep(0.05)
        raise AssertionError(self.log.read_text())

    def query(self, expr: str, *, at: float | None = None) -> list[Series]:
        """The instant vector at a moment; a scalar is a series without labels. NaN is none."""
        moment = {} if at is None else {"time": f"{at:.3f}"}
        answer = httpx.post(
            f"http://127.0.0.1:{self.port}/api/v1/query", data={"query": expr, **moment}, timeout=30
        ).json()
        assert answer["status"] == "success", f"{answer.get('error')}: {expr}"
        result = answer["data"]["result"]
        if answer["data"]["resultType"] == "scalar":
            return [({}, float(result[1]))]
        found = [(series["metric"], float(series["value"][1])) for series in result]
        return [(labels, value) for labels, value in found if not math.isnan(value)]

    def until(self, expr: str, *, seconds: float = 30.0) -> list[Series]:
        """The query's answer as soon as there is one."""
        ends = time.monotonic() + seconds
        while time.monotonic() < ends:
            if found := self.query(expr):
                return found
            time.sleep(0.2)
        raise AssertionError(f"nothing within {seconds} s: {expr}")

    def alerts(self) -> list[Mapping[str, str]]:
        """The labels of each alert that fires or is about to, with its `state` and since when, `activeAt`."""
        found = self._get("/api/v1/alerts").json()["data"]["alerts"]
        return [{**alert["labels"], **{key: alert[key] for key in ("state", "activeAt")}} for alert in found]

    def stop(self) -> None:
        self._process.terminate()
        self._process.wait(20)

    def _get(self, path: str) -> httpx.Response:
        return httpx.get(f"http://127.0.0.1:{self.port}{path}", timeout=5)


@dataclass
class Pushgateway:
    """`prometheus-pushgateway`; ended with `stop`."""

    home: Path

    def __post_init__(self) -> None:
        self.host = f"127.0.0.1:{free_port()}"
        program = shutil.which("prometheus-pushgateway")
        if program is None:
            pytest.skip("prometheus-pushgateway is not installed")
        with (self.home / "pushgateway.log").open("w") as log:
            self._process = subprocess.Popen(
                # Debian's keeps what was pushed in a file of the machine's, unless told not to
                [program, f"--web.listen-address={self.host}", "--persistence.file="],
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        for _ in range(600):
            try:
                is_ready = httpx.get(f"http://{self.host}/-/ready", timeout=5).status_code == 200
                assert self._process.poll() is None, "another program took its port"
                if is_ready:
                    return
            except httpx.HTTPError:
                time.sleep(0.05)
        raise AssertionError("the Pushgateway does not start")

    def stop(self) -> None:
        self._process.terminate()
        self._process.wait(20)
