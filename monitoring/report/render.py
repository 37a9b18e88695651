"""A document as one HTML page that needs nothing from elsewhere, or as Markdown.

The page has no scripts, and a content-security policy that lets nothing in but its own style sheet.
"""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Iterator
from functools import cache
from hashlib import sha256

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from monitoring.report.blocks import Block, Document, Facts, Figure, Notice, Paragraph, Partial, Points, Section, Table
from monitoring.report.words import SIGNS

_SPECIAL = re.compile(r"([\\`*_\[\]<>#|])")


def to_html(document: Document) -> str:
    """The page; what stands in the document is text, and is escaped."""
    environment = _environment()
    style = environment.get_template("style.css").render()

    def partial(block: Partial) -> Markup:
        return Markup(environment.get_template(block.template).render(block.values))

    return environment.get_template("page.html.jinja").render(
        document=document,
        style=Markup(style),
        style_hash=f"sha256-{b64encode(sha256(style.encode()).digest()).decode()}",
        signs=SIGNS,
        partial=partial,
    )


def to_markdown(document: Document) -> str:
    """The same text and tables; of a figure its caption and what it shows, of a template nothing."""
    parts = [f"# {_plain(document.title)}", _plain(document.kind)]
    for block in document.lead:
        parts += _block(block)
    for section in document.sections:
        parts += _section(section, level=2)
    return "\n\n".join((*parts, _plain(document.foot))) + "\n"


@cache
def _environment() -> Environment:
    """Names of every template end so that what it holds is escaped."""
    return Environment(
        loader=PackageLoader("monitoring.report", package_path=""),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
    )


def _section(section: Section, level: int) -> Iterator[str]:
    yield f"{'#' * level} {_plain(section.title)}"
    for block in section.blocks:
        yield from _block(block)
    for inner in section.sections:
        yield from _section(inner, level + 1)


def _block(block: Block) -> Iterator[str]:
    match block:
        case Paragraph(text):
            yield _plain(text)
        case Points(items):
            yield "\n".join(f"- {_plain(item)}" for item in items)
        case Facts(items, are_codes):
            yield "\n".join(f"- {_plain(k)}: {f'`{v}`' if are_codes else _plain(v)}" for k, v in items)
        case Notice(_, head, text):
            yield f"> **{_plain(head)}** {_plain(text)}"
        case Figure(caption, panels):
            yield "\n".join(
                (f"**{_plain(caption)}**", "", *(f"- {_plain(p.title)}: {_plain(p.description)}" for p in panels))
            )
        case Table():
            yield _table(block)


def _table(table: Table) -> str:
    rule = "|".join("---" if n in table.words else "--:" for n in range(len(table.columns)))
    rows = (" | ".join(_plain(str(cell)) for cell in row) for row in (table.columns, *table.rows))
    head, *body = (f"| {row} |" for row in rows)
    return "\n".join((f"**{_plain(table.caption)}**", "", head, f"|{rule}|", *body))


def _plain(text: str) -> str:
    """Text that Markdown takes for nothing else."""
    return _SPECIAL.sub(r"\\\1", " ".join(text.split()))
