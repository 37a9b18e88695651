"""The BentoML service: processes, readiness and life cycle around the HTTP API."""

from __future__ import annotations

import gc

import bentoml
from prometheus_client import CollectorRegistry

from gateway import logs
from gateway.app import create_app
from gateway.devices import check_devices, device_of, share_cores
from gateway.engine import Engine
from gateway.gateway import Gateway
from gateway.middleware.edge import edge
from gateway.records import Records, RecordsError, migrate, records_url
from gateway.serving import die_with_parent, hide_control
from gateway.settings import Settings
from gateway.speakers import Register, load_register
from gateway.streaming.limits import StreamLimits
from gateway.streaming.streams import Streams
from gateway.watch import BundleWatch
from monitoring.counters import Counters
from recognizer.bundle import load_bundle
from recognizer.mode import Mode


def open_engine(settings: Settings, counters: Counters, *, worker: int) -> Engine:
    """The bundle of the settings' folder, ready to serve.

    Raises:
        BundleError: see there.
        Exception: what stands in the way of a first decision.
    """
    device = device_of(settings.device, worker=worker)
    engine = Engine(
        load_bundle(settings.bundle, device=device, mode=settings.mode),
        counters,
        bank_seconds=settings.bank_seconds,
        release_commands=settings.release_commands,
        release_speakers=settings.release_speakers,
    )
    try:
        engine.warm_up()
    except BaseException:
        engine.close()
        raise
    return engine


def open_gateway(settings: Settings, engine: Engine) -> Gateway:
    """An engine with its register and its records.

    Raises:
        RegisterError, RecordsError: see there.
    """
    records = Records(
        records_url(settings),
        sync=settings.records_sync,
        audio=settings.audio_directory,
        busy_seconds=settings.deadline_ms / 1000,
    )
    register: Register = records.register()
    if settings.speakers is not None:
        register = load_register(settings.speakers, engine.recognizer.vocabulary)
    return Gateway(
        engine,
        register,
        records,
        valid_for_ms=settings.valid_for_ms,
        deadline_ms=settings.deadline_ms,
        max_pending=settings.max_pending,
    )


settings = Settings()  # from the environment
app = create_app()


@bentoml.service(
    name="evenvoice",
    workers=settings.workers,
    traffic={"timeout": 60},  # never met: reading and deciding have limits of their own
    metrics={"enabled": False},  # BentoML's own label each unknown path; ours are at the same place
    logging={"access": {"enabled": False}},  # holds each path as it came; ours is the middlewares' outermost
)
@bentoml.asgi_app(app, path="/")
class EvenvoiceGateway:
    """Serves the bundle named by the environment."""

    def __init__(self) -> None:
        logs.configure(settings.log)
        die_with_parent()
        share_cores(workers=settings.workers)
        worker = bentoml.server_context.worker_index or 1
        app.state.registry = CollectorRegistry()
        counters = Counters(app.state.registry)
        engine = open_engine(settings, counters, worker=worker)
        self._gateway = open_gateway(settings, engine)
        self._watch = BundleWatch(
            self._gateway,
            settings.bundle,
            load=lambda: open_engine(settings, counters, worker=worker),
            seconds=settings.bundle_poll_seconds,
        )
        self._streams = app.state.streams = Streams(StreamLimits.of(settings))
        app.state.gateway = self._gateway

    @bentoml.on_deployment
    @staticmethod
    def check() -> None:
        """Runs once before any worker: what is not right ends the start with its message."""
        logs.configure(settings.log)
        hide_control()
        try:
            check_devices(settings.device, workers=settings.workers)
            recognizer = load_bundle(settings.bundle, device="cpu", mode=Mode.EXACT)  # draws no bank
            if settings.speakers is not None:
                load_register(settings.speakers, recognizer.vocabulary)
            migrate(records_url(settings))
        except (ValueError, RecordsError) as error:
            raise SystemExit(f"evenvoice: {error}") from None

    @bentoml.on_startup
    def freeze(self) -> None:
        """What was loaded lives as long as the process: the collector need not look at it again."""
        gc.collect()
        gc.freeze()

    @bentoml.on_shutdown
    def close(self) -> None:
        self._watch.close()
        self._streams.close()
        self._gateway.close()

    def __is_ready__(self) -> bool:
        return app.state.gateway is not None


for middleware, options in edge(settings):
    EvenvoiceGateway.add_asgi_middleware(middleware, **options)
