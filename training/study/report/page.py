"""A report as one HTML page that needs nothing from elsewhere: figures inlined, readable in light and in dark."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterator, Sequence
from html import escape

from training.study.report.exhibits import Picture, Section, Table

_STYLE = """
:root { color-scheme: light dark; --text: #1c1c1c; --back: #ffffff; --soft: #f1f1ee; --line: #d3d3ce; --dim: #5b5b57;
        --bad: #8f1d14; --bad-text: #ffffff; }
@media (prefers-color-scheme: dark) {
  :root { --text: #e8e8e4; --back: #17181a; --soft: #232527; --line: #3d4043; --dim: #a9aaa6; --bad: #b3372c; } }
body { margin: 0 auto; max-width: 900px; padding: 1.5rem 1rem 4rem; color: var(--text); background: var(--back);
       font: 16px/1.55 system-ui, sans-serif; }
h1, h2, h3 { line-height: 1.25; }
h2 { margin-top: 3rem; border-bottom: 2px solid var(--line); padding-bottom: .2rem; }
h3 { margin-top: 2.2rem; }
code { font-size: .9em; }
.verdict { padding: .8rem 1rem; border-radius: 6px; background: var(--soft); }
.failed { background: var(--bad); color: var(--bad-text); font-size: 1.15rem; font-weight: 600; }
.scroll { overflow-x: auto; margin: .2rem 0 1.4rem; }
table { border-collapse: collapse; font-size: .84rem; font-variant-numeric: tabular-nums; }
figcaption, p.caption { margin: 0; color: var(--dim); font-size: .88rem; padding: .3rem 0; }
th, td { padding: .22rem .6rem; border-bottom: 1px solid var(--line); text-align: left; white-space: nowrap; }
td.long { white-space: normal; min-width: 16rem; }
th { background: var(--soft); }
.number { text-align: right; }
figure { margin: 1.4rem 0; }
figure img { width: 100%; height: auto; background: #ffffff; border-radius: 4px; }
details { margin: 1rem 0; border: 1px solid var(--line); border-radius: 6px; padding: .3rem .8rem; }
summary { cursor: pointer; color: var(--dim); font-size: .9rem; }
nav a { margin-right: 1rem; color: inherit; }
"""
_LONG = 60
"""Characters from which a cell may be broken into lines."""


def to_html(title: str, *, banner: Sequence[tuple[str, bool]], sections: Sequence[Section]) -> str:
    """The page.

    Args:
        banner: verdicts to stand above everything, and whether each is a failure.
        sections: in order; those of level 2 can be jumped to.
    """
    return "\n".join(_page(title, banner, sections)) + "\n"


def _page(title: str, banner: Sequence[tuple[str, bool]], sections: Sequence[Section]) -> Iterator[str]:
    yield "<!DOCTYPE html>"
    yield '<html lang="en"><head><meta charset="utf-8"/>'
    yield '<meta name="viewport" content="width=device-width, initial-scale=1"/>'
    yield f"<title>{escape(title)}</title><style>{_STYLE}</style></head><body>"
    yield f"<h1>{escape(title)}</h1>"
    for words, is_failed in banner:
        yield f'<p class="verdict{" failed" if is_failed else ""}" role="status">{escape(words)}</p>'
    links = (f'<a href="#{_anchor(s.title)}">{escape(s.title)}</a>' for s in sections if s.level == 2)
    yield f"<nav>{' '.join(links)}</nav>"
    for section in sections:
        yield from _section(section)
    yield "</body></html>"


def _section(section: Section) -> Iterator[str]:
    anchor = f' id="{_anchor(section.title)}"' if section.level == 2 else ""
    yield f"<h{section.level}{anchor}>{escape(section.title)}</h{section.level}>"
    for warning in section.warnings:
        yield f'<p class="verdict failed">{escape(warning)}</p>'
    for paragraph in section.paragraphs:
        yield f"<p>{escape(paragraph)}</p>"
    if section.points:
        yield f"<ul>{''.join(f'<li>{escape(point)}</li>' for point in section.points)}</ul>"
    for exhibit in section.exhibits:
        yield from _picture(exhibit) if isinstance(exhibit, Picture) else _table(exhibit)


def _picture(picture: Picture) -> Iterator[str]:
    source = f"data:image/png;base64,{b64encode(picture.png).decode()}"
    yield f'<figure><img src="{source}" alt="{escape(picture.alt)}"/>'
    yield f"<figcaption>{escape(picture.caption)} <code>{escape(picture.name)}.png</code></figcaption></figure>"


def _table(table: Table) -> Iterator[str]:
    caption = f"{escape(table.caption)} <code>{escape(table.name)}.csv</code>"
    if table.is_folded:
        yield f"<details><summary>{caption}</summary>"
    else:
        yield f'<p class="caption">{caption}</p>'
    is_number = table.are_numbers()
    yield f'<div class="scroll"><table id="{escape(table.name)}" aria-label="{escape(table.caption)}">'
    yield f"<thead>{_row('th', table.headers(), is_number)}</thead><tbody>"
    for cells in table.cells():
        yield _row("td", cells, is_number)
    yield "</tbody></table></div>"
    if table.is_folded:
        yield "</details>"


def _row(tag: str, cells: Sequence[str], is_number: Sequence[bool]) -> str:
    written = []
    for cell, right in zip(cells, is_number, strict=True):
        kind = ' class="number"' if right else ' class="long"' if len(cell) > _LONG else ""
        written.append(f"<{tag}{kind}>{escape(cell)}</{tag}>")
    return f"<tr>{''.join(written)}</tr>"


def _anchor(title: str) -> str:
    return "".join(letter if letter.isalnum() else "-" for letter in title.lower())
