"""Who may ask for what: every path that the server answers, as a closed table.

The same table names a request in the log, so that a line never holds what a client wrote into its path.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from typing import Any

Scope = Mapping[str, Any]
"""An ASGI scope."""

WEBSOCKET = "WEBSOCKET"
"""The method of a WebSocket's route."""
OTHER = "other"
"""The template of a path that the table does not have."""


class Role(StrEnum):
    """What a key's holder is."""

    ROBOT = "robot"
    """Sends commands and tells what was really said."""
    OPERATOR = "operator"
    """May do everything."""
    METRICS = "metrics"
    """Reads what Prometheus and dashboards read."""


@dataclass(frozen=True)
class Route:
    """One path and method, and who may use it; operators may use each."""

    method: str
    template: str
    """`{name}` stands for one part of the path."""
    roles: frozenset[Role] = frozenset()
    is_open: bool = False
    """Whether it needs no key."""
    is_page: bool = False
    """Whether a browser opens it: the key may then come as the password that a browser asks its user for."""

    @cached_property
    def pattern(self) -> re.Pattern[str]:
        """What a path of this route matches in full, as the server decoded it."""
        return re.compile("[^/]+".join(map(re.escape, re.split(r"\{\w+\}", self.template))))


def _open(template: str) -> tuple[Route, ...]:
    return tuple(Route(method, template, is_open=True) for method in ("GET", "HEAD"))


ROUTES = (
    Route("POST", "/v1/commands", frozenset({Role.ROBOT})),
    Route("POST", "/v1/commands/{request_id}/label", frozenset({Role.ROBOT})),
    Route(WEBSOCKET, "/v1/stream", frozenset({Role.ROBOT})),
    Route("GET", "/v1/model", frozenset({Role.ROBOT, Role.METRICS})),
    Route("GET", "/v1/fairness", frozenset({Role.METRICS})),
    Route("GET", "/fairness", frozenset({Role.METRICS}), is_page=True),
    Route("GET", "/console/panels", frozenset({Role.METRICS})),
    Route("GET", "/metrics", frozenset({Role.METRICS})),
    *(Route(method, "/v1/speakers") for method in ("GET", "POST")),
    *(Route(method, "/v1/speakers/{speaker}") for method in ("GET", "PUT", "DELETE")),
    *_open("/livez"),
    *_open("/readyz"),
    *_open("/healthz"),
    # The description of the API and what its page loads hold no secret.
    *_open("/docs"),
    *_open("/openapi.json"),
    *_open("/static_content/{file}"),
    # So does the console by itself: it sends its user's key with whatever it asks for.
    *_open("/console"),
    *_open("/console/static/{file}"),
)
_OF_TEMPLATE = {template: [r for r in ROUTES if r.template == template] for template in {r.template for r in ROUTES}}
_WITH_NAMES = [routes for template, routes in _OF_TEMPLATE.items() if "{" in template]
PROBES = frozenset({"/livez", "/readyz", "/healthz"})


def methods_at(path: str) -> list[str]:
    """The methods that a path takes: what `Allow` lists beside a 405 (RFC 9110, 15.5.6)."""
    of_path = {route.method for route in ROUTES if route.pattern.fullmatch(path)}
    return sorted(of_path - {WEBSOCKET})


def route_of(scope: Scope) -> Route:
    """The route of a request or a WebSocket; what the table does not know is for operators only."""
    method = WEBSOCKET if scope["type"] == "websocket" else scope["method"]
    of_path = _routes_at(scope["path"])
    unknown = Route(method, of_path[0].template if of_path else OTHER)
    return next((route for route in of_path if route.method == method), unknown)


def _routes_at(path: str) -> list[Route]:
    if "{" not in path and path in _OF_TEMPLATE:  # most are, and need no pattern
        return _OF_TEMPLATE[path]
    return next((routes for routes in _WITH_NAMES if routes[0].pattern.fullmatch(path)), [])
