"""One worker process: a bundle, a register, records and streams, from the start of the process to its end."""

from __future__ import annotations

import gc

from fastapi import FastAPI
from prometheus_client import CollectorRegistry

from gateway.app import add_api
from gateway.deciding.devices import check_devices, device_of, share_cores
from gateway.deciding.engine import Engine
from gateway.deciding.watch import BundleWatch, sight_of
from gateway.gateway import Gateway
from gateway.passes import Passes
from gateway.records import Records, migrate, records_url
from gateway.settings import Settings
from gateway.speakers import Register, load_register
from gateway.streaming.limits import StreamLimits
from gateway.streaming.streams import Streams
from monitoring.counters import Counters, forget_dead_workers
from monitoring.live import LiveSettings
from monitoring.release import ReleaseRule
from recognizer.bundle import load_bundle

_LATEST = 4
"""Deadlines after which no row is corrected any more: one goes by while a command is decided, and up to two while it
waits to be stored and is."""


def open_engine(settings: Settings, counters: Counters, *, worker: int) -> Engine:
    """The bundle of the settings' folder, ready to serve.

    Args:
        worker: from 1.

    Raises:
        BundleError: see there.
        Exception: what stands in the way of a first decision.
    """
    device = device_of(settings.device, worker=worker)
    engine = Engine(
        load_bundle(settings.bundle, device=device, mode=settings.mode),
        counters,
        bank_seconds=settings.bank_seconds,
    )
    try:
        engine.warm_up()
    except BaseException:
        engine.close()
        raise
    return engine


def live_settings(settings: Settings) -> LiveSettings:
    """How live traffic is counted and bet on."""
    return LiveSettings(
        release=ReleaseRule(settings.release_commands, settings.release_speakers),
        tolerance=settings.fairness_tolerance,
        alpha=settings.fairness_alpha,
        session_seconds=settings.session_seconds,
    )


def open_gateway(settings: Settings, engine: Engine) -> Gateway:
    """An engine with its register and its records, whose database is brought up to date.

    Raises:
        RegisterError, RecordsError: see there.
    """
    register: Register | None = None
    if settings.speakers is not None:
        register = load_register(settings.speakers, engine.recognizer.vocabulary)
    migrate(records_url(settings))
    records = Records(
        records_url(settings),
        sync=settings.records_sync,
        audio=settings.audio_directory,
        busy_seconds=settings.deadline_ms / 1000,
    )
    grace = settings.ledger_grace_seconds
    return Gateway(
        engine,
        register or records.register(),
        records,
        ledger=records.ledger(
            live_settings(settings), grace=_LATEST * settings.deadline_ms / 1000 if grace is None else grace
        ),
        valid_for_ms=settings.valid_for_ms,
        deadline_ms=settings.deadline_ms,
        max_pending=settings.max_pending,
    )


class Worker:
    """What a process serves with."""

    def __init__(self, settings: Settings, app: FastAPI, *, number: int) -> None:
        """
        Args:
            app: the bare application, which answers once this is made.
            number: of the worker, from 1.

        Raises:
            ValueError, RecordsError: what can't be served, with words for who started it.
        """
        check_devices(settings.device, workers=settings.workers)
        share_cores(workers=settings.workers)
        forget_dead_workers()
        registry = CollectorRegistry()
        counters = Counters(registry)
        served = sight_of(settings.bundle)
        engine = open_engine(settings, counters, worker=number)
        try:
            self._gateway = open_gateway(settings, engine)
        except BaseException:
            engine.close()
            raise
        self._watch = BundleWatch(
            self._gateway,
            settings.bundle,
            load=lambda: open_engine(settings, counters, worker=number),
            seconds=settings.bundle_poll_seconds,
            served=served,
        )
        self._passes = Passes(self._gateway.ledger, seconds=settings.ledger_seconds)
        self._streams = Streams(StreamLimits.of(settings))
        add_api(app)
        app.state.registry, app.state.streams, app.state.gateway = registry, self._streams, self._gateway
        gc.collect()
        gc.freeze()  # what was loaded lives as long as the process: the collector need not look at it again

    def close(self) -> None:
        """Let go of everything; for when no request is under way."""
        self._watch.close()
        self._streams.close()
        self._passes.close()
        self._gateway.close()
