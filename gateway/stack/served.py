"""The gateway as `evenvoice serve` starts it."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from gateway.client import Client
from gateway.stack.program import Program, running

EVENVOICE = (sys.executable, "-m", "gateway.cli.main")
LOG = "gateway.log"
_READY_SECONDS = 60


@contextmanager
def served(
    bundle: Path,
    *,
    speakers: Path,
    folder: Path,
    host: str,
    port: int,
    environment: Mapping[str, str] | None = None,
) -> Iterator[Program]:
    """A gateway that is ready, with its state and its log in the folder; ended when the block ends.

    Args:
        environment: all of its; this process' by default.

    Raises:
        ProgramFailed: it did not start.
    """
    files = ("--bundle", bundle.resolve(), "--speakers", speakers.resolve(), "--state", folder.resolve() / "state")
    command: list[str | Path] = [*EVENVOICE, "serve", *files, "--host", host, "--port", str(port)]
    with (
        running("the gateway", command, log=folder / LOG, folder=folder, environment=environment) as gateway,
        Client(f"http://{host}:{port}", timeout=1.0) as client,
    ):
        gateway.await_ready(client.is_ready, seconds=_READY_SECONDS)
        yield gateway
