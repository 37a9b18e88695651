"""The BentoML service: processes, readiness and life cycle around the HTTP API."""

from __future__ import annotations

import gc

import bentoml
from prometheus_client import CollectorRegistry

from gateway.app import create_app
from gateway.body_limit import BodyLimit
from gateway.gateway import Gateway
from gateway.records import Records, RecordsError
from gateway.renewal import BankRenewal
from gateway.settings import Settings
from gateway.speakers import Register, load_register
from monitoring.counters import Counters
from monitoring.live import LiveMonitor
from recognizer.bundle import load_bundle
from recognizer.mode import Mode
from recognizer.recognizer import Recognizer

RECORDS_FILE = "records.sqlite3"


def load_parts(settings: Settings, mode: Mode) -> tuple[Recognizer, Register]:
    """The bundle and the register that fits it.

    Raises:
        BundleError, RegisterError: see there.
    """
    recognizer = load_bundle(settings.bundle, device=settings.device, mode=mode)
    return recognizer, load_register(settings.speakers, recognizer.vocabulary)


def open_gateway(settings: Settings) -> tuple[Gateway, CollectorRegistry]:
    """Everything that one worker serves with.

    Raises:
        BundleError, RegisterError, RecordsError: see there.
    """
    recognizer, register = load_parts(settings, settings.mode)
    registry = CollectorRegistry()
    counters = Counters(
        registry,
        vocabulary=recognizer.vocabulary,
        defenses=tuple(recognizer.defenses),
        model=recognizer.short_version,
        version=recognizer.version,
    )
    monitor = LiveMonitor(
        counters, release_commands=settings.release_commands, release_speakers=settings.release_speakers
    )
    gateway = Gateway(
        recognizer,
        register,
        Records(settings.state / RECORDS_FILE),
        monitor,
        valid_for_ms=settings.valid_for_ms,
        deadline_ms=settings.deadline_ms,
        max_pending=settings.max_pending,
    )
    return gateway, registry


settings = Settings()  # from the environment
app = create_app()


@bentoml.service(
    name="evenvoice",
    workers=settings.workers,
    traffic={"timeout": 60},  # never met: reading and deciding have limits of their own
    metrics={"enabled": False},  # BentoML's own label each unknown path; ours are at the same place
)
@bentoml.asgi_app(app, path="/")
class EvenvoiceGateway:
    """Serves the bundle named by the environment."""

    def __init__(self) -> None:
        self._gateway, app.state.registry = open_gateway(settings)
        self._renewal = BankRenewal(self._gateway.recognizer.banks, seconds=settings.bank_seconds)
        app.state.gateway = self._gateway

    @bentoml.on_deployment
    @staticmethod
    def check() -> None:
        """Runs once before any worker: what is not right ends the start with its message."""
        try:
            load_parts(settings, Mode.EXACT)  # draws no bank, which the workers do each for itself
            Records(settings.state / RECORDS_FILE).close()
        except (ValueError, RecordsError) as error:
            raise SystemExit(f"evenvoice: {error}") from None

    @bentoml.on_startup
    def freeze(self) -> None:
        """What was loaded lives as long as the process: the collector need not look at it again."""
        gc.collect()
        gc.freeze()

    @bentoml.on_shutdown
    def close(self) -> None:
        self._renewal.close()
        self._gateway.close()

    def __is_ready__(self) -> bool:
        return app.state.gateway is not None


EvenvoiceGateway.add_asgi_middleware(BodyLimit, max_bytes=settings.max_body_bytes)
