"""What a page is made of: sections of paragraphs, points, notices, tables and figures. Text stays text until drawn."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

from markupsafe import Markup

Kind = Literal["disparity", "equivalent", "inconclusive", "insufficient", "pass", "note"]
"""What a notice or a cell says; the page shows a sign and a word for it, never a colour alone."""


@dataclass(frozen=True)
class Paragraph:
    text: str


@dataclass(frozen=True)
class Points:
    """A list."""

    items: tuple[str, ...]


@dataclass(frozen=True)
class Facts:
    """Names and what they are."""

    items: tuple[tuple[str, str], ...]
    are_codes: bool = False
    """Long strings, such as hashes"""


@dataclass(frozen=True)
class Notice:
    """A paragraph that must not be missed."""

    kind: Kind
    head: str
    text: str


@dataclass(frozen=True)
class Cell:
    """A table's cell that says more than its text."""

    text: str
    kind: Kind | None = None
    """Shown with the kind's sign"""
    is_code: bool = False

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True)
class Table:
    """The first column names the rows; columns of figures are aligned right."""

    caption: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str | Cell, ...], ...]
    words: frozenset[int] = field(default=frozenset({0}))
    """Columns of words, aligned left"""


@dataclass(frozen=True)
class Panel:
    """One drawing of a figure."""

    title: str
    svg: Markup
    description: str
    """What it shows, in words"""


@dataclass(frozen=True)
class Figure:
    """Drawings that share one caption."""

    caption: str
    panels: tuple[Panel, ...]
    key: str = ""
    """How to read its marks"""


@dataclass(frozen=True)
class Partial:
    """A template of its own: text with equations."""

    template: str
    values: dict[str, object]


Block = Paragraph | Points | Facts | Notice | Table | Figure | Partial


@dataclass(frozen=True)
class Section:
    """A heading and what stands under it, in order."""

    title: str
    anchor: str
    blocks: tuple[Block, ...]
    sections: tuple[Section, ...] = ()

    def walk(self) -> Iterator[Section]:
        """This section and all in it."""
        yield self
        for section in self.sections:
            yield from section.walk()


@dataclass(frozen=True)
class Document:
    """A page."""

    kind: str
    """Above the title, such as `Fairness audit`"""
    title: str
    lead: tuple[Block, ...]
    """Before the contents"""
    sections: tuple[Section, ...]
    foot: str
