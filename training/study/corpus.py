"""A study's clips: one corpus, split anew in one or two ways, and which of its clips are trained on and attacked."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.random import Generator, default_rng

from recognizer.audio import AudioError, AudioFormat, read_clip
from recognizer.decision import UNKNOWN
from recognizer.groups import UNDECLARED
from recognizer.manifest import Manifest, ManifestError
from recognizer.progress import OnProgress, Stage, silent
from training.corpora.splits import SplitKind, split_clips
from training.study.settings import StudySettings

logger = logging.getLogger(__name__)

TRAINING_TO_VALIDATION = 7
"""7:1:2, kept when training clips are limited."""
_SHOWN = 3


@dataclass(frozen=True)
class SplitCorpus:
    """One split's clips.

    Attributes:
        kind: how it was split.
        manifest: the clips that the study uses, their `split` column its own.
        attacked: names of the test clips that are attacked and smoothed.
    """

    kind: SplitKind
    manifest: Manifest
    attacked: frozenset[str]

    @cached_property
    def table(self) -> pd.DataFrame:
        """`clips.parquet`: `clip, speaker, command, split, is_attacked` and a column an attribute."""
        manifest, clip_ids = self.manifest, self.manifest.clip_ids
        is_attacked = [name in self.attacked for name in clip_ids]
        told = manifest.table.assign(clip=clip_ids, is_attacked=is_attacked)
        return told[["clip", "speaker", "command", "split", "is_attacked", *manifest.attributes]]

    @classmethod
    def of(cls, kind: SplitKind, table: pd.DataFrame, manifest: Manifest) -> SplitCorpus:
        """The corpus that `table`, a `clips.parquet`, tells of.

        Raises:
            ManifestError: a clip of it is not in the manifest.
        """
        split_of = dict(zip(table["clip"], table["split"], strict=True))
        names = pd.Series(manifest.clip_ids)
        if missing := set(split_of) - set(names):
            raise ManifestError(
                f"{len(missing)} clips of the study are not in the manifest, {min(missing)!r} the first"
            )
        used = manifest.where(names.isin(list(split_of)).tolist())
        splits = [split_of[name] for name in used.clip_ids]
        attacked = frozenset(table.loc[table["is_attacked"], "clip"])
        return cls(kind, Manifest(used.table.assign(split=splits), used.attributes), attacked)


def usable_clips(
    manifest: Manifest, audio: AudioFormat, *, on_progress: OnProgress = silent
) -> tuple[Manifest, list[str]]:
    """The clips that a study can use, and the words for those that it leaves out: of no command, or not to be heard.

    Raises:
        ManifestError: fewer than two speakers or commands, or a speaker in two groups of one attribute.
    """
    notes = []
    is_command = manifest.table["command"] != UNKNOWN
    if not is_command.all():
        notes.append(f"{int((~is_command).sum())} clips that are labelled {UNKNOWN!r}, and so no command, are left out")
        manifest = manifest.where(is_command.tolist())
    unheard = []
    for done, path in enumerate(manifest.table["path"], start=1):
        try:
            read_clip(Path(path), audio)
            unheard.append("")
        except AudioError as error:
            unheard.append(str(error))
        on_progress(Stage("looking through the clips", done, len(manifest.table)))
    if any(unheard):
        why = [words for words in unheard if words]
        notes.append(f"{len(why)} clips that can't be heard are left out; the first: {why[0]}")
        manifest = manifest.where([not words for words in unheard])
    _check(manifest)
    return manifest, notes


def split_corpus(manifest: Manifest, kind: SplitKind, settings: StudySettings) -> SplitCorpus:
    """Split the clips 7:1:2, and choose those that are trained on and attacked, spread over speakers and commands.

    Raises:
        ManifestError: too few clips or speakers for the split, or a command without training clips.
    """
    table = manifest.table.assign(split=split_clips(manifest.table, kind, seed=settings.seed))
    clip_ids = np.array(manifest.clip_ids)

    def spread(split: str, most: int | None) -> set[str]:
        part = (table["split"] == split).to_numpy()
        ordered = spread_out(table[part].assign(clip=clip_ids[part]), seed=settings.seed)
        return set(ordered[:most])

    limit = settings.training_clips
    few = None if limit is None else max(1, limit // TRAINING_TO_VALIDATION)
    used = spread("train", limit) | spread("validation", few) | spread("test", None)
    keep = np.isin(clip_ids, list(used))
    corpus = SplitCorpus(
        kind,
        Manifest(table[keep].reset_index(drop=True), manifest.attributes),
        frozenset(spread("test", settings.clips)),
    )
    _check_training(corpus)
    return corpus


def spread_out(table: pd.DataFrame, *, seed: int) -> list[str]:
    """The clips in an order every beginning of which is spread: one of each speaker in turn, their commands in turn.

    Args:
        table: one row a clip: `clip`, `speaker`, `command`.

    Returns:
        Their names.
    """
    turns: list[tuple[int, float, str]] = []
    for speaker, part in table.groupby("speaker"):
        rng = _generator(seed, str(speaker))
        place = rng.random()
        said = part.sort_values("clip").sample(frac=1, random_state=rng)
        rank = said.groupby("command").cumcount()
        commands = sorted(set(said["command"]))
        order = dict(zip(commands, rng.permutation(len(commands)).tolist(), strict=True))
        mine = sorted(zip(rank, said["command"].map(order), said["clip"], strict=True))
        turns += [(turn, place, clip) for turn, (_, _, clip) in enumerate(mine)]
    return [clip for _, _, clip in sorted(turns)]


def only_in_test(corpus: SplitCorpus) -> Iterator[str]:
    """The words for each declared group that nobody in training belongs to."""
    table = corpus.manifest.table
    training, test = table[table["split"] == "train"], table[table["split"] == "test"]
    for attribute in corpus.manifest.attributes:
        for group in sorted(set(test[attribute]) - set(training[attribute]) - {UNDECLARED}):
            of = test[test[attribute] == group]
            yield (
                f"{corpus.kind} split: {attribute} {group!r} is only in test "
                f"({of['speaker'].nunique()} speakers, {len(of)} clips)"
            )


def _check(manifest: Manifest) -> None:
    for column, why in (("command", "tells one from another"), ("speaker", "compares groups of them")):
        found = manifest.table[column].nunique()
        if found < 2:
            raise ManifestError(f"the corpus has {found} {column}{'s' * (found != 1)}; a study {why}: 2 are needed")
    for attribute in manifest.attributes:
        groups = manifest.table.groupby("speaker")[attribute].nunique()
        if len(torn := groups[groups > 1].index):
            raise ManifestError(
                f"{len(torn)} speakers stand in two groups of {attribute} or more "
                f"({', '.join(map(str, torn[:_SHOWN]))}); one group per speaker is accepted: settle it in the manifest"
            )


def _check_training(corpus: SplitCorpus) -> None:
    table = corpus.manifest.table
    untaught = set(table["command"]) - set(table.loc[table["split"] == "train", "command"])
    if untaught:
        raise ManifestError(
            f"the {corpus.kind} split leaves {', '.join(sorted(untaught))} without a training clip; more clips or "
            "speakers of each are needed, more --training-clips, or another --seed"
        )


def _generator(seed: int, speaker: str) -> Generator:
    digest = hashlib.sha256(f"study\0{speaker}".encode()).digest()
    return default_rng([seed, int.from_bytes(digest[:8], "big")])
