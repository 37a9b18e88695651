"""The documentation as a site: `make docs`.

Sphinx, MyST and Furo are maintained and permissive; Material for MkDocs, the usual choice, is at its end of life.

The pages are plain Markdown that reads as well in a repository's browser; what only a site needs is here, the
navigation included. Sphinx warns of a page that is not in it and of a link that leads nowhere, and `make docs` lets no
warning pass. Nothing of the site is fetched from elsewhere: system fonts, no CDN.
"""

from __future__ import annotations

from importlib.metadata import version as version_of
from typing import Any

from sphinx.application import Sphinx

NAVIGATION: dict[str, tuple[str, ...]] = {
    "Start": ("tutorial",),
    "Words and speakers": ("corpora", "recording", "listening", "console"),
    "Recognisers": ("bundles", "training", "smoothing", "thresholds", "attacks", "study"),
    "The gateway": ("api", "client", "streaming", "records", "security", "operations", "performance"),
    "Deploying": (
        "one-machine",
        "images",
        "compose",
        "kubernetes",
        "schedules",
        "upgrades",
        "backups",
        "scaling",
        "ray",
        "releasing",
    ),
    "Fairness, live": ("metrics", "fairness", "fairness-page", "alerts", "dashboards"),
    "Audits": ("audits", "audit-tools", "reports"),
    "Explanation": ("figures-by-hand", "statistics"),
    "Reference": (
        "reference/cli",
        "reference/http",
        "reference/metrics",
        "reference/alerts",
        "reference/settings",
        "reference/bundle",
        "reference/policy",
    ),
}
"""Caption -> pages, in order."""

project = "evenvoice"
release = version = version_of("evenvoice")
extensions = ["myst_parser"]
exclude_patterns = ["generator"]
root_doc = "index"
nitpicky = True

myst_heading_anchors = 4  # as a repository's browser makes them
highlight_language = "text"
smartquotes = False  # `--out` is no dash

html_theme = "furo"
html_title = "evenvoice"
html_copy_source = False
html_show_copyright = False
html_theme_options = {"navigation_with_keys": True}
pygments_style = "friendly"
pygments_dark_style = "monokai"


def _add_navigation(_: Sphinx, page: str, source: list[str]) -> None:
    """Sphinx wants its table of contents in a page; as Markdown it would be noise in a repository's browser."""
    if page == root_doc:
        tables = [
            "\n".join(("```{toctree}", ":hidden:", f":caption: {caption}", "", *pages, "```"))
            for caption, pages in NAVIGATION.items()
        ]
        source[0] = "\n\n".join((source[0], *tables))


def setup(app: Sphinx) -> dict[str, Any]:
    app.connect("source-read", _add_navigation)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
