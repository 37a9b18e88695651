"""An audit of the tiny bundle over enough speakers to compare."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from recognizer.manifest import load_manifest, write_table


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
    """The folder that `evenvoice audit run` wrote. Read only."""
    out = tmp_path_factory.mktemp("audits") / "tones"
    program = Path(sys.executable).with_name("evenvoice")
    arguments = (
        "--bundle",
        bundle,
        "--manifest",
        many_speakers,
        "--out",
        out,
        "--min-speakers",
        "10",
        "--attacked-clips",
        "2",
    )
    done = subprocess.run([program, "audit", "run", *arguments], capture_output=True, text=True, check=False)
    assert (out / "audit.json").is_file(), done.stderr
    return out
