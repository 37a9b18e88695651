"""The schedules give the one command of an audit, and overlapping audits exclude each other.

Two real processes; and a Prometheus that misses an audit which nobody started.
"""

from __future__ import annotations

import ast
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from prometheus_server import Prometheus, Pushgateway, needs_prometheus

from gateway.cli.audit.exit_codes import BUSY
from gateway.cli.audit.run import command
from monitoring.rules import RuleSettings, rules_file
from recognizer.manifest import load_manifest, write_table

SCHEDULES = Path(__file__).parent.parent.parent / "deploy" / "schedules"
EVENVOICE = Path(sys.executable).with_name("evenvoice")
PROGRAM = ["/opt/evenvoice/bin/evenvoice", "audit", "run"]
ORCHESTRATORS = ("airflow", "prefect", "dagster")


def command_in(path: Path) -> list[str]:
    """The words of the audit that a schedule starts, without running it."""
    text = path.read_text()
    if path.suffix == ".cron":
        found = re.search(r"\$\((.*?) 2>&1\)", text)
        assert found is not None
        return shlex.split(found[1])
    values = {
        node.targets[0].id: ast.literal_eval(node.value)
        for node in ast.parse(text).body
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) and node.targets[0].id == "AUDIT"
    }
    return shlex.split(values["AUDIT"])


@pytest.mark.parametrize("name", ["evenvoice.cron", *(f"{name}_audit.py" for name in ORCHESTRATORS)])
def test_a_schedule_starts_an_audit_that_excludes_others_and_is_pushed(name: str) -> None:
    words = command_in(SCHEDULES / name)
    assert words[:3] == PROGRAM
    options = command.make_context("run", words[3:]).params
    assert options["exclusive"] in options["out"].parents
    assert options["pushgateway"] == "http://127.0.0.1:9091"
    assert options["corpus"] == "audit"


@pytest.mark.parametrize(("code", "is_mailed"), [(0, 0), (1, 0), (2, 0), (3, 1), (75, 0), (127, 1)])
def test_cron_mails_what_is_no_verdict_and_nothing_else(tmp_path: Path, code: int, is_mailed: int) -> None:
    """Its line, run by sh as cron does, with a program of that exit code in evenvoice's place."""
    lines = (SCHEDULES / "evenvoice.cron").read_text().splitlines()
    (line,) = [line for line in lines if line and not line.startswith("#") and "=" not in line.split()[0]]
    minute, hour, day, month, weekday, user, shell = line.split(None, 6)
    assert (minute, hour, day, month, weekday, user) == ("0", "3", "*", "*", "0", "evenvoice")
    assert "%" not in shell  # cron makes a new line of it
    program = tmp_path / "evenvoice"
    program.write_text(f"#!/bin/sh\necho said\nexit {code}\n")
    program.chmod(0o755)
    done = subprocess.run(
        ["/bin/sh", "-c", shell.replace(PROGRAM[0], str(program))], capture_output=True, text=True, check=True
    )
    assert done.stdout == ("said\n" if is_mailed else "")


@pytest.mark.parametrize("name", ORCHESTRATORS)
@pytest.mark.parametrize(("code", "ends"), [(2, "success"), (3, "failure")])
def test_an_orchestrator_takes_verdicts_for_successes_and_errors_for_failures(
    tmp_path: Path, name: str, code: int, ends: str
) -> None:
    """The example as it is, in the orchestrator itself, with a program of that exit code in evenvoice's place.

    EVENVOICE_<NAME>_PYTHON names a Python that has the orchestrator: none of them fits beside this project's packages.
    """
    python = os.environ.get(f"EVENVOICE_{name.upper()}_PYTHON")
    if not python:
        pytest.skip(f"EVENVOICE_{name.upper()}_PYTHON names no Python with {name}")
    program = tmp_path / "evenvoice"
    program.write_text(f"#!/bin/sh\nexit {code}\n")
    program.chmod(0o755)
    example = tmp_path / f"{name}_audit.py"
    example.write_text((SCHEDULES / example.name).read_text().replace(PROGRAM[0], str(program)))
    runs = {
        "airflow": "from airflow_audit import evenvoice_audit as d; s = d().test().state; print('ended', str(s))",
        "prefect": "from prefect_audit import audit; print('ended', audit(return_state=True).type.value)",
        "dagster": "import dagster as dg; from dagster_audit import evenvoice_audit as a; "
        "print('ended', dg.materialize([a], raise_on_error=False).success)",
    }
    said = {"airflow": ("success", "failed"), "prefect": ("COMPLETED", "FAILED"), "dagster": ("True", "False")}[name]
    own = {
        "airflow": {"AIRFLOW__CORE__DAGS_FOLDER": str(tmp_path), "AIRFLOW__CORE__LOAD_EXAMPLES": "False"},
        "prefect": {"PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "120"},
        "dagster": {},
    }[name]
    home = {f"{name.upper()}_HOME": str(tmp_path), "HOME": str(tmp_path), **own}
    for words in (("db", "migrate"), ("dags", "reserialize")) if name == "airflow" else ():
        subprocess.run([python, "-m", "airflow", *words], env={**os.environ, **home}, check=True, capture_output=True)
    done = subprocess.run(
        [python, "-c", runs[name]], cwd=tmp_path, env={**os.environ, **home}, capture_output=True, text=True
    )
    assert f"ended {said[ends == 'failure']}" in done.stdout, done.stdout + done.stderr


@pytest.fixture
def pushgateway(tmp_path: Path) -> Iterator[Pushgateway]:
    (tmp_path / "pushgateway").mkdir()
    started = Pushgateway(tmp_path / "pushgateway")
    yield started
    started.stop()


@pytest.fixture(scope="module")
def some(tone_manifest: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("some") / "manifest.csv"
    table = load_manifest(tone_manifest).table
    write_table(table[table["path"].str.endswith("_0.wav")].assign(split="test"), path)
    return path


def audit(bundle: Path, manifest: Path, out: Path, *options: object) -> subprocess.Popen[str]:
    given = ("--bundle", bundle, "--manifest", manifest, "--out", out, "--defense", "none", "--attacked-clips", "0")
    return subprocess.Popen(
        [EVENVOICE, "audit", "run", *map(str, (*given, *options))],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )


def begun(out: Path, process: subprocess.Popen[str]) -> None:
    """Wait for an audit's first shard, and hold it there."""
    while not list((out / "shards").glob("*.parquet")):
        assert process.poll() is None, process.communicate()
        time.sleep(0.005)
    process.send_signal(signal.SIGSTOP)


@needs_prometheus
def test_of_two_audits_at_once_one_is_made_and_the_other_does_nothing(
    bundle: Path, some: Path, pushgateway: Pushgateway, tmp_path: Path
) -> None:
    """Dated folders, one name; and then the same folder, without a name. What is killed leaves no lock.

    Nor does an audit exclude itself.
    """
    alone = ("--exclusive", tmp_path / "audits", "--shard-clips", "4")
    pushed = ("--pushgateway", f"http://{pushgateway.host}", "--corpus", "digits")
    first = audit(bundle, some, tmp_path / "audits" / "monday", *alone, *pushed)
    begun(tmp_path / "audits" / "monday", first)
    try:
        for out, exclusive in (("tuesday", alone), ("monday", ())):
            second = audit(bundle, some, tmp_path / "audits" / out, *exclusive, *pushed)
            said, complained = second.communicate()
            assert second.returncode == BUSY == 75
            assert said == ""
            told = [line for line in complained.splitlines() if line.startswith("evenvoice: ")]
            assert len(told) == 1
            assert f"another run (process {first.pid}) is at work in" in told[0]
            assert not (tmp_path / "audits" / "tuesday").exists()
            assert not _pushed(pushgateway)
    finally:
        first.send_signal(signal.SIGKILL)
        first.communicate()
    (tmp_path / "link").symlink_to(tmp_path / "audits")  # --exclusive may be --out itself, by any path to it
    third = audit(bundle, some, tmp_path / "audits", "--exclusive", tmp_path / "link", *pushed)
    _, complained = third.communicate()
    assert third.returncode == 2, complained
    assert _pushed(pushgateway) == {"digits"}


def _pushed(pushgateway: Pushgateway) -> set[str]:
    """Corpora that the Pushgateway knows."""
    text = httpx.get(f"http://{pushgateway.host}/metrics").text
    return set(re.findall(r'^evenvoice_audit_exit_code\{corpus="([^"]+)"', text, re.MULTILINE))


@needs_prometheus
def test_a_missed_audit_raises_the_alert_that_asks_for_it(pushgateway: Pushgateway, tmp_path: Path) -> None:
    """Pushed as an audit pushes, its last success 8 days and a moment, or an hour less, ago."""
    days = RuleSettings().audit_days
    assert days is not None
    for corpus, age in (("missed", days * 86_400 + 5), ("made", days * 86_400 - 3600)):
        moment = time.time() - age
        httpx.put(
            f"http://{pushgateway.host}/metrics/job/evenvoice_audit/corpus/{corpus}",
            content=f"evenvoice_audit_last_success_timestamp_seconds {moment}\n",
        ).raise_for_status()
    prometheus = Prometheus(
        tmp_path / "prometheus", {"pushgateway": [pushgateway.host]}, rules=rules_file(RuleSettings(interval="1s"))
    )
    try:
        (found,) = prometheus.until('ALERTS{alertname="EvenvoiceAuditStale"}')
        assert found[0]["corpus"] == "missed"
        assert found[0]["alertstate"] == "firing"
    finally:
        prometheus.stop()
