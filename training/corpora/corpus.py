"""What an adapter makes of a corpus: a manifest, what had to be cleaned on the way, and who is in it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from recognizer.groups import UNDECLARED
from recognizer.manifest import SPLITS, Manifest, ManifestError, write_table
from training.corpora.cleaning import Cleaning


@dataclass(frozen=True)
class Corpus:
    """A corpus ready for training and audits."""

    manifest: Manifest
    cleanings: tuple[Cleaning, ...]
    """Every change to what speakers declared that is more than trimming and lower-casing."""
    notes: tuple[str, ...]
    """What else a reader must know: clips left out, speakers in two splits."""


def write(corpus: Corpus, path: Path) -> None:
    """Write the manifest as CSV, or as Parquet where the path ends in `.parquet`.

    The paths of clips inside the manifest's folder are written relative to it, so that both can be moved together;
    others stay absolute.
    """
    folder = path.parent.resolve()
    table = corpus.manifest.table.copy()
    clips = [Path(p).resolve() for p in table["path"]]
    table["path"] = [(c.relative_to(folder) if c.is_relative_to(folder) else c).as_posix() for c in clips]
    write_table(table, path)


@dataclass(frozen=True)
class Count:
    """Clips and distinct speakers."""

    clips: int
    speakers: int


Intersection = tuple[str, ...]
"""One group of each crossed attribute."""


@dataclass(frozen=True)
class Intersections:
    """The crossings of groups that occur. A clip with an `undeclared` attribute is in none; `other` is a group."""

    attributes: tuple[str, ...]
    """What is crossed."""
    train: tuple[Intersection, ...]
    test: tuple[Intersection, ...]
    only_in_test: tuple[Intersection, ...]
    """In test, but not in train: what a recogniser must generalise to."""
    partly_undeclared_clips: int
    """Clips of any split that are in no intersection."""


@dataclass(frozen=True)
class Description:
    """Who and what is in a manifest. A split is named only where it has clips."""

    splits: Mapping[str, Count]
    commands: Mapping[str, Mapping[str, int]]
    """Command (or `unknown`) -> split -> clips."""
    groups: Mapping[str, Mapping[str, Mapping[str, Count]]]
    """Attribute -> group -> split -> count; `undeclared` is shown with the others."""
    intersections: Intersections


def describe(manifest: Manifest, *, crossed: Sequence[str] | None = None) -> Description:
    """Count clips, speakers, commands, groups and intersections.

    Args:
        crossed: the attributes of an intersection; all of the manifest's by default.

    Raises:
        ManifestError: the manifest has no such attribute.
    """
    crossed = tuple(manifest.attributes if crossed is None else crossed)
    unknown = [a for a in crossed if a not in manifest.attributes]
    if unknown:
        raise ManifestError(
            f"the manifest has no attribute {', '.join(unknown)} to cross; "
            f"it has {', '.join(manifest.attributes) or 'none'}"
        )
    table = manifest.table
    by_command = table.groupby(["command", "split"]).size()
    return Description(
        splits=_counts(table),
        commands={
            command: {split: int(by_command.get((command, split), 0)) for split in _splits(table)}
            for command in sorted(set(table["command"]))
        },
        groups={
            attribute: {group: _counts(table[table[attribute] == group]) for group in sorted(set(table[attribute]))}
            for attribute in manifest.attributes
        },
        intersections=_intersections(table, crossed),
    )


def _splits(table: pd.DataFrame) -> list[str]:
    present = set(table["split"])
    return [s for s in SPLITS if s in present]


def _counts(table: pd.DataFrame) -> dict[str, Count]:
    parts = ((split, table[table["split"] == split]) for split in _splits(table))
    return {split: Count(len(part), int(part["speaker"].nunique())) for split, part in parts}


def _intersections(table: pd.DataFrame, crossed: tuple[str, ...]) -> Intersections:
    cells: dict[str, set[Intersection]] = {split: set() for split in SPLITS}
    undeclared = 0
    for split, *groups in table[["split", *crossed]].itertuples(index=False, name=None):
        if UNDECLARED in groups:
            undeclared += 1
        elif groups:
            cells[split].add(tuple(groups))
    return Intersections(
        attributes=crossed,
        train=tuple(sorted(cells["train"])),
        test=tuple(sorted(cells["test"])),
        only_in_test=tuple(sorted(cells["test"] - cells["train"])),
        partly_undeclared_clips=undeclared,
    )
