"""The labelled-clip table that every corpus becomes: one row a clip, checked when it is loaded.

A manifest is a CSV or Parquet file with the columns `path, command, speaker, split` and one column an attribute.
Paths are relative to the manifest's folder, or absolute.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pandas as pd

from recognizer.decision import UNKNOWN
from recognizer.groups import ATTRIBUTES, UNDECLARED, clean_value, declared_group, vocabulary_of

COLUMNS = ("path", "command", "speaker", "split")
SOUND = "sound"
"""A column that a manifest may have: what a clip of `unknown` is, the word it says or a kind of noise; else empty."""
SPLITS = ("train", "validation", "test")
_SHOWN = 5


class ManifestError(ValueError):
    """A manifest that can't be used; the message says what is wrong, where, and what is accepted."""


@dataclass(frozen=True)
class Manifest:
    """A checked table of labelled clips.

    Attributes:
        table: one row a clip: `path` (absolute), `command`, `speaker`, `split`, the attributes, perhaps `sound`: all
            strings.
        attributes: the attribute columns, in order.
    """

    table: pd.DataFrame
    attributes: tuple[str, ...]

    def split(self, *names: str) -> Manifest:
        """The clips of the named splits.

        Raises:
            ManifestError: no clip is in them.
        """
        rows = self.table[self.table["split"].isin(names)]
        if rows.empty:
            raise ManifestError(
                f"no clip is in the split {' or '.join(names)}; found {sorted(self.table['split'].unique())}"
            )
        return Manifest(rows.reset_index(drop=True), self.attributes)

    def where(self, keep: Sequence[bool]) -> Manifest:
        """The clips at which `keep` is true."""
        return Manifest(self.table[list(keep)].reset_index(drop=True), self.attributes)

    @property
    def commands(self) -> tuple[str, ...]:
        """The commands, sorted; `unknown` is none."""
        return tuple(sorted(set(self.table["command"]) - {UNKNOWN}))

    @property
    def vocabulary(self) -> dict[str, tuple[str, ...]]:
        """Attribute -> declared groups."""
        return vocabulary_of(self.attributes, {a: self.table[a] for a in self.attributes})

    @property
    def clip_ids(self) -> list[str]:
        """One stable name a clip, unique and independent of where the corpus lies: its file name and two folders.

        Raises:
            ManifestError: two clips share a name; they would share their noise too.
        """
        names = self.table["path"].map(lambda p: "/".join(Path(p).parts[-3:]))
        _refuse(
            self.table.assign(path=names), names.duplicated(), "the same file name and two folders twice", show="path"
        )
        return names.tolist()

    def fingerprint(self) -> str:
        """sha256 of the table and of every clip's bytes, in path order."""
        digest = hashlib.sha256()
        for row in self.table.sort_values("path").itertuples(index=False):
            record = dict(zip(self.table.columns, row, strict=True))
            digest.update(Path(record.pop("path")).read_bytes())
            digest.update(repr(sorted(record.items())).encode())
        return f"sha256:{digest.hexdigest()}"


def read_table(path: Path) -> pd.DataFrame:
    """A CSV or Parquet file as a table of strings; an empty cell is an empty string.

    Raises:
        ManifestError: no such file, or one that can't be read as a table.
    """
    try:
        if path.suffix == ".parquet":
            table = pd.read_parquet(path)
            return table.astype(object).where(table.notna(), "").astype(str)
        return pd.read_csv(path, dtype=str, keep_default_na=False)
    except FileNotFoundError:
        raise ManifestError(f"there is no manifest at {path}") from None
    except (ValueError, OSError) as error:
        raise ManifestError(f"{path} can't be read as a {path.suffix or 'CSV'} table: {error}") from error


def write_table(table: pd.DataFrame, path: Path) -> None:
    """Write a manifest table as CSV, or as Parquet where the path ends in `.parquet`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".parquet":
        table.to_parquet(path, index=False)
    else:
        table.to_csv(path, index=False)


def load_manifest(
    path: Path,
    *,
    columns: Mapping[str, str] | None = None,
    attributes: Sequence[str] | None = None,
    default_split: str | None = None,
    as_declared: bool = False,
) -> Manifest:
    """Load and check a manifest.

    Args:
        path: CSV or Parquet.
        columns: our column -> the file's, where they differ (`{"command": "label"}`).
        attributes: the attribute columns; by default those of `ATTRIBUTES` that the file has.
        default_split: the split of every clip where the file has no such column.
        as_declared: leave attributes as they are but for case and spaces, for a caller that cleans and reports them.

    Raises:
        ManifestError: a missing column, label, speaker or file, an unknown split, one clip twice.
    """
    table = read_table(path)
    for ours, theirs in (columns or {}).items():
        if theirs not in table.columns:
            raise ManifestError(f"{path} has no column {theirs!r} to use as {ours!r}; it has {list(table.columns)}")
        table[ours] = table[theirs]
    if "split" not in table.columns and default_split is not None:
        table["split"] = default_split
    if attributes is None:
        attributes = [a for a in ATTRIBUTES if a in table.columns]
    missing = [c for c in (*COLUMNS, *attributes) if c not in table.columns]
    if missing:
        raise ManifestError(
            f"{path} has no column {', '.join(missing)}; it has {list(table.columns)}. "
            "Name another column for it with --columns, such as --columns command=label"
        )
    table = table[[*COLUMNS, *attributes, *({SOUND} & set(table.columns))]].copy()
    root = path.parent.resolve()
    table["path"] = [str(root / p) if p.strip() else "" for p in table["path"]]
    for attribute in attributes:
        group = clean_value if as_declared else partial(declared_group, attribute)
        table[attribute] = [group(v) for v in table[attribute]]
    return Manifest(check_table(table, source=str(path)), tuple(attributes))


def check_table(table: pd.DataFrame, *, source: str) -> pd.DataFrame:
    """The table again, or a `ManifestError` that names `source` and the first rows at fault."""
    if table.empty:
        raise ManifestError(f"{source} has no rows")
    for column in ("path", "command", "speaker"):
        _refuse(
            table,
            table[column].str.strip() == "",
            f"{source}: no {column}",
            show="path" if column != "path" else "speaker",
        )
    _refuse(
        table,
        ~table["split"].isin(SPLITS),
        f"{source}: the split is none of {', '.join(SPLITS)}",
        show="split",
    )
    _refuse(table, table["path"].duplicated(), f"{source}: the same clip twice", show="path")
    exists = table["path"].map(lambda p: Path(p).is_file())
    _refuse(table, ~exists, f"{source}: no such file", show="path")
    return table


def _refuse(table: pd.DataFrame, bad: pd.Series[bool], problem: str, *, show: str) -> None:
    if not bad.any():
        return
    rows = table.index[bad]
    shown = "; ".join(f"row {int(i) + 2}: {table.at[i, show]!r}" for i in rows[:_SHOWN])
    more = f" and {len(rows) - _SHOWN} more" if len(rows) > _SHOWN else ""
    raise ManifestError(f"{problem} in {len(rows)} of {len(table)} rows ({shown}{more})")


def merge(manifests: Sequence[Manifest]) -> Manifest:
    """Several manifests as one; an attribute that one of them lacks is `undeclared` there.

    Raises:
        ManifestError: a clip that stands in two of them.
    """
    attributes = tuple(dict.fromkeys(a for m in manifests for a in m.attributes))
    table = pd.concat([m.table for m in manifests], ignore_index=True)
    for attribute in attributes:
        table[attribute] = table[attribute].fillna(UNDECLARED)
    if SOUND in table.columns:
        table[SOUND] = table[SOUND].fillna("")
    return Manifest(check_table(table, source="the merged manifest"), attributes)
