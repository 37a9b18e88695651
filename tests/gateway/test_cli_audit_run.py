"""`evenvoice audit run`: its exit codes are verdicts, and what a scheduler starts again after a kill goes on."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest
from robot import Evenvoice

from gateway.cli.main import main
from gateway.records import migrate
from monitoring.audit import AuditReport

QUICK = ("--defense", "none", "--attacked-clips", "0")
HELD = "[[gates]]\ndefense = 'none'\nmetric = 'rejection'\n"


def run_of(bundle: Path, manifest: Path, *options: object) -> tuple[str, ...]:
    return ("audit", "run", "--bundle", str(bundle), "--manifest", str(manifest), *map(str, options))


@pytest.fixture(scope="module")
def everyone(tone_manifest: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """36 speakers, made of the corpus' twelve: its first takes, as if each take were somebody else's."""
    table = pd.read_csv(tone_manifest)
    table["path"] = [str(tone_manifest.parent / path) for path in table["path"]]
    take = table["path"].str.extract(r"_(\d)\.wav$")[0]
    table = table.assign(speaker=table["speaker"] + "-" + take, split="test")[take.isin(["0", "1", "2"])]
    path = tmp_path_factory.mktemp("everyone") / "manifest.csv"
    table.to_csv(path, index=False)
    return path


@pytest.mark.parametrize(
    ("policy", "code"),
    [
        (HELD + "tolerance = 0.9", 0),
        (HELD.replace("rejection", "accuracy") + "tolerance = 0.1", 1),
        (HELD + "tolerance = 0.01", 2),
        (HELD + "tolerance = 7", 3),
        ("required_attributes = ['hair']", 3),
    ],
)
def test_the_exit_code_is_the_policys_verdict(
    evenvoice: Evenvoice, bundle: Path, everyone: Path, tmp_path: Path, policy: str, code: int
) -> None:
    """Nobody is turned away by the plain network, as far as 18 speakers a group can tell, and the north's commands are
    all labelled as others."""
    (tmp_path / "policy.toml").write_text("min_speakers = 10\n" + policy)
    table = pd.read_csv(everyone)
    turned = table["command"].replace({"go": "left", "left": "right", "right": "go"})
    table["command"] = table["command"].where(table["accent"] != "north", turned)
    table.to_csv(tmp_path / "m.csv", index=False)
    out = tmp_path / "audit"
    done = evenvoice(*run_of(bundle, tmp_path / "m.csv", *QUICK, "--policy", tmp_path / "policy.toml", "--out", out))
    assert done.code == code, done.err
    if code < 3:
        report = AuditReport.model_validate_json((out / "audit.json").read_text())
        assert report.judgement.exit_code == code
        assert report.judgement.policy_file == "policy.toml"
        assert report.judgement.outcome in done.out
    else:
        assert done.err.startswith("evenvoice: ")


def test_an_option_that_the_policy_settles_is_refused_beside_it(
    evenvoice: Evenvoice, bundle: Path, everyone: Path, tmp_path: Path
) -> None:
    (tmp_path / "p.toml").write_text("")
    done = evenvoice(*run_of(bundle, everyone, "--policy", tmp_path / "p.toml", "--tolerance", "0.1"))
    assert done.code == 3
    assert "--tolerance beside --policy" in done.err


@pytest.mark.parametrize("arguments", [(), ("--workers", "2"), ("--no-such-option",)])
def test_a_mistaken_command_is_no_verdict(
    evenvoice: Evenvoice, bundle: Path, everyone: Path, arguments: tuple[str, ...]
) -> None:
    given = run_of(bundle, everyone, *arguments) if arguments else ("audit", "run")
    done = evenvoice(*given)
    assert done.code == 3
    assert "Error: " in done.err


@pytest.mark.parametrize("arguments", [("audit",), ("audit", "--no-such-option"), ("audit", "no-such-command")])
def test_a_mistake_in_what_comes_before_the_command_is_no_verdict(
    evenvoice: Evenvoice, arguments: tuple[str, ...]
) -> None:
    done = evenvoice(*arguments)
    assert done.code == 3
    assert "Usage: evenvoice audit" in done.err
    assert evenvoice("audit", "--help").code == 0


def test_a_policy_that_names_a_defense_that_is_not_audited_is_no_pass(
    evenvoice: Evenvoice, bundle: Path, everyone: Path, tmp_path: Path
) -> None:
    (tmp_path / "p.toml").write_text("min_speakers = 10\n" + HELD + "tolerance = 0.9\n" + HELD.replace("none", "nome"))
    done = evenvoice(*run_of(bundle, everyone, *QUICK, "--policy", tmp_path / "p.toml"))
    assert done.code == 3
    assert "the defense nome, which is not audited; audited are none" in done.err


def test_a_fault_is_no_verdict_and_keeps_its_traceback(
    bundle: Path, everyone: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fault(*_: object, **__: object) -> None:
        raise ZeroDivisionError("a fault")

    monkeypatch.setattr("gateway.cli.audit.run.run_audit", fault)
    monkeypatch.setattr(sys, "argv", ["evenvoice", *run_of(bundle, everyone)])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 3
    assert "ZeroDivisionError: a fault" in capsys.readouterr().err


def test_killed_it_goes_on_and_adds_to_the_history_once(
    evenvoice: Evenvoice, bundle: Path, everyone: Path, tmp_path: Path
) -> None:
    out, history, records = tmp_path / "audit", tmp_path / "history.parquet", f"sqlite:///{tmp_path / 'r.sqlite3'}"
    migrate(records)
    given = run_of(bundle, everyone, *QUICK, "--shard-clips", "6", "--out", out)
    given = (*given, "--history", str(history), "--records", records)
    script = Path(sys.executable).with_name("evenvoice")
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    first = subprocess.Popen([script, *given], stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL, env=environment)
    while first.poll() is None and len(list((out / "shards").glob("*.parquet"))) < 4:
        time.sleep(0.005)
    first.kill()
    assert first.wait() == -signal.SIGKILL
    assert not history.exists()
    found = len(list((out / "shards").glob("*.parquet")))
    done = evenvoice(*given)
    assert done.code == 2, done.err
    report = AuditReport.model_validate_json((out / "audit.json").read_text())
    assert report.runtime.shards_found == found >= 4
    assert report.runtime.shards == 24
    rows = pd.read_parquet(history)
    assert rows["run"].nunique() == 1
    in_records = pd.read_sql("SELECT * FROM audits", records)
    assert len(in_records) == len(rows)
    overall = rows[(rows["group"] == "all") & (rows["metric"] == "accuracy")]
    assert overall["value"].tolist() == [report.defenses[0].overall.accuracy.mean]
    assert "hashing clips" in done.err
