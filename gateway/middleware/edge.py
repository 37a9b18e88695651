"""The middlewares in their order."""

from __future__ import annotations

from typing import Any

from gateway.access.keys import Keyring
from gateway.middleware.access import Access
from gateway.middleware.body_limit import BodyLimit
from gateway.middleware.headers import SecurityHeaders
from gateway.middleware.log import RequestLog
from gateway.middleware.plain_errors import PlainErrors
from gateway.settings import Settings


def edge(settings: Settings) -> list[tuple[type[Any], dict[str, Any]]]:
    """Each middleware's class and options, the outermost first: all is logged, a refusal has its headers, too."""
    keyring = Keyring(settings.keys) if settings.keys is not None else None
    return [
        (RequestLog, {}),
        (SecurityHeaders, {}),
        (PlainErrors, {}),
        (
            Access,
            {
                "keyring": keyring,
                "per_minute": settings.rate_per_minute,
                "allow_anonymous": settings.allow_anonymous,
            },
        ),
        (BodyLimit, {"max_bytes": settings.max_body_bytes}),
    ]
