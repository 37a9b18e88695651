"""Each page of the reference, and what writes it."""

from __future__ import annotations

from collections.abc import Callable

from docs.generator import alerts, bundle, cli, http, metrics, policy, settings

PAGES: dict[str, Callable[[], str]] = {
    "cli.md": cli.page,
    "http.md": http.page,
    "metrics.md": metrics.page,
    "alerts.md": alerts.page,
    "settings.md": settings.page,
    "bundle.md": bundle.page,
    "policy.md": policy.page,
}
