"""Turning this process into the BentoML server, with a state folder that no other server shares."""

from __future__ import annotations

import fcntl
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import NoReturn

TARGET = "gateway.service:EvenvoiceGateway"


class StateInUse(ValueError):
    """Another gateway uses the state folder."""


def exec_server(environment: Mapping[str, str], *, state: Path, host: str, port: int) -> NoReturn:
    """Become `bentoml serve`.

    The server's BENTOML_HOME lies in the state folder: two servers with one BENTOML_HOME wipe each other's metrics. A
    lock on the folder is held as long as any process of the server lives.

    Raises:
        StateInUse: another gateway holds the lock.
    """
    home = state / "bentoml"
    state.mkdir(mode=0o700, parents=True, exist_ok=True)
    home.mkdir(exist_ok=True)
    lock = os.open(state / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        raise StateInUse(f"another gateway uses {state}; give this one another --state") from None
    os.set_inheritable(lock, True)
    full = {**environment, "BENTOML_HOME": str(home), "BENTOML_DO_NOT_TRACK": "true"}
    full.pop("PROMETHEUS_MULTIPROC_DIR", None)
    arguments = ["-m", "bentoml", "serve", TARGET, "--host", host, "--port", str(port)]
    os.execve(sys.executable, [sys.executable, *arguments, "--working-dir", str(_root())], full)


def _root() -> Path:
    """The folder that holds the packages: a folder named `gateway` in the current one is not taken instead."""
    return Path(__file__).parent.parent
