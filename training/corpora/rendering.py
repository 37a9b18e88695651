"""Corpora as tables on a terminal."""

from __future__ import annotations

from collections.abc import Mapping

from rich.console import Group
from rich.table import Table
from rich.text import Text

from training.corpora.cleaning import Cleaning
from training.corpora.corpus import Corpus, Count, Description

_SHOWN_INTERSECTIONS = 20


def render(description: Description) -> Group:
    """Splits, commands, each attribute's groups, and intersections. A cell of groups reads `clips / speakers`."""
    splits = list(description.splits)
    parts: list[Table | Text] = [_counts_table("split", {s: {"": c} for s, c in description.splits.items()}, [""])]
    commands = _table("command", splits)
    for command, clips in description.commands.items():
        commands.add_row(Text(command), *(f"{clips[s]:,}" for s in splits))
    parts.append(commands)
    parts += [_counts_table(attribute, groups, splits) for attribute, groups in description.groups.items()]
    crossing = description.intersections
    if crossing.attributes:
        parts.append(
            Text(
                f"{' * '.join(crossing.attributes)}: {len(crossing.train)} intersections in train, "
                f"{len(crossing.test)} in test, {len(crossing.only_in_test)} only in test; "
                f"{crossing.partly_undeclared_clips:,} clips are partly undeclared and in none"
            )
        )
        shown = [", ".join(groups) for groups in crossing.only_in_test[:_SHOWN_INTERSECTIONS]]
        if len(crossing.only_in_test) > len(shown):
            shown.append(f"and {len(crossing.only_in_test) - len(shown)} more")
        parts += [Text(f"  only in test: {line}") for line in shown]
    return Group(*parts)


def render_report(corpus: Corpus) -> Group:
    """What was cleaned in a corpus, and its notes."""
    parts: list[Table | Text] = []
    if corpus.cleanings:
        parts.append(_cleanings_table(corpus.cleanings))
    return Group(*parts, *(Text(f"- {note}") for note in corpus.notes))


def _table(first: str, rest: list[str]) -> Table:
    table = Table(first)
    for name in rest:
        table.add_column(name, justify="right")
    return table


def _counts_table(first: str, rows: Mapping[str, Mapping[str, Count]], columns: list[str]) -> Table:
    table = _table(first, [f"{c} clips / speakers".strip() for c in columns])
    for name, counts in rows.items():
        table.add_row(Text(name), *(_cell(counts.get(c)) for c in columns))
    return table


def _cell(count: Count | None) -> str:
    return f"{count.clips:,} / {count.speakers:,}" if count else "-"


def _cleanings_table(cleanings: tuple[Cleaning, ...]) -> Table:
    table = _table("attribute", [])
    table.add_column("declared")
    table.add_column("became")
    table.add_column("speakers", justify="right")
    for cleaning in cleanings:
        table.add_row(cleaning.attribute, Text(cleaning.raw), Text(cleaning.group), f"{cleaning.speakers:,}")
    return table
