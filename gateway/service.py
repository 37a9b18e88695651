"""The BentoML service: processes, readiness and life cycle around the HTTP API.

BentoML imports it in the master too, which starts the workers one after the other: what takes seconds to load, torch
above all, is left to `gateway.worker`.
"""

from __future__ import annotations

import bentoml

from gateway import logs
from gateway.app import bare_app
from gateway.draining import CloseWhileDraining, drain_before_end
from gateway.middleware.edge import edge
from gateway.serving import begin_master, bound_messages, die_with_parent, give_up, has_served
from gateway.settings import Settings

settings = Settings()  # from the environment
bound_messages()  # before BentoML makes its server
drain = drain_before_end(settings.drain_seconds)  # likewise


app = bare_app()


@bentoml.service(
    name="evenvoice",
    workers=settings.workers,
    traffic={"timeout": 60},  # never met: reading and deciding have limits of their own
    metrics={"enabled": False},  # BentoML's own label each unknown path; ours are at the same place
    tracing={"excluded_urls": ".*"},  # BentoML's spans of each request, which nobody reads
    logging={"access": {"enabled": False}},  # holds each path as it came; ours is the middlewares' outermost
)
@bentoml.asgi_app(app, path="/")
class EvenvoiceGateway:
    """Serves the bundle named by the environment."""

    def __init__(self) -> None:
        die_with_parent()
        logs.configure(settings.log)
        from gateway.worker import Worker

        try:
            self._worker = Worker(settings, app, number=bentoml.server_context.worker_index or 1)
            has_served(state=settings.state)
        except Exception as error:  # BentoML would start the worker again for ever
            give_up(error, state=settings.state)

    @bentoml.on_deployment
    @staticmethod
    def begin() -> None:
        """Runs once in the master, before any worker."""
        logs.configure(settings.log)
        begin_master(state=settings.state)

    @bentoml.on_shutdown
    def close(self) -> None:
        self._worker.close()

    def __is_ready__(self) -> bool:
        return app.state.gateway is not None and not drain.is_begun


EvenvoiceGateway.add_asgi_middleware(CloseWhileDraining, drain=drain)
for middleware, options in edge(settings):
    EvenvoiceGateway.add_asgi_middleware(middleware, **options)
