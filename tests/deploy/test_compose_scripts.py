"""The two scripts of the compose stack, run for real: one makes its secrets, the other times its audits."""

from __future__ import annotations

import json
import os
import re
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest
from compose_file import FOLDER, project

from gateway.access.keys import Keyring
from gateway.access.routes import Role
from gateway.records.engine import parse_url

SERVICES = project(EVENVOICE_CORPUS="corpus")["services"]
OWNERS = {"gateway": 10001, "postgres": 999, "prometheus": 65534, "grafana": 472}
"""Whose container -> the user that reads there."""
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="files are given to other users, which takes root")


@pytest.fixture
def places(tmp_path: Path) -> Path:
    for name in (*OWNERS, "audits"):
        (tmp_path / name).mkdir()
    return tmp_path


def set_up(places: Path) -> str:
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "SECRETS": str(places), "AUDITS": str(places / "audits")}
    script = FOLDER / "setup.sh"
    return subprocess.run(["sh", script], env=environment, check=True, capture_output=True, text=True).stdout


def contents(places: Path) -> dict[Path, str]:
    return {path: path.read_text() for path in places.rglob("*") if path.is_file()}


@needs_root
def test_a_start_makes_the_secrets_that_are_not_there_and_no_others(places: Path) -> None:
    assert len(set_up(places).splitlines()) == 3
    made = contents(places)
    assert {str(path.relative_to(places)) for path in made} == {
        *("gateway/keys.json", "gateway/evenvoice_records", "prometheus/evenvoice.key"),
        *("postgres/password", "grafana/password"),
    }
    for path in made:
        found = path.stat()
        assert found.st_uid == OWNERS[path.parent.name], path
        assert stat.S_IMODE(found.st_mode) & 0o077 == 0, path
    assert (places / "gateway").stat().st_uid == (places / "audits").stat().st_uid == OWNERS["gateway"]

    url = parse_url((places / "gateway/evenvoice_records").read_text())
    assert (url.username, url.host, url.database) == (
        SERVICES["postgres"]["environment"]["POSTGRES_USER"],
        "postgres",
        SERVICES["postgres"]["environment"]["POSTGRES_DB"],
    )
    assert url.password == (places / "postgres/password").read_text()
    assert re.fullmatch(r"[0-9a-f]{48}", url.password)
    assert url.password != (places / "grafana/password").read_text()
    key = Keyring(places / "gateway/keys.json").find((places / "prometheus/evenvoice.key").read_text())
    assert key is not None
    assert key.role is Role.METRICS

    assert set_up(places) == ""
    assert contents(places) == made

    (places / "postgres/password").unlink()
    (places / "prometheus/evenvoice.key").unlink()
    set_up(places)
    anew = contents(places)
    assert {str(path.relative_to(places)) for path in made if made[path] != anew[path]} == {
        *("gateway/keys.json", "gateway/evenvoice_records", "prometheus/evenvoice.key", "postgres/password")
    }
    assert parse_url(anew[places / "gateway/evenvoice_records"]).password == anew[places / "postgres/password"]
    assert Keyring(places / "gateway/keys.json").find(anew[places / "prometheus/evenvoice.key"]) is not None


def test_the_secrets_are_where_the_containers_look_for_them() -> None:
    mounted = {name: service.get("volumes", []) for name, service in SERVICES.items()}
    for name in OWNERS:
        assert f"{name}-secrets:/secrets/{name}" in mounted["setup"]
        assert any(str(volume).startswith(f"{name}-secrets:") for volume in mounted[name])
    postgres, grafana = (SERVICES[name]["environment"] for name in ("postgres", "grafana"))
    assert postgres["POSTGRES_PASSWORD_FILE"] == "/run/postgres/password"
    assert "postgres-secrets:/run/postgres:ro" in mounted["postgres"]
    assert grafana["GF_SECURITY_ADMIN_PASSWORD__FILE"] == "/run/grafana/password"
    assert "grafana-secrets:/run/grafana:ro" in mounted["grafana"]


class Schedule:
    """`schedule.py` at work in a folder."""

    def __init__(self, folder: Path, *command: str, every: str) -> None:
        self.stamp = folder / "stamp"
        arguments = ["--every", every, "--stamp", self.stamp, "--", *command]
        self.process = subprocess.Popen(
            [sys.executable, FOLDER / "schedule.py", *arguments], stdout=subprocess.PIPE, text=True
        )

    def next_turn(self) -> dict[str, object]:
        assert self.process.stdout is not None
        told: dict[str, object] = json.loads(self.process.stdout.readline())
        return told

    def end(self) -> str:
        """What it still says after SIGTERM; it ends with 0."""
        self.process.terminate()
        rest, _ = self.process.communicate(timeout=10)
        assert self.process.returncode == 0
        return rest


@pytest.mark.parametrize(("code", "verdict"), [(0, "pass"), (1, "disparity"), (2, "inconclusive")])
def test_after_a_verdict_the_next_turn_comes_in_its_time(tmp_path: Path, code: int, verdict: str) -> None:
    schedule = Schedule(tmp_path, "sh", "-c", f"exit {code}", every="1s")
    first, since = schedule.next_turn(), time.monotonic()
    assert (first["exit_code"], first["verdict"]) == (code, verdict)
    assert schedule.stamp.exists()
    assert schedule.next_turn()["verdict"] == verdict
    assert time.monotonic() - since > 0.5
    assert schedule.end() == ""


def test_a_container_that_is_started_anew_neither_repeats_nor_forgets_a_turn(tmp_path: Path) -> None:
    mark = tmp_path / "turns"
    command = ("sh", "-c", f"echo turn >> {mark}")
    schedule = Schedule(tmp_path, *command, every="1h")
    assert schedule.next_turn()["verdict"] == "pass"
    schedule.end()
    again = Schedule(tmp_path, *command, every="1h")
    time.sleep(0.5)
    again.end()
    assert mark.read_text() == "turn\n"
    an_hour_ago = time.time() - 3601
    os.utime(again.stamp, (an_hour_ago, an_hour_ago))
    due = Schedule(tmp_path, *command, every="1h")
    due.next_turn()
    due.end()
    assert mark.read_text() == "turn\n" * 2


@pytest.mark.parametrize("code", [3, 75])
def test_what_is_no_verdict_is_tried_again_and_leaves_no_stamp(tmp_path: Path, code: int) -> None:
    schedule = Schedule(tmp_path, "sh", "-c", f"exit {code}", every="1s")
    assert [schedule.next_turn() for _ in range(2)][1]["exit_code"] == code
    schedule.end()
    assert not schedule.stamp.exists()


def test_an_audit_under_way_is_told_to_end_and_gives_no_verdict(tmp_path: Path) -> None:
    child = tmp_path / "child"
    schedule = Schedule(tmp_path, "sh", "-c", f"echo $$ > {child}; exec sleep 60", every="1h")
    while not (child.exists() and child.read_text().strip()):
        assert schedule.process.poll() is None
        time.sleep(0.02)
    assert schedule.end() == ""
    assert not schedule.stamp.exists()
    with pytest.raises(ProcessLookupError):
        os.kill(int(child.read_text()), signal.SIG_DFL)


@pytest.mark.parametrize("every", ["7", "0d", "7 days", "-1d"])
def test_a_duration_that_means_nothing_is_refused(tmp_path: Path, every: str) -> None:
    schedule = FOLDER / "schedule.py"
    command = [sys.executable, schedule, f"--every={every}", f"--stamp={tmp_path / 'stamp'}", "--", "true"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 2
    assert "a number and s, m, h, d or w is" in done.stderr


def test_the_stack_gives_it_arguments_that_it_takes(tmp_path: Path) -> None:
    python, script, *arguments = SERVICES["audit"]["entrypoint"]
    assert (python, script) == ("python", "/schedule.py")
    stamp = arguments.index("--stamp") + 1
    arguments[stamp] = str(tmp_path / "stamp")
    command = [sys.executable, FOLDER / "schedule.py", *arguments, "sh", "-c", "exit 2"]
    schedule = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert schedule.stdout is not None
    assert json.loads(schedule.stdout.readline())["verdict"] == "inconclusive"
    schedule.terminate()
    schedule.communicate(timeout=10)
