"""The environment variables of a gateway."""

from __future__ import annotations

from docs.generator.attributes import documented
from docs.generator.markdown import code, table, whole_page
from docs.generator.models import default_of, takes
from gateway.settings import Settings


def _text() -> str:
    meanings = documented(Settings)
    prefix = str(Settings.model_config["env_prefix"])
    rows = (
        (code(f"{prefix}{name.upper()}"), takes(info), default_of(info), meanings.get(name, ""))
        for name, info in Settings.model_fields.items()
    )
    return table(("variable", "takes", "default", "meaning"), rows)


def page() -> str:
    return whole_page(
        "Settings of a gateway",
        "Each is an environment variable or, where `EVENVOICE_SECRETS_DIR` names a folder, the file of its name in "
        "lower case there, such as `evenvoice_records`. Options of `evenvoice serve` go before them. A setting that "
        "means nothing is refused when the gateway starts, with a line that names it. What an empty default means is "
        "said in the last column.",
        _text(),
        "The clients and tools read `EVENVOICE_URL` and `EVENVOICE_KEY` too, and name the variables of their options "
        "in [the command line](cli.md).",
    )
