"""What every release since 0.1.0 left behind is still read, and means what it meant."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import sqlite3
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from click.testing import CliRunner
from pydantic import TypeAdapter

from gateway.app import create_app
from gateway.cli.main import cli, main
from gateway.client import clock
from gateway.client.answer import Kind, read_answer
from gateway.records import Records, migrate
from gateway.records.answers import answers_of
from gateway.streaming.messages import ServerMessage
from monitoring.audit import load_policy
from monitoring.report import to_markdown
from monitoring.report.load import load_report
from monitoring.report.page import write_html
from recognizer.audio import Clip
from recognizer.bundle import MANIFEST, SUMS, BundleError, load_bundle, version_of
from releasing import freeze, kept
from releasing.compatible import api_breaks, schema_breaks
from releasing.tones import RATE, clips

ROOT = kept.KEPT.parent.parent
RELEASES = kept.releases()
FLOATS = ("confidence", "p_value")


@pytest.fixture(params=RELEASES, ids=lambda folder: folder.name)
def release(request: pytest.FixtureRequest) -> Path:
    folder: Path = request.param
    return folder


def read(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def test_something_is_kept() -> None:
    assert [folder.name for folder in RELEASES][:1] == ["0.1.0"]


def test_its_clients_can_go_on(release: Path) -> None:
    assert api_breaks(read(release / kept.API), create_app().openapi()) == []


def test_its_streams_can_go_on(release: Path) -> None:
    assert schema_breaks(read(release / kept.STREAM), TypeAdapter(ServerMessage).json_schema(), "read") == []


def test_its_settings_and_commands_are_still_there(release: Path) -> None:
    interface = read(release / kept.INTERFACE)
    assert set(interface["settings"]) <= set(freeze.settings())
    now = freeze.commands(cli)
    for name, options in interface["commands"].items():
        assert set(options) <= set(now.get(name, ())), name


def test_its_metrics_are_still_there(release: Path, tmp_path: Path) -> None:
    """What a gateway shows that serves the kept bundle; in a process of its own, as a worker is."""
    code = (
        "import json, sys; from pathlib import Path; from releasing.freeze import serve; "
        "print(json.dumps(serve(Path(sys.argv[1]), Path(sys.argv[2]))[0]))"
    )
    command = [sys.executable, "-c", code, release / kept.BUNDLE, tmp_path / "state"]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True)
    now = json.loads(done.stdout.splitlines()[-1])
    for name, labels in read(release / kept.INTERFACE)["metrics"].items():
        assert now.get(name) == labels, name  # another label makes another series


def test_its_bundle_decides_as_it_did(release: Path) -> None:
    recognizer = load_bundle(release / kept.BUNDLE)
    told = read(release / kept.DECISIONS)
    ids, waveforms = zip(*clips(), strict=True)
    assert told["clips"] == {i: hashlib.sha256(w.tobytes()).hexdigest() for i, w in zip(ids, waveforms, strict=True)}
    heard = [Clip(waveform, len(waveform) / RATE, RATE) for waveform in waveforms]
    assert told["defenses"].keys() == recognizer.defenses.keys()
    for defense, before in told["defenses"].items():
        decisions = recognizer.decide(heard, clip_ids=ids, seed=0, defense=defense)
        after = [kept.decided(decision) for decision in decisions]
        for clip_id, was, now in zip(ids, before, after, strict=True):
            where = f"{defense}, {clip_id}"
            # what is added up by other instructions differs in the last bits; votes and answers do not
            assert [now[f] for f in FLOATS] == pytest.approx([was[f] for f in FLOATS], abs=1e-4), where
            assert {**now, **dict.fromkeys(FLOATS)} == {**was, **dict.fromkeys(FLOATS)}, where


def test_the_kept_decisions_are_of_every_kind() -> None:
    told = read(RELEASES[0] / kept.DECISIONS)["defenses"]
    reasons = {defense: {decision["reason"] for decision in decisions} for defense, decisions in told.items()}
    assert {"ok", "not_a_command", "low_confidence"} <= reasons["neural_rejection"]
    assert {"ok", "not_a_command", "smoothing_tie"} <= reasons["smoothing"]
    assert len({decision["draws"] for decision in told["smoothing"]}) >= 3


def rows(path: Path, table: str) -> list[dict[str, Any]]:
    with sqlite3.connect(path) as connection:
        connection.row_factory = sqlite3.Row
        return [dict(row) for row in connection.execute(f"SELECT * FROM {table}")]


@pytest.fixture
def database(release: Path, tmp_path: Path) -> Path:
    path = tmp_path / "records.sqlite3"
    with sqlite3.connect(path) as connection:
        connection.executescript((release / kept.RECORDS).read_text(encoding="utf-8"))
    return path


def test_its_records_migrate_and_nothing_is_lost(database: Path) -> None:
    tables = ("decisions", "speakers", "answers")
    before = {table: rows(database, table) for table in tables}
    migrate(f"sqlite:///{database}")
    for table in tables:
        after = rows(database, table)
        assert len(before[table]) == len(after) > 0
        for was, now in zip(before[table], after, strict=True):
            assert was.items() <= now.items()


def test_its_records_are_gone_on_with(database: Path) -> None:
    url = f"sqlite:///{database}"
    migrate(url)
    decisions, stored = rows(database, "decisions"), rows(database, "answers")
    engine = sa.create_engine(url)
    with engine.connect() as connection:
        answers = answers_of(connection, [row["key"] for row in stored])
    engine.dispose()
    assert {key: (a.digest, a.answer) for key, a in answers.items()} == {
        row["key"]: (row["digest"], row["answer"]) for row in stored
    }

    unlabelled = next(row for row in decisions if row["true_command"] is None)
    records = Records(url)
    try:
        assert records.label(unlabelled["request_id"], "left").model == unlabelled["model"]
        declared = {row["speaker"]: json.loads(row["declared"]) for row in rows(database, "speakers")}
        assert declared == {entry.speaker: dict(entry.declared) for entry in records.register().list()}
    finally:
        records.close()
    labelled = {row["request_id"]: row["true_command"] for row in rows(database, "decisions")}
    assert labelled[unlabelled["request_id"]] == "left"


def test_its_answers_are_read_by_the_client_of_today(database: Path) -> None:
    """A robot may be newer than its gateway."""
    answers = [row["answer"] for row in rows(database, "answers")]
    assert {json.loads(answer)["decision"] for answer in answers} == {"accept", "abstain"}
    for answer in answers:
        told = json.loads(answer)
        heard = read_answer(answer.encode(), "application/json", sent=clock.now())
        assert heard.kind is Kind.ANSWERED, heard.detail
        assert heard.command == told["command"]


def test_its_audit_is_read_and_shown(release: Path, tmp_path: Path) -> None:
    raw = read(release / kept.AUDIT)
    report = load_report(release / kept.AUDIT)
    assert report.bundle_version == version_of(release / kept.BUNDLE)
    means = {d.defense: d.overall.accuracy.mean for d in report.defenses}
    assert means == {d["defense"]: d["overall"]["accuracy"]["mean"] for d in raw["defenses"]}
    assert report.judgement.exit_code == raw["judgement"]["exit_code"]
    for defense in means:
        assert defense in to_markdown(report)
    write_html(report, tmp_path)
    assert (tmp_path / "audit.html").stat().st_size > 10_000


def test_its_policy_means_what_it_meant(release: Path) -> None:
    policy = load_policy(release / kept.POLICY)
    raw = tomllib.loads((release / kept.POLICY).read_text(encoding="utf-8"))
    kept_policy = policy.model_dump(mode="json", exclude_unset=True)
    assert kept_policy == raw


@pytest.fixture
def newer(tmp_path: Path) -> Path:
    """A bundle of a schema that does not exist yet, whole as far as its sums can tell."""
    folder = Path(shutil.copytree(RELEASES[0] / kept.BUNDLE, tmp_path / "newer"))
    manifest = (folder / MANIFEST).read_bytes()
    changed = manifest.replace(b'"evenvoice.bundle/1"', b'"evenvoice.bundle/2"').replace(b'"labels"', b'"words"')
    (folder / MANIFEST).write_bytes(changed)
    sums = (folder / SUMS).read_text()
    before, after = (hashlib.sha256(content).hexdigest() for content in (manifest, changed))
    assert before in sums
    (folder / SUMS).write_text(sums.replace(before, after))
    return folder


def test_a_bundle_of_a_newer_schema_is_refused_in_one_line(
    newer: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(BundleError, match=r"is of the schema evenvoice\.bundle/2, and this evenvoice reads .*bundle/1"):
        load_bundle(newer)
    monkeypatch.setattr(sys, "argv", ["evenvoice", "bundle", "check", str(newer)])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 1
    printed = capsys.readouterr()
    assert printed.out == ""
    assert re.fullmatch(r"evenvoice: .*evenvoice\.bundle/2, .*\n", printed.err)


def test_the_kept_commands_are_those_that_help_shows() -> None:
    """By click's own help, which knows nothing of how the names were taken."""
    told = read(RELEASES[0] / kept.INTERFACE)["commands"]
    shown = CliRunner().invoke(cli, ["serve", "--help"]).output
    assert set(re.findall(r"(?<![\w-])--[a-z][a-z-]*", shown)) - {"--help"} <= set(told["evenvoice serve"])
