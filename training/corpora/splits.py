"""Which clips train, validate and test: the same speakers in all three (closed), or each speaker in one (open).

The same clips and seed give the same split, in whatever order the rows come.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
from numpy.random import Generator, default_rng

from recognizer.manifest import SPLITS, ManifestError

SplitKind = Literal["closed", "open"]

TRAIN, VALIDATION, TEST = SPLITS


@dataclass(frozen=True)
class Shares:
    """Shares of train, validation and test; each in [0, 1], together 1.

    Raises:
        ManifestError: they are not.
    """

    train: float = 0.7
    validation: float = 0.1
    test: float = 0.2

    def __post_init__(self) -> None:
        if min(self.each) < 0 or abs(sum(self.each) - 1) > 1e-6:
            raise ManifestError(
                f"the shares of train, validation and test are {self.each}; "
                "none may be negative, and they must add up to 1"
            )

    @property
    def each(self) -> tuple[float, float, float]:
        """In the order of `SPLITS`."""
        return self.train, self.validation, self.test


PAPER_SHARES = Shares()
"""7:1:2 (Richards et al. 2023, section 4.1)."""


def split_clips(
    table: pd.DataFrame,
    kind: SplitKind,
    *,
    seed: int,
    shares: Shares = PAPER_SHARES,
    stratify: Sequence[str] = (),
) -> list[str]:
    """`closed_split` or `open_split`, by name.

    Raises:
        ManifestError: as they do.
    """
    if kind == "closed":
        return closed_split(table, seed=seed, shares=shares)
    return open_split(table, seed=seed, shares=shares, stratify=stratify)


def closed_split(table: pd.DataFrame, *, seed: int, shares: Shares = PAPER_SHARES) -> list[str]:
    """Every speaker is in every split: the shares hold within each (speaker, command).

    Of a cell's n clips, each split gets its quota, share * n, rounded down or up. Which way is random but balanced: the
    roundings of a speaker's commands are spread evenly (systematic sampling). So the shares hold on average in every
    cell however small, and over a speaker whose commands have equally many clips they hold within one clip: one take
    of each of ten commands is split 7:1:2 too, with other commands in train for each speaker.

    Args:
        table: one row a clip, with the columns `path`, `speaker` and `command`.

    Returns:
        The split of each row.

    Raises:
        ManifestError: so few clips that a split with a share stays empty.
    """
    split_of: dict[str, str] = {}
    paths_of: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for path, speaker, command in zip(table["path"], table["speaker"], table["command"], strict=True):
        paths_of[speaker][command].append(path)
    for speaker, said in paths_of.items():
        rng = _generator(seed, speaker)
        commands = sorted(said)
        offset = rng.uniform()
        for place, index in enumerate(rng.permutation(len(commands))):
            paths = sorted(said[commands[index]])
            counts = _round_randomly(len(paths), shares, (offset + place / len(commands)) % 1)
            names = np.repeat(SPLITS, counts)
            split_of |= {paths[i]: str(name) for i, name in zip(rng.permutation(len(paths)), names, strict=True)}
    for name, share in zip(SPLITS, shares.each, strict=True):
        if share > 0 and name not in split_of.values():
            raise ManifestError(
                f"a closed split of {len(table)} clips leaves {name} empty; more takes of each command are needed"
            )
    return [split_of[path] for path in table["path"]]


def open_split(
    table: pd.DataFrame, *, seed: int, shares: Shares = PAPER_SHARES, stratify: Sequence[str] = ()
) -> list[str]:
    """No speaker is in two splits; the shares are shares of speakers, and each split with a share has a speaker.

    Args:
        table: one row a clip, with the column `speaker`.
        stratify: columns whose values are spread evenly over the splits, the first before all others.

    Returns:
        The split of each row.

    Raises:
        ManifestError: fewer speakers than splits with a share.
    """
    speakers = _strata(table, stratify, _generator(seed, "open"))
    rng = _generator(seed, "open draw")
    wanted = _seats(len(speakers), shares)
    test = _spread(speakers, wanted[TEST], rng)
    rest = [s for s in speakers if s not in test]
    validation = _spread(rest, wanted[VALIDATION], rng)
    return [TEST if s in test else VALIDATION if s in validation else TRAIN for s in table["speaker"]]


def hold_out(
    table: pd.DataFrame,
    speakers: Collection[str],
    *,
    share: float,
    validation_share: float = 0.1,
    seed: int,
    stratify: Sequence[str] = (),
) -> list[str]:
    """A share of the given speakers is the test split; everybody else trains or validates.

    Args:
        table: one row a clip, with the column `speaker`.
        speakers: those whom the test is about.
        share: of them in test, in (0, 1]; rounded, at least one speaker.
        validation_share: of the speakers that are left, how many validate, in [0, 1); at least one where it is not 0.
        stratify: columns whose values are spread evenly over the splits, the first before all others.

    Returns:
        The split of each row.

    Raises:
        ManifestError: a share out of range, none of the speakers in the table, or nobody left to train on.
    """
    if not 0 < share <= 1:
        raise ManifestError(f"the share of speakers to hold out is {share}; more than 0 and at most 1 is accepted")
    candidates = _candidates(table, speakers, stratify, seed)
    rng = _generator(seed, "hold out draw")
    test = _spread(candidates, max(1, round(share * len(candidates))), rng)
    return _train_on_the_rest(table, test, validation_share=validation_share, seed=seed, stratify=stratify)


@dataclass(frozen=True)
class Fold:
    """One of the parts that speakers are divided into, each of which is held out once.

    Raises:
        ManifestError: fewer than two parts, or a number that none of them has.
    """

    number: int
    """1 ... of"""
    of: int

    def __post_init__(self) -> None:
        if self.of < 2 or not 1 <= self.number <= self.of:
            raise ManifestError(
                f"the fold to hold out is {self.number}/{self.of}; 1/K to K/K are accepted, with K of 2 or more"
            )


def hold_out_fold(
    table: pd.DataFrame,
    speakers: Collection[str],
    *,
    fold: Fold,
    validation_share: float = 0.1,
    seed: int,
    stratify: Sequence[str] = (),
) -> list[str]:
    """One fold of the given speakers is the test split; everybody else trains or validates.

    Over the folds with one seed each of these speakers is in test exactly once. Folds have equally many speakers of
    each stratum, within one.

    Args:
        table: one row a clip, with the column `speaker`.
        speakers: those whom the test is about.
        validation_share: of the speakers that are left, how many validate, in [0, 1); at least one where it is not 0.
        stratify: columns whose values are spread evenly over the folds and splits, the first before all others.

    Returns:
        The split of each row.

    Raises:
        ManifestError: a share out of range, none of the speakers in the table, fewer of them than folds, or nobody
            left to train on.
    """
    candidates = _candidates(table, speakers, stratify, seed)
    if len(candidates) < fold.of:
        raise ManifestError(
            f"{len(candidates)} speakers can't be divided into {fold.of} folds; at most one fold a speaker is accepted"
        )
    # every fold.of-th of a stratum's neighbours: like dealing cards, with strata side by side in the pack
    test = set(candidates[fold.number - 1 :: fold.of])
    return _train_on_the_rest(table, test, validation_share=validation_share, seed=seed, stratify=stratify)


def _candidates(table: pd.DataFrame, speakers: Collection[str], stratify: Sequence[str], seed: int) -> list[str]:
    """Those of the speakers who are there, by stratum.

    Raises:
        ManifestError: none is.
    """
    given = table[table["speaker"].isin(list(speakers))]
    if given.empty:
        raise ManifestError("none of the speakers to hold out is in the corpus")
    return _strata(given, stratify, _generator(seed, "hold out"))


def _train_on_the_rest(
    table: pd.DataFrame, test: Collection[str], *, validation_share: float, seed: int, stratify: Sequence[str]
) -> list[str]:
    """
    Raises:
        ManifestError: a share out of range, or nobody is left.
    """
    if not 0 <= validation_share < 1:
        raise ManifestError(
            f"the share of validation speakers is {validation_share}; 0 or more and below 1 is accepted"
        )
    is_test = table["speaker"].isin(list(test))
    if is_test.all():
        raise ManifestError(
            f"all {len(test)} speakers of the corpus are held out for test, and nobody is left to train on; "
            "lower the share or add a corpus"
        )
    rest = open_split(
        table[~is_test],
        seed=seed,
        shares=Shares(train=1 - validation_share, validation=validation_share, test=0.0),
        stratify=stratify,
    )
    remaining = iter(rest)
    return [TEST if held else next(remaining) for held in is_test]


def _generator(seed: int, name: str) -> Generator:
    """A generator keyed by seed and name, so that one speaker's split does not depend on the others."""
    digest = hashlib.sha256(name.encode()).digest()
    return default_rng([seed, int.from_bytes(digest[:8], "big")])


def _round_randomly(clips: int, shares: Shares, offset: float) -> list[int]:
    """Clips per split: quota rounded down or up, its mean over a uniform `offset` in [0, 1) being the quota."""
    edges = np.round(clips * np.cumsum((0.0, *shares.each)), 9)
    return [int(n) for n in np.diff(np.floor(edges + offset))]


def _seats(speakers: int, shares: Shares) -> dict[str, int]:
    """Speakers per split by the largest remainder, at least one where there is a share."""
    wanted = [name for name, share in zip(SPLITS, shares.each, strict=True) if share > 0]
    if speakers < len(wanted):
        raise ManifestError(
            f"{speakers} speaker{'s' * (speakers != 1)} can't be divided into {', '.join(wanted)} with no speaker in "
            f"two of them; {len(wanted)} or more are needed, or a closed split"
        )
    quotas = {name: share * speakers for name, share in zip(SPLITS, shares.each, strict=True)}
    seats = {name: int(np.floor(round(quota, 9))) for name, quota in quotas.items()}
    for name in sorted(wanted, key=lambda n: seats[n] - quotas[n])[: speakers - sum(seats.values())]:
        seats[name] += 1
    for name in wanted:
        if seats[name] == 0:
            seats[max(seats, key=seats.__getitem__)] -= 1
            seats[name] = 1
    return seats


def _strata(table: pd.DataFrame, columns: Sequence[str], rng: Generator) -> list[str]:
    """The speakers, those of one stratum side by side and shuffled within it.

    Raises:
        ManifestError: no such column.
    """
    missing = [c for c in columns if c not in table.columns]
    if missing:
        raise ManifestError(f"can't stratify by {', '.join(missing)}; the columns are {list(table.columns)}")
    first = table.sort_values("speaker", kind="stable").drop_duplicates("speaker")
    stratum: Mapping[str, tuple[str, ...]] = {
        str(row["speaker"]): tuple(str(row[c]) for c in columns) for _, row in first.iterrows()
    }
    names = list(stratum)
    return sorted((names[i] for i in rng.permutation(len(names))), key=lambda s: stratum[s])


def _spread(ordered: Sequence[str], count: int, rng: Generator) -> set[str]:
    """`count` distinct ones at equal distances: every stretch of `ordered` gives its share, within one."""
    if count == 0:
        return set()
    places = (np.arange(count) + rng.uniform()) * len(ordered) / count
    return {ordered[int(p)] for p in places}
