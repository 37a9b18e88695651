"""Markdown as the other pages have it: tables whose cells hold one line, and code."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

NOTE = "<!-- Written by `python -m docs.generator`; change the code that it describes. -->"


def whole_page(title: str, *parts: str) -> str:
    """A whole page; parts that are empty are left out."""
    return "\n\n".join((f"# {title}", NOTE, *(part.strip() for part in parts if part.strip()))) + "\n"


def table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table; empty where there are no rows."""
    lines = ["| " + " | ".join(cell(text) for text in row) + " |" for row in rows]
    if not lines:
        return ""
    return "\n".join(("| " + " | ".join(heads) + " |", "|---" * len(heads) + "|", *lines))


def cell(text: str) -> str:
    """Text in one line, its bars escaped: a bar would end the cell, in code too."""
    return re.sub(r"(?<!\\)\|", r"\\|", _plain(" ".join(text.split())))


def code(text: object) -> str:
    """Code within a line; nothing where there is no text."""
    return f"`{text}`" if str(text) else ""


def fenced(text: str, language: str = "text") -> str:
    """Code of several lines."""
    return f"```{language}\n{text.strip()}\n```"


def prose(text: str) -> str:
    """A docstring or help text as paragraphs, a line each; indented lines as code."""
    paragraphs = re.split(r"\n\s*\n", text.replace("\b\n", "").strip())
    return "\n\n".join(_paragraph(paragraph) for paragraph in paragraphs)


def _paragraph(paragraph: str) -> str:
    lines = paragraph.splitlines()
    if paragraph.strip() and all(line.startswith(("  ", "\t")) for line in lines):
        return fenced("\n".join(line.strip() for line in lines))
    return _plain(" ".join(line.strip() for line in lines))


def _plain(text: str) -> str:
    """Text whose angle brackets begin no HTML; in code they are what they are."""
    parts = text.split("`")
    return "`".join(
        part if inside % 2 else re.sub(r"<(?=[A-Za-z/!])", r"\\<", part) for inside, part in enumerate(parts)
    )
