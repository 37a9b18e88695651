"""Imports point one way, and the command line is quick because it loads what it calls."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


def loaded_by(statement: str) -> set[str]:
    """The modules in memory after a statement in a fresh interpreter."""
    code = f"{statement}\nimport json, sys\nprint(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    return set(json.loads(done.stdout.splitlines()[-1]))


def test_the_contracts_between_the_packages_hold() -> None:
    lint = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run([lint, "--no-cache"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    assert "0 broken" in done.stdout


def test_the_command_line_loads_nothing_heavy_before_it_is_asked() -> None:
    loaded = loaded_by("import gateway.cli.main")
    assert not loaded & {"training", "torch", "bentoml", "pandas", "sklearn", "scipy", "fastapi", "sqlalchemy"}


@pytest.mark.parametrize(
    ("module", "never"),
    [
        ("monitoring.live", {"bentoml", "fastapi", "gateway", "training", "sklearn"}),
        ("gateway.cli.serve", {"training", "torch", "bentoml"}),
    ],
)
def test_what_serves_loads_no_more_than_it_needs(module: str, never: set[str]) -> None:
    assert not loaded_by(f"import {module}") & never
