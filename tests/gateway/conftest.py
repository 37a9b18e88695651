"""A gateway in this process, and what speaks to it."""

from __future__ import annotations

import csv
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry
from robot import RECORDS_FILE, Door, Evenvoice, Run, Spoken

from gateway.app import create_app
from gateway.cli.main import main
from gateway.deciding.engine import Engine
from gateway.gateway import Gateway
from gateway.records import Records, migrate
from gateway.speakers import load_register
from monitoring.counters import Counters
from monitoring.live import LiveSettings
from monitoring.release import ReleaseRule
from recognizer.audio import read_clip
from recognizer.bundle import load_bundle
from recognizer.manifest import load_manifest
from recognizer.recognizer import Recognizer


@pytest.fixture(scope="session")
def recognizer(bundle: Path) -> Recognizer:
    return load_bundle(bundle)


@pytest.fixture(scope="session")
def spoken(recognizer: Recognizer, tone_manifest: Path) -> Spoken:
    manifest = load_manifest(tone_manifest)
    for row in manifest.table.to_dict("records"):
        if row["command"] not in recognizer.commands:
            continue
        path = Path(row["path"])
        (decision,) = recognizer.decide(
            [read_clip(path, recognizer.audio)], clip_ids=[path.name], seed=0, defense="none"
        )
        if decision.command == row["command"]:
            return Spoken(path, row["command"], row["speaker"], {a: row[a] for a in manifest.attributes})
    raise AssertionError("the tiny bundle hears no clip of its own corpus rightly")


@pytest.fixture(scope="session")
def speakers_csv(tone_manifest: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The corpus' speakers as the gateway's register."""
    manifest = load_manifest(tone_manifest)
    people = manifest.table.drop_duplicates("speaker")[["speaker", *manifest.attributes]]
    path = tmp_path_factory.mktemp("register") / "speakers.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(people.columns)
        writer.writerows(people.to_numpy().tolist())
    return path


@pytest.fixture
def open_door(recognizer: Recognizer, speakers_csv: Path, tmp_path: Path) -> Iterator[Callable[..., Door]]:
    """Opens a gateway of a recogniser and settings; closes it afterwards."""
    opened: list[Gateway] = []

    def build(
        served: Recognizer = recognizer,
        *,
        deadline_ms: int = 60_000,
        max_pending: int = 32,
        release_commands: int = 10,
        release_speakers: int = 3,
        is_file_register: bool = True,
    ) -> Door:
        registry = CollectorRegistry()
        counters = Counters(registry)
        engines = partial(Engine, counters=counters)
        url = f"sqlite:///{tmp_path / 'state' / RECORDS_FILE}"
        migrate(url)
        records = Records(url)
        gateway = Gateway(
            engines(served),
            load_register(speakers_csv, served.vocabulary) if is_file_register else records.register(),
            records,
            valid_for_ms=1500,
            deadline_ms=deadline_ms,
            max_pending=max_pending,
            ledger=records.ledger(LiveSettings(ReleaseRule(release_commands, release_speakers)), grace=0.0),
        )
        opened.append(gateway)
        app = create_app()
        app.state.gateway, app.state.registry = gateway, registry
        return Door(app, gateway, records, tmp_path / "state", engines)

    yield build
    for gateway in opened:
        gateway.close()


@pytest.fixture
def door(open_door: Callable[..., Door]) -> Door:
    return open_door()


@pytest.fixture
def evenvoice(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Evenvoice:
    """`evenvoice`, through its entry point, in this process."""
    monkeypatch.setenv("COLUMNS", "200")

    def run(*arguments: str | Path) -> Run:
        monkeypatch.setattr(sys, "argv", ["evenvoice", *map(str, arguments)])
        capsys.readouterr()
        code: object = 0
        try:
            main()
        except SystemExit as stop:
            code = stop.code or 0
        assert isinstance(code, int)
        printed = capsys.readouterr()
        return Run(code, printed.out, printed.err)

    return run
