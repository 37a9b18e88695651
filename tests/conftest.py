"""What the tests share: where the real speech lies, and small networks and bundles."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="session")
def speech() -> Path:
    """The folder with real speech: EVENVOICE_SPEECH, or `shared/data` beside the project."""
    folder = Path(os.environ.get("EVENVOICE_SPEECH", ROOT.parent / "shared" / "data"))
    if not (folder / "duke_digits" / "manifest.csv").is_file():
        pytest.skip(f"no real speech in {folder}; set EVENVOICE_SPEECH to the folder that holds duke_digits/")
    return folder
