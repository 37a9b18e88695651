"""The examples as modules, a gateway to ask, and a real broker."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from test_served import Server, free_port

HERE = Path(__file__).resolve()
EXAMPLES = HERE.parents[3] / "examples"
sys.path[:0] = [str(EXAMPLES), str(HERE.parents[1] / "client")]

MOSQUITTO = shutil.which("mosquitto", path="/usr/sbin:/usr/local/sbin:/usr/bin:/usr/local/bin")


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
    if MOSQUITTO is None:
        pytest.skip("mosquitto is not installed; on Debian: apt install mosquitto")
    port = free_port()
    settings = tmp_path_factory.mktemp("broker") / "mosquitto.conf"
    settings.write_text(f"listener {port} 127.0.0.1\nallow_anonymous true\npersistence false\n")
    with subprocess.Popen([MOSQUITTO, "-c", settings], stderr=subprocess.DEVNULL) as process:
        time.sleep(0.3)
        assert process.poll() is None
        try:
            yield port
        finally:
            process.terminate()
            process.wait(10)
