"""The policy file of an audit."""

from __future__ import annotations

import inspect

from docs.generator.markdown import fenced, whole_page
from docs.generator.models import fields_of
from monitoring.audit import policy
from monitoring.audit.policy import Gate, Policy


def page() -> str:
    return whole_page(
        "The policy file",
        "`evenvoice audit run --policy FILE`, TOML (`.toml`) or YAML (`.yaml`, `.yml`); "
        "[Audits](../audits.md#the-policy) says what for. A field that is not listed here is refused.",
        fenced(_example(), "toml"),
        "## Policy",
        fields_of(Policy),
        "## Gate",
        "One of `gates`. The first that names a gap sets its tolerance.",
        fields_of(Gate),
    )


def _example() -> str:
    """The example of the module's docstring, which its tests load."""
    lines = inspect.getdoc(policy) or ""
    return "\n".join(line.strip() for line in lines.splitlines() if line.startswith("    ") or not line).strip()
