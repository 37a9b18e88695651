"""A gateway in this process, without a server: what fuzzing speaks to."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fastapi import FastAPI
from prometheus_client import CollectorRegistry

from gateway.app import create_app
from gateway.deciding.engine import Engine
from gateway.gateway import Gateway
from gateway.records import Records, migrate
from monitoring.counters import Counters
from recognizer.bundle import load_bundle


@contextmanager
def gateway_in_process(bundle: Path, state: Path) -> Iterator[tuple[FastAPI, Gateway]]:
    """The API and the gateway behind it, with records in a folder; its streams are the caller's to add."""
    registry = CollectorRegistry()
    url = f"sqlite:///{state}/records.sqlite3"
    migrate(url)
    records = Records(url)
    engine = Engine(load_bundle(bundle), Counters(registry))
    gateway = Gateway(engine, records.register(), records, valid_for_ms=120_000, deadline_ms=60_000, max_pending=32)
    app = create_app()
    app.state.gateway, app.state.registry = gateway, registry
    try:
        yield app, gateway
    finally:
        gateway.close()
