"""`evenvoice stack`: real Prometheus and its kin beside a gateway, an alarm that comes, and nothing left behind."""

from __future__ import annotations

import json
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import click
import numpy as np
import psutil
import pytest
import yaml
from prometheus_server import needs_prometheus

from gateway.cli.stack import command
from gateway.stack import monitors
from gateway.stack.crowd import Group, NobodyToHear, group_to_worsen, takes_of, worsened
from gateway.stack.ports import LOOPBACK, check_port, port_near
from monitoring.rules import RuleSettings, rules_file
from recognizer.decision import UNKNOWN
from recognizer.manifest import load_manifest, write_table

EVENVOICE = Path(sys.executable).with_name("evenvoice")
WORSE = "south"
needs_all = pytest.mark.skipif(bool(monitors.missing()), reason=f"not installed: {', '.join(monitors.missing())}")


@pytest.fixture(scope="module")
def crowd(tone_manifest: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two takes of the tones' twelve speakers, all of them for the test."""
    path = tmp_path_factory.mktemp("crowd") / "manifest.csv"
    table = load_manifest(tone_manifest).table
    write_table(table[table["path"].str.contains(r"_[01]\.wav$")].assign(split="test"), path)
    return path


def stack(folder: Path, bundle: Path, manifest: Path, *options: str) -> subprocess.Popen[str]:
    given = ("--folder", folder, "--bundle", bundle, "--manifest", manifest, *options)
    return subprocess.Popen(
        [EVENVOICE, "stack", *given],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        # where a proxy leads out of the machine, it is not asked for what is in it
        env={**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "200", "http_proxy": "http://127.0.0.1:9"},
    )


def processes_of(folder: Path) -> list[psutil.Process]:
    """Those that were given the folder, by whatever started them."""
    found = []
    for process in psutil.process_iter():
        try:
            words = [*process.cmdline(), process.environ().get("EVENVOICE_STATE", "")]
        except psutil.Error:
            continue
        if any(str(folder) in word for word in words):
            found.append(process)
    return found


@needs_all
@pytest.mark.timeout(240)
def test_the_group_that_is_heard_worse_raises_an_alarm_and_nothing_is_left(
    bundle: Path, crowd: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "stack"
    options = ("--once", "--worse", f"accent={WORSE}", "--clear-seconds", "3", "--pace", "20")
    started = stack(folder, bundle, crowd, *options)
    try:
        said, _ = started.communicate(timeout=220)
    finally:
        started.kill()
    assert started.returncode == 0, said
    assert f"These speakers of accent {WORSE} are turned away more often than the rest" in said

    with sqlite3.connect(folder / "gateway" / "state" / "records.sqlite3") as records:
        rows = records.execute("SELECT speaker, outcome FROM decisions ORDER BY received_at").fetchall()
    group_of = dict(zip(*load_manifest(crowd).table[["speaker", "accent"]].to_numpy().T, strict=True))
    assert {speaker for speaker, _ in rows} == set(group_of)
    turned_away = Counter(group_of[speaker] for speaker, outcome in rows if outcome == "rejected")
    assert turned_away[WORSE] > 5 * turned_away["north"]

    pushed = (folder / monitors.PUSHGATEWAY / "pushed").read_bytes()
    assert b"evenvoice_audit_last_success_timestamp_seconds" in pushed
    assert processes_of(folder) == []


@needs_all
@pytest.mark.timeout(120)
def test_a_killed_stack_takes_everything_with_it(bundle: Path, crowd: Path, tmp_path: Path) -> None:
    folder = tmp_path / "stack"
    started = stack(folder, bundle, crowd)
    try:
        assert started.stdout is not None
        while "logs" not in (line := started.stdout.readline()):
            assert line, started.wait()
        programs = {process.name() for process in processes_of(folder)}
        assert {name[:15] for name in (monitors.PROMETHEUS, monitors.ALERTMANAGER, monitors.PUSHGATEWAY)} <= {
            name[:15]
            for name in programs  # as the kernel cuts them
        }
    finally:
        started.send_signal(signal.SIGKILL)
        started.communicate()
    ends = time.monotonic() + 30
    while left := processes_of(folder):
        assert time.monotonic() < ends, left
        time.sleep(0.2)


def test_what_is_not_installed_is_said_with_the_command_that_installs_it(
    bundle: Path, crowd: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    folder = tmp_path / "stack"
    given = ["--folder", str(folder), "--bundle", str(bundle), "--manifest", str(crowd)]
    with pytest.raises(
        click.ClickException, match="apt install prometheus prometheus-alertmanager prometheus-pushgateway"
    ):
        command.main(given, standalone_mode=False)
    assert not folder.exists()


def test_a_bundle_that_is_not_there_is_said_with_what_makes_one(crowd: Path, tmp_path: Path) -> None:
    with pytest.raises(click.ClickException, match="bundle is not there; `evenvoice demo --once`"):
        command.main(["--bundle", str(tmp_path / "bundle"), "--manifest", str(crowd)], standalone_mode=False)


@needs_prometheus
def test_the_configuration_is_the_deployed_one_at_other_places(tmp_path: Path) -> None:
    with monitors.prometheus(tmp_path / "p", gateway="127.0.0.1:1", pushed="127.0.0.1:2", told="127.0.0.1:3"):
        pass
    deployed = yaml.safe_load((monitors.DEPLOYED / "prometheus.yml").read_text())
    ours = json.loads((tmp_path / "p" / "prometheus.yml").read_text())
    for job, kept in zip(ours["scrape_configs"], deployed["scrape_configs"], strict=True):
        assert {k: v for k, v in job.items() if k != "static_configs"} == {
            k: v for k, v in kept.items() if k != "static_configs"
        }
    subprocess.run(["promtool", "check", "config", tmp_path / "p" / "prometheus.yml"], check=True, capture_output=True)
    rules = (tmp_path / "p" / "rules.yml").read_text()
    assert rules.replace("interval: 5s", "interval: 1m") == rules_file(RuleSettings())


def test_the_group_is_the_one_on_which_evidence_comes_soonest(crowd: Path) -> None:
    manifest = load_manifest(crowd)
    vocabulary = {"accent": ["north", "south"], "gender": ["female", "male"]}
    sizes = {
        (attribute, name): min(
            len({s for s, g in zip(manifest.table["speaker"], manifest.table[attribute], strict=True) if g == name}),
            len({s for s, g in zip(manifest.table["speaker"], manifest.table[attribute], strict=True) if g != name}),
        )
        for attribute, names in vocabulary.items()
        for name in names
    }
    chosen = group_to_worsen(manifest, vocabulary)
    assert sizes[chosen.attribute, chosen.name] == max(sizes.values())
    with pytest.raises(NobodyToHear, match="two groups"):
        group_to_worsen(manifest, {"accent": ["north"]})


def test_only_clips_of_the_group_are_worsened_and_none_is_of_no_command(crowd: Path) -> None:
    manifest = load_manifest(crowd)
    takes = takes_of(manifest, Group("accent", WORSE), seed=1)
    accent = dict(zip(manifest.table["speaker"], manifest.table["accent"], strict=True))
    assert {take.command for take in takes}.isdisjoint({UNKNOWN})
    assert all(take.is_of_group == (accent[take.speaker] == WORSE) for take in takes)
    assert all(count == 6 for count in Counter(take.speaker for take in takes).values())
    with pytest.raises(NobodyToHear, match="accent east"):
        takes_of(manifest, Group("accent", "east"), seed=1)


def test_what_is_muffled_keeps_low_tones_under_louder_noise() -> None:
    """By the power of a low and a high sine in the spectrum, and of what the noise adds."""
    rate, moments = 16_000, np.arange(16_000) / 16_000
    quiet = worsened(np.sin(2 * np.pi * 3000 * moments), rate, np.random.default_rng(0))
    low = np.sin(2 * np.pi * 200 * moments)
    heard = worsened(low, rate, np.random.default_rng(0))
    assert np.std(quiet) < 0.005  # of 0.21 at 0.3 of a sine
    kept = 2 * abs(np.fft.rfft(heard)[200]) / rate
    assert kept == pytest.approx(0.3, rel=0.1)
    assert np.var(heard) / (kept**2 / 2) - 1 == pytest.approx(4, rel=0.2)


def test_a_port_that_is_taken_gives_way_to_a_free_one() -> None:
    with socket.socket() as taken:
        taken.bind((LOOPBACK, 0))
        taken.listen()
        port = taken.getsockname()[1]
        found = port_near(port)
        assert found != port
        check_port(LOOPBACK, found)
    assert port_near(port) == port
