"""`evenvoice audit pool`: audits of the folds of a corpus become one folder with a verdict, or are refused."""

from __future__ import annotations

import shutil
from pathlib import Path

import pandas as pd
import pytest
from click.testing import CliRunner, Result

from gateway.cli.audit import command
from monitoring.audit import AuditReport
from recognizer.manifest import load_manifest, write_table


def audit(*arguments: object) -> Result:
    return CliRunner().invoke(command, [str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def folds(bundle: Path, many_speakers: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The folders of two audits of half of the speakers each."""
    folder = tmp_path_factory.mktemp("folds")
    table = load_manifest(many_speakers).table
    speakers = sorted(table["speaker"].unique())
    done = []
    for number in (0, 1):
        write_table(table[table["speaker"].isin(speakers[number::2])], folder / f"{number}.csv")
        given = ("--bundle", bundle, "--manifest", folder / f"{number}.csv", "--out", folder / str(number))
        found = audit(
            "run", *given, "--defense", "none", "--min-speakers", "10", "--tolerance", "0.4", "--attacked-clips", "2"
        )
        assert found.exit_code < 3, found.output
        done.append(folder / str(number))
    return done[0], done[1]


def test_the_folder_is_that_of_an_audit_of_everybody(
    folds: tuple[Path, Path], many_speakers: Path, tmp_path: Path
) -> None:
    out = tmp_path / "pooled"
    done = audit("pool", *folds, "--out", out)
    report = AuditReport.model_validate_json((out / "audit.json").read_bytes())
    assert done.exit_code == report.judgement.exit_code < 3
    assert done.output.splitlines()[-1] == f"{report.judgement.outcome}: exit code {done.exit_code}"
    speakers = load_manifest(many_speakers).table["speaker"].nunique()
    assert report.speakers == pd.read_parquet(out / "outcomes.parquet")["speaker"].nunique() == speakers
    assert pd.read_parquet(out / "attacked.parquet")["clip"].nunique() == 4
    assert "pooled from 2 audits" in " ".join(done.output.split())
    assert "pooled from 2 audits" in (out / "audit.html").read_text()
    assert (out / "audit.md").is_file()
    assert not list(out.rglob("*.unfinished"))
    again = audit("pool", *folds, "--out", out)  # in the place of an older pooled one
    assert again.exit_code == done.exit_code
    assert AuditReport.model_validate_json((out / "audit.json").read_bytes()) == report


def test_a_pooled_audit_is_exported_reported_and_compared_like_any_other(
    folds: tuple[Path, Path], tmp_path: Path
) -> None:
    out = tmp_path / "pooled"
    audit("pool", *folds, "--out", out)
    assert audit("export", out / "audit.json", "--textfile", tmp_path / "a.prom").exit_code == 0
    assert 'evenvoice_audit_speakers{attribute="gender"' in (tmp_path / "a.prom").read_text()
    assert audit("report", out / "audit.json", "--out", tmp_path / "a.html").exit_code == 0
    done = audit("compare", out, out)
    assert done.exit_code == 0, done.output


def test_a_card_of_one_bundle_is_not_made_from_figures_of_several(
    folds: tuple[Path, Path], bundle: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    shutil.copytree(folds[1], other)
    report = AuditReport.model_validate_json((other / "audit.json").read_bytes())
    another = report.model_copy(update={"bundle_version": "sha256:" + "e" * 64})
    (other / "audit.json").write_text(another.model_dump_json(by_alias=True))
    assert audit("pool", folds[0], other, "--out", tmp_path / "pooled").exit_code < 3
    done = audit("card", bundle, tmp_path / "pooled" / "audit.json", "--out", tmp_path / "card.md")
    assert done.exit_code == 3
    assert "audit this bundle, or give the one that was audited" in done.output


def test_what_can_not_be_pooled_is_no_verdict_and_writes_nothing(folds: tuple[Path, Path], tmp_path: Path) -> None:
    unfinished = tmp_path / "unfinished"
    shutil.copytree(folds[1], unfinished)
    state = unfinished / "state.json"
    state.write_text(state.read_text().replace('"is_finished": true', '"is_finished": false'))
    (tmp_path / "empty").mkdir()
    for given, words in (
        ((folds[0], folds[0]), "speakers are in"),
        ((folds[0],), "1 audit can't be pooled"),
        ((folds[0], unfinished), "is not finished; give its command again"),
        ((folds[0], tmp_path / "empty"), "audit.json can't be read"),
        ((), "Missing argument"),
    ):
        done = audit("pool", *given, "--out", tmp_path / "pooled")
        assert done.exit_code == 3, done.output
        assert words in " ".join(done.output.split())
        assert not (tmp_path / "pooled").exists()
    done = audit("pool", *folds, "--out", folds[0])
    assert done.exit_code == 3
    assert "is the folder of an audit of its own" in done.output
