"""A history holds every figure of every audit once."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from monitoring.audit import AttackSettings, AuditError, AuditReport, run_audit
from monitoring.audit.history import HistoryRow, append_history, history_of
from monitoring.measured import AuditSettings
from recognizer.bundle import load_bundle
from recognizer.manifest import Manifest, load_manifest


@pytest.fixture(scope="module")
def report(bundle: Path, tone_manifest: Path) -> AuditReport:
    whole = load_manifest(tone_manifest)
    clips = Manifest(whole.table.groupby(["speaker", "command"]).head(1).reset_index(drop=True), whole.attributes)
    found, _ = run_audit(
        load_bundle(bundle),
        clips,
        source="m.csv",
        settings=AuditSettings(min_speakers=10, replicates=100),
        defenses=["none", "neural_rejection"],
        attack=AttackSettings(clips=6, eps_grid=(0.01,), steps=1),
    )
    return found


def test_every_figure_is_one_row(report: AuditReport) -> None:
    rows = history_of(report)
    keys = {(r.defense, r.attribute, r.group, r.metric, r.part) for r in rows}
    assert len(keys) == len(rows)
    groups = 1 + 2 + 2  # everybody, accents, genders
    for defense, metrics in (("none", {"accuracy", "rejection", "auc_acc"}), ("neural_rejection", {"auc_fpr"})):
        own = {r.metric for r in rows if r.defense == defense}
        assert own >= metrics
        assert len([r for r in rows if r.defense == defense and r.group]) == groups * len(own)
        assert len([r for r in rows if r.defense == defense and not r.group]) == 2 * len(own)
    for result in report.defenses:
        for group in result.attributes[0].groups:
            (row,) = (r for r in rows if (r.defense, r.group, r.metric) == (result.defense, group.group, "accuracy"))
            assert (row.value, row.lower, row.upper) == (
                group.accuracy.mean,
                group.accuracy.lower,
                group.accuracy.upper,
            )
            assert (row.speakers, row.clips, row.verdict) == (group.speakers, group.clips, "")
    assert {r.verdict for r in rows if not r.group} == {"insufficient"}


def test_audits_add_up_and_the_same_one_counts_once(report: AuditReport, tmp_path: Path) -> None:
    path = tmp_path / "deep" / "history.parquet"
    rows = history_of(report)
    append_history(path, rows)
    first = pd.read_parquet(path)
    append_history(path, rows)
    pd.testing.assert_frame_equal(pd.read_parquet(path), first)
    append_history(path, [replace(row, run="another") for row in rows])
    both = pd.read_parquet(path)
    assert both.groupby("run").size().to_dict() == {rows[0].run: len(rows), "another": len(rows)}
    assert str(both["created_at"].dtype) == "datetime64[us, UTC]"
    assert both["created_at"].iloc[0].to_pydatetime() == report.created_at
    assert both["speakers"].isna().sum() == 2 * sum(not row.group for row in rows)


def test_audits_that_end_at_once_are_all_there(report: AuditReport, tmp_path: Path) -> None:
    path = tmp_path / "history.parquet"
    rows = history_of(report)[:3]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda n: append_history(path, [replace(row, run=f"run {n}") for row in rows]), range(24)))
    assert pd.read_parquet(path).groupby("run").size().to_dict() == {f"run {n}": 3 for n in range(24)}


def test_a_file_that_is_no_history_stays(report: AuditReport, tmp_path: Path) -> None:
    rows: tuple[HistoryRow, ...] = history_of(report)
    other, broken = tmp_path / "other.parquet", tmp_path / "broken.parquet"
    pd.DataFrame({"a": [1]}).to_parquet(other)
    broken.write_bytes(b"none")
    for path, words in ((other, "has the columns"), (broken, "can't be read")):
        before = path.read_bytes()
        with pytest.raises(AuditError, match=words):
            append_history(path, rows)
        assert path.read_bytes() == before
