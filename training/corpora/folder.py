"""A corpus of one's own: a folder of clips, or one or several manifests."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Literal

import pandas as pd

from recognizer.decision import UNKNOWN
from recognizer.groups import ATTRIBUTES, UNDECLARED, clean_value
from recognizer.manifest import SOUND, Manifest, ManifestError, check_table, load_manifest, merge, read_table
from training.corpora.cleaning import AGE, NATIVE, NON_NATIVE, Rule, as_declared, clean_table
from training.corpora.corpus import Corpus
from training.corpora.ranges import Ranges
from training.corpora.splits import (
    PAPER_SHARES,
    Fold,
    Shares,
    SplitKind,
    closed_split,
    hold_out,
    hold_out_fold,
    open_split,
    split_clips,
)

SUFFIXES = (".wav", ".flac", ".ogg", ".mp3")

_ENGLISH = re.compile(r"en(glish)?(?![a-z]).*")
_SOURCE = "manifest path"
_SHOWN = 5


def read_folder(root: Path, *, split: SplitKind = "closed", seed: int = 0, shares: Shares = PAPER_SHARES) -> Corpus:
    """Clips in the layout `root/<command>/<speaker>_<anything>.<wav|flac|ogg|mp3>`, which is Speech Commands' too.

    The speaker is the file's name up to the first `_`. The folder `unknown` holds what is no command. Folders whose
    names begin with `_` or `.` are left out. Nothing is known of the speakers: to compare groups, write a manifest.

    Raises:
        ManifestError: no such folder, no clips, files whose names have no speaker, or too few for the split.
    """
    root = root.resolve()
    if not root.is_dir():
        raise ManifestError(f"there is no folder {root}")
    folders = sorted(p for p in root.iterdir() if p.is_dir() and not p.name.startswith("."))
    left_out = [f.name for f in folders if f.name.startswith("_")]
    clips = [
        clip
        for folder in folders
        if folder.name not in left_out
        for clip in sorted(folder.iterdir())
        if clip.suffix.lower() in SUFFIXES
    ]
    if not clips:
        raise ManifestError(f"no clip lies in {root}; <command>/<speaker>_<anything>{'|'.join(SUFFIXES)} is looked for")
    malformed = [f"{c.parent.name}/{c.name}" for c in clips if not c.stem.partition("_")[0] or "_" not in c.stem]
    if malformed:
        raise ManifestError(
            f"{len(malformed)} of {len(clips)} clips in {root} are not named <speaker>_<anything> "
            f"({_listed(malformed)})"
        )
    table = pd.DataFrame(
        {"path": str(c), "command": clean_value(c.parent.name), "speaker": c.stem.partition("_")[0]} for c in clips
    )
    table["split"] = split_clips(table, split, seed=seed, shares=shares)
    notes = (f"folders left out: {_listed(left_out)}",) if left_out else ()
    return Corpus(Manifest(check_table(table, source=str(root)), ()), (), notes)


def native_group(language: str) -> str:
    """Whether a first language, trimmed and lower-cased, is English: `en-gb`, `english`, `en (from accent tag)`."""
    if language in (NATIVE, NON_NATIVE):  # answered already
        return language
    return NATIVE if _ENGLISH.fullmatch(language) else NON_NATIVE


def own_manifest(
    paths: Sequence[Path],
    *,
    columns: Mapping[str, str] | None = None,
    attributes: Sequence[str] = ATTRIBUTES,
    commands: Sequence[str] | None = None,
    others: Literal["unknown", "drop"] = "unknown",
    native_from: str | None = None,
    renames: Mapping[str, Mapping[str, str]] | None = None,
    ranges: Mapping[str, Ranges] | None = None,
    split: Literal["given", "closed", "open"] = "open",
    shares: Shares = PAPER_SHARES,
    hold_out_from: Sequence[Path] = (),
    hold_out_share: float = 0.5,
    hold_out_only: Fold | None = None,
    stratify: Sequence[str] = (),
    seed: int = 0,
) -> Corpus:
    """Several manifests as one cleaned corpus.

    Labels are trimmed and lower-cased. Ages become decades. An attribute that a manifest lacks is `undeclared` there.

    Args:
        paths: CSV or Parquet files with the columns `path`, `command`, `speaker`, perhaps `split`, and attributes.
        columns: our column -> theirs, where they differ (`{"command": "label"}`); a manifest that has no such column is
            read by our name.
        attributes: the attributes wanted; at least one manifest must have each.
        commands: the labels to keep as commands; all by default.
        others: what becomes of other labels: the label `unknown`, with the word in the column `sound`; or nothing.
        native_from: the column with the first language; the attribute `native` is then `native` where it is English,
            `non-native` where it is another, `undeclared` where it is empty.
        renames: attribute -> declared value (trimmed, lower-cased) -> group, such as
            `{"accent": {"usa/neutral": "american"}}`; every use is reported as a cleaning.
        ranges: attribute -> the ranges that its numbers are put into; no number, or one outside them, is `undeclared`
            and reported.
        split: `given` = the manifests' own column; `open` or `closed` = divided anew.
        shares: of speakers (open) or of clips (closed).
        hold_out_from: those of `paths` whose speakers the test is about: `hold_out_share` of them is the test split,
            and of everybody else `shares.validation` validates and the rest trains. Only with the open split.
        hold_out_only: in place of a share, the fold of them that is the test split.
        stratify: attributes to spread evenly over an open split, the first before all others; the manifests
            themselves are spread first.
        seed: of the split.

    Raises:
        ManifestError: as `load_manifest` and the splits; no manifest; a command that nobody says.
    """
    if not paths:
        raise ManifestError("no manifest was given; give one or more CSV or Parquet files")
    if hold_out_from and split != "open":
        raise ManifestError(f"speakers can be held out of an open split only; this one is {split}")
    if hold_out_only is not None and not hold_out_from:
        raise ManifestError("a fold is to be held out, and no manifest is named whose speakers are divided into folds")
    not_given = [str(p) for p in hold_out_from if p not in paths]
    if not_given:
        raise ManifestError(f"speakers are to be held out of {', '.join(not_given)}, which is not among the manifests")
    columns = dict(columns or {})
    if native_from is not None:
        columns["native"] = native_from
        attributes = tuple(dict.fromkeys((*attributes, "native")))
    parts = _load(paths, columns=columns, attributes=attributes, needs_split=split == "given")
    table = merge(parts).table
    table[_SOURCE] = [str(path) for path, part in zip(paths, parts, strict=True) for _ in part.table.index]
    table["command"] = [clean_value(label) for label in table["command"]]
    notes = _speakers_in_two_manifests(table)
    if commands is not None:
        table, note = _keep_commands(table, commands, others)
        notes += note
    rules = _rules(attributes, renames or {}, ranges or {}, has_language=native_from is not None)
    table, cleanings = clean_table(table, rules)
    if hold_out_from:
        is_source = table[_SOURCE].isin([str(p) for p in hold_out_from])
        hold = (
            partial(hold_out, share=hold_out_share)
            if hold_out_only is None
            else partial(hold_out_fold, fold=hold_out_only)
        )
        table["split"] = hold(
            table,
            set(table.loc[is_source, "speaker"]),
            validation_share=shares.validation,
            seed=seed,
            stratify=[_SOURCE, *stratify],
        )
    elif split == "open":
        table["split"] = open_split(table, seed=seed, shares=shares, stratify=[_SOURCE, *stratify])
    elif split == "closed":
        table["split"] = closed_split(table, seed=seed, shares=shares)
    table = table[["path", "command", "speaker", "split", *attributes, *({SOUND} & set(table.columns))]]
    return Corpus(
        Manifest(check_table(table, source="the merged manifest"), tuple(attributes)), cleanings, tuple(notes)
    )


def _load(
    paths: Sequence[Path], *, columns: Mapping[str, str], attributes: Sequence[str], needs_split: bool
) -> list[Manifest]:
    """Each manifest with those of the attributes that it has; one that it lacks is `undeclared`."""
    headers = [set(read_table(path).columns) for path in paths]
    absent_columns = [theirs for theirs in columns.values() if not any(theirs in header for header in headers)]
    if absent_columns:
        raise ManifestError(f"no manifest has a column {', '.join(absent_columns)}; they have {_all(headers)}")
    lacking = [a for a in attributes if a not in columns and not any(a in header for header in headers)]
    if lacking:
        raise ManifestError(f"no manifest has a column for {', '.join(lacking)}; they have {_all(headers)}")
    parts = []
    for path, header in zip(paths, headers, strict=True):
        mapped = {ours: theirs for ours, theirs in columns.items() if theirs in header}
        part = load_manifest(
            path,
            columns=mapped,
            attributes=[a for a in attributes if a in header or a in mapped],
            default_split=None if needs_split else "train",
            as_declared=True,
        )
        undeclared = {a: UNDECLARED for a in attributes if a not in part.attributes}
        parts.append(Manifest(part.table.assign(**undeclared), tuple(attributes)))
    return parts


def _all(headers: Sequence[set[str]]) -> str:
    return ", ".join(sorted(set().union(*headers)))


def _speakers_in_two_manifests(table: pd.DataFrame) -> list[str]:
    manifests = table.groupby("speaker")[_SOURCE].nunique()
    several = sorted(manifests[manifests > 1].index)
    if not several:
        return []
    return [f"{len(several)} speakers are in several manifests and taken for the same people: {_listed(several)}"]


def _keep_commands(
    table: pd.DataFrame, commands: Sequence[str], others: Literal["unknown", "drop"]
) -> tuple[pd.DataFrame, list[str]]:
    wanted = {clean_value(c) for c in commands}
    unsaid = sorted(wanted - set(table["command"]))
    if unsaid:
        raise ManifestError(
            f"no clip says {_listed(unsaid)}; the labels are {', '.join(sorted(set(table['command'])))}"
        )
    is_other = ~table["command"].isin(sorted(wanted))
    labels = Counter(table.loc[is_other & (table["command"] != UNKNOWN), "command"])
    fate = "became unknown" if others == "unknown" else "were left out"
    notes = [f"{labels.total()} clips of {len(labels)} other words {fate}: {_listed(sorted(labels))}"] if labels else []
    if others == "drop":
        return table[~is_other].reset_index(drop=True), notes
    told = table[SOUND] if SOUND in table.columns else pd.Series("", index=table.index)
    is_named = is_other & (table["command"] != UNKNOWN)
    sound = told.where(~is_named, table["command"])
    return table.assign(command=table["command"].where(~is_other, UNKNOWN), **{SOUND: sound}), notes


def _rules(
    attributes: Sequence[str],
    renames: Mapping[str, Mapping[str, str]],
    ranges: Mapping[str, Ranges],
    *,
    has_language: bool,
) -> dict[str, Rule]:
    for named, what in ((renames, "renamed"), (ranges, "put into ranges")):
        if stray := [a for a in named if a not in attributes]:
            raise ManifestError(
                f"values of {', '.join(stray)} are to be {what}, but the attributes are {', '.join(attributes)}"
            )
    rules = {a: Rule(coding=ranges[a].group if a in ranges else as_declared) for a in attributes}
    if "age" in rules and "age" not in ranges:
        rules["age"] = AGE
    if has_language:
        rules["native"] = Rule(coding=native_group)
    for attribute, table in renames.items():
        cleaned = {clean_value(value): clean_value(group) for value, group in table.items()}
        rules[attribute] = Rule(table={**rules[attribute].table, **cleaned}, coding=rules[attribute].coding)
    return rules


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return f"{', '.join(names[:_SHOWN])}{more}"
