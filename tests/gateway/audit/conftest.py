"""An audit of the tiny bundle over enough speakers to compare."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from gateway.cli.audit.run import write_pages
from monitoring.audit import AttackSettings, AuditFolder, run_audit
from monitoring.measured import AuditSettings
from recognizer.bundle import load_bundle
from recognizer.manifest import load_manifest, write_table
from recognizer.smoothing import RandomizedSmoothing


@pytest.fixture(scope="session")
def many_speakers(tone_manifest: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tones as `many.csv`, every take by another speaker: 36 a gender."""
    table = load_manifest(tone_manifest).table
    take = table["path"].map(lambda path: Path(path).stem.rpartition("_")[2])
    path = tmp_path_factory.mktemp("many") / "many.csv"
    write_table(table.assign(speaker=table["speaker"] + "-" + take, split="test"), path)
    return path


@pytest.fixture(scope="session")
def audited(bundle: Path, many_speakers: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of an audit, with few draws and steps: what is read here is its files. Read only."""
    out = tmp_path_factory.mktemp("audits") / "tones"
    loaded = load_bundle(bundle)
    smoothing = loaded.defenses["smoothing"]
    assert isinstance(smoothing, RandomizedSmoothing)
    few = RandomizedSmoothing(smoothing.network, loaded.labels, sigma=smoothing.sigma, draws=16, error_alpha=0.01)
    report, _ = run_audit(
        replace(loaded, defenses={**loaded.defenses, "smoothing": few}),
        load_manifest(many_speakers),
        source=many_speakers.name,
        settings=AuditSettings(min_speakers=10),
        attack=AttackSettings(
            clips=2, eps_grid=(0.001, 0.02), steps=2, smoothing_steps=1, eot_draws=2, health_queries=2
        ),
        folder=AuditFolder(out),
    )
    write_pages(report, out)
    return out
