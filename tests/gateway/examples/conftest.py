"""The examples as modules, a gateway to ask, and a real broker."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from brokers import broker_with
from test_served import Server

HERE = Path(__file__).resolve()
EXAMPLES = HERE.parents[3] / "examples"
sys.path[:0] = [str(EXAMPLES), str(HERE.parents[1] / "client")]


@pytest.fixture(scope="package")
def server(bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    patient = {"EVENVOICE_DEADLINE_MS": "20000", "EVENVOICE_VALID_FOR_MS": "30000"}
    started = Server(tmp_path_factory.mktemp("examples"), bundle, environment=patient)
    try:
        yield started.ready()
    finally:
        started.kill()


@pytest.fixture(scope="package")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """The port of a Mosquitto of our own, which forgets all when it ends."""
    with broker_with(tmp_path_factory.mktemp("broker"), "allow_anonymous true") as port:
        yield port
