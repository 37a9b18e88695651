"""The format of a bundle: the models that read `bundle.json`."""

from __future__ import annotations

from docs.generator.markdown import code, table, whole_page
from docs.generator.models import fields_of, sections, with_parts
from recognizer.bundle import MANIFEST, SCHEMA, SUMS, BundleManifest
from recognizer.purification import PURIFIERS


def page() -> str:
    manifest, *parts = with_parts(BundleManifest)
    purifiers = "\n\n".join(f"### {name}\n\n{fields_of(model, but='name')}" for name, model in PURIFIERS.items())
    return whole_page(
        "The bundle format",
        f"A bundle is a folder with `{MANIFEST}`, the `*.safetensors` that it names, and `{SUMS}`; "
        "[Training and bundles](../bundles.md) says what they are for. A field that is not listed here is refused.",
        table(
            ("file", "what"),
            (
                (code(MANIFEST), f"JSON, schema `{SCHEMA}`: the fields below"),
                (code("*.safetensors"), "the tensors of a network or of neural rejection"),
                (code(SUMS), "sha256 of every other file, as `sha256sum --check` reads it; its own is the version"),
            ),
        ),
        f"## {MANIFEST}",
        fields_of(manifest),
        sections(parts),
        "## Purifiers",
        "Settings that `purifiers` of `DefensesSpec` may have; those that are not given are filled in when a bundle is "
        "made.",
        purifiers,
    )
