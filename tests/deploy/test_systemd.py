"""The units of one machine: systemd takes them, their commands are ours, and the gateway works within their bounds."""

from __future__ import annotations

import ctypes.util
import itertools
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import click
import httpx
import pytest
import yaml
from prometheus_server import free_port
from units import PROGRAM, SYSTEMD, command_of, environment_file, system_calls, unit

from gateway.cli.audit.exit_codes import BUSY
from gateway.cli.main import cli
from gateway.settings import Settings
from monitoring.rules import RuleSettings, rules_file
from recognizer.defense import DefenseName

UNITS = ("evenvoice.service", "evenvoice-audit.service", "evenvoice-audit.timer")
SERVICES = UNITS[:2]
EXPOSURE = 15
"""Of 100, by `systemd-analyze security`; a service without any bounds has 96."""
PATIENT = {"EVENVOICE_DEADLINE_MS": "20000", "EVENVOICE_VALID_FOR_MS": "30000"}
needs_systemd = pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not installed")


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """The units, with the program where it is here."""
    for name in UNITS:
        text = (SYSTEMD / name).read_text().replace(PROGRAM, str(Path(sys.executable).with_name("evenvoice")))
        (tmp_path / name).write_text(text)
    return tmp_path


def variables(name: str, file: str) -> dict[str, str]:
    """As systemd gives them to ExecStart: the file's go before the unit's own."""
    own = dict(word.split("=", 1) for line in unit(name)["Environment"] for word in line.split())
    return own | environment_file(file)


def parsed(words: list[str]) -> dict[str, Any]:
    """What click makes of a command's options; nothing is run."""
    command: click.Command = cli
    while isinstance(command, click.Group):
        found = command.get_command(click.Context(command), words.pop(0))
        assert found is not None
        command = found
    return command.make_context("evenvoice", words).params


@needs_systemd
def test_systemd_finds_nothing_wrong(installed: Path) -> None:
    files = [str(installed / name) for name in UNITS]
    done = subprocess.run(["systemd-analyze", "verify", "--man=no", *files], capture_output=True, text=True)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


@needs_systemd
def test_systemd_finds_nothing_wrong_in_what_opens_the_unit(installed: Path) -> None:
    for name in ("gpu.conf", "other-machines.conf"):
        (installed / f"{UNITS[0]}.d").mkdir(exist_ok=True)
        shutil.copy(SYSTEMD / name, installed / f"{UNITS[0]}.d")
    command = ["systemd-analyze", "verify", "--man=no", installed / UNITS[0]]
    environment = {**os.environ, "SYSTEMD_UNIT_PATH": f"{installed}:"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


@needs_systemd
@pytest.mark.parametrize("name", SERVICES)
def test_a_service_is_exposed_to_little(installed: Path, name: str) -> None:
    command = [
        "systemd-analyze",
        "security",
        "--offline=yes",
        "--no-pager",
        f"--threshold={EXPOSURE}",
        installed / name,
    ]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


@needs_systemd
def test_a_missed_audit_is_stale_only_after_the_next_one_was_due() -> None:
    """The times of the timer, as systemd reads them, against the days of the rule."""
    listed = subprocess.run(
        ["systemd-analyze", "calendar", "--iterations=3", unit("evenvoice-audit.timer")["OnCalendar"][0]],
        check=True,
        capture_output=True,
        text=True,
        env={**os.environ, "TZ": "UTC"},
    ).stdout
    moments = [" ".join(line.split()[-3:-1]) for line in listed.splitlines() if line.rstrip().endswith("UTC")]
    times = [time.mktime(time.strptime(moment, "%Y-%m-%d %H:%M:%S")) for moment in dict.fromkeys(moments)]
    assert len(times) == 3
    longest = max(b - a for a, b in itertools.pairwise(times)) + 3600  # RandomizedDelaySec
    rules = yaml.safe_load(rules_file(RuleSettings()))
    stale = next(r for g in rules["groups"] for r in g["rules"] if r.get("alert") == "EvenvoiceAuditStale")
    assert longest < float(stale["expr"].split(">")[1]) < 2 * longest
    assert unit("evenvoice-audit.timer")["Persistent"] == ["true"]


def test_the_gateways_command_is_ours_and_its_settings_are_known(monkeypatch: pytest.MonkeyPatch) -> None:
    given = variables("evenvoice.service", "gateway.env")
    monkeypatch.setenv("EVENVOICE_BUNDLE", given["EVENVOICE_BUNDLE"])
    program, *words = command_of("evenvoice.service", given)
    assert program == PROGRAM
    options = parsed(words)
    assert (options["host"], options["port"]) == ("127.0.0.1", 3000)
    commented = [line.lstrip("#") for line in (SYSTEMD / "gateway.env").read_text().splitlines() if "=" in line]
    names = {line.split("=")[0] for line in commented if line.startswith("EVENVOICE_")} | set(given)
    known = {f"EVENVOICE_{name.upper()}" for name in Settings.model_fields} | {"EVENVOICE_SECRETS_DIR"}
    assert {name for name in names if name.startswith("EVENVOICE_")} <= known
    # a file /etc/evenvoice/secrets/records becomes evenvoice_records: the name under which the setting is read
    assert unit("evenvoice.service")["LoadCredential"] == ["evenvoice:/etc/evenvoice/secrets"]
    assert given["EVENVOICE_SECRETS_DIR"] == "%d"


def test_the_audits_command_is_ours_and_its_verdicts_are_no_failures() -> None:
    program, *words = command_of("evenvoice-audit.service", variables("evenvoice-audit.service", "audit.env"))
    assert program == PROGRAM
    options = parsed(words)
    assert options["pushgateway"] == "http://127.0.0.1:9091"
    assert options["corpus"] == "audit"
    assert options["exclusive"] in options["out"].parents
    assert set(unit("evenvoice-audit.service")["SuccessExitStatus"][0].split()) == {"1", "2", str(BUSY)}


def test_a_request_under_way_has_time_to_be_answered() -> None:
    """Longer than the 30 s after which the gateway answers 504 whatever happens."""
    assert float(unit("evenvoice.service")["TimeoutStopSec"][0]) > 30


@needs_systemd
@pytest.mark.skipif(sys.platform != "linux" or not ctypes.util.find_library("seccomp"), reason="no libseccomp")
@pytest.mark.timeout(180)
def test_the_gateway_works_within_the_system_calls_it_is_left(bundle: Path, spoken_clip: Path, tmp_path: Path) -> None:
    """The filter of the unit, put on by libseccomp as systemd does: it answers, and ends when asked."""
    calls = system_calls(unit("evenvoice.service")["SystemCallFilter"])
    assert "mount" not in calls
    assert "execve" in calls
    (tmp_path / "calls").write_text("\n".join(sorted(calls)))
    port = free_port()
    evenvoice = Path(sys.executable).with_name("evenvoice")
    launcher = Path(__file__).with_name("seccomp_launcher.py")
    options = ("serve", "--bundle", bundle, "--port", str(port), "--state", tmp_path / "state")
    with (tmp_path / "log").open("w") as log:
        server = subprocess.Popen(
            [sys.executable, launcher, tmp_path / "calls", sys.executable, evenvoice, *options],
            env={**os.environ, "OMP_NUM_THREADS": "1", **PATIENT},
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    try:
        url = f"http://127.0.0.1:{port}"
        ends = time.monotonic() + 120
        while not _is_ready(url):
            assert server.poll() is None, (tmp_path / "log").read_text()
            assert time.monotonic() < ends, (tmp_path / "log").read_text()
            time.sleep(0.2)
        for defense in DefenseName:
            answer = httpx.post(
                f"{url}/v1/commands",
                params={"defense": defense.value},
                content=spoken_clip.read_bytes(),
                headers={"content-type": "audio/wav"},
                timeout=30,
            )
            assert answer.status_code == 200, answer.text
        status = Path(f"/proc/{server.pid}/status").read_text()
        assert "Seccomp:\t2" in status
        server.send_signal(signal.SIGTERM)
        assert server.wait(45) == 0
    finally:
        server.kill()
        server.wait(10)


@pytest.fixture
def spoken_clip(tone_manifest: Path) -> Path:
    return next(tone_manifest.parent.glob("*/go_0.wav"))


def _is_ready(url: str) -> bool:
    try:
        return httpx.get(f"{url}/readyz", timeout=1).status_code == 200
    except httpx.HTTPError:
        return False
