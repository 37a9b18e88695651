"""A Mosquitto of our own, which forgets all when it ends."""

from __future__ import annotations

import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from test_served import free_port
from waiting import until

MOSQUITTO = shutil.which("mosquitto", path="/usr/sbin:/usr/local/sbin:/usr/bin:/usr/local/bin")


@contextmanager
def broker_with(folder: Path, settings: str) -> Iterator[int]:
    """Start one with these lines in its configuration.

    Yields:
        The port it listens on.
    """
    if MOSQUITTO is None:
        pytest.skip("mosquitto is not installed; on Debian: apt install mosquitto")
    port = free_port()
    file = folder / "mosquitto.conf"
    file.write_text(f"listener {port} 127.0.0.1\npersistence false\n{settings}\n")
    with subprocess.Popen([MOSQUITTO, "-c", file], stderr=subprocess.DEVNULL) as process:
        try:
            assert until(lambda: process.poll() is not None or _listens(port))
            assert process.poll() is None
            yield port
        finally:
            process.terminate()
            process.wait(10)


def _listens(port: int) -> bool:
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False
