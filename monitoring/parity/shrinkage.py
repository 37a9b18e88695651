"""Means of all groups, the smallest too, as they may be shown: shrunk as far as chance may have moved them."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import nan

import numpy as np
from numpy.typing import NDArray

from monitoring.parity.additive import shrink, shrinking_variances
from monitoring.parity.sample import GroupSample, samples_of
from monitoring.parity.table import SpeakerTable
from recognizer.groups import UNDECLARED

CROSS = " * "
"""Between the groups of an intersection: `scottish * female`."""


@dataclass(frozen=True)
class ShrunkenMean:
    """A group's mean as seen and as shrunk. To be shown: the largest of shrunken means is no test of a gap."""

    group: str
    """of an intersection, the groups joined by ` * ` in the attributes' order"""
    speakers: int
    clips: int
    mean: float
    """mu_g, raw"""
    fitted: float
    """where the other groups say it lies: their weighted mean, or the additive fit; NaN of undeclared speakers"""
    shrunken: float
    """between the two, in [0, 1]; NaN of undeclared speakers, who are no group to borrow from or lend to"""


def shrunken_means(table: SpeakerTable) -> tuple[ShrunkenMean, ...]:
    """Every group of one attribute, `other` and `undeclared` included, sorted; shrunk to the grand mean.

    Of one group alone there is nothing to borrow from: it keeps its mean.
    """
    samples = samples_of(table)
    declared = [name for name in samples if name != UNDECLARED]
    return _shown(samples, declared, np.ones((len(declared), 1)))


def shrunken_intersections(tables: Mapping[str, SpeakerTable]) -> tuple[ShrunkenMean, ...]:
    """Every intersection of groups that somebody is in, sorted; shrunk to the sum of its attributes' effects.

    What two attributes do together beyond what each does alone is kept as far as the speakers at hand show it.
    Intersections with an undeclared attribute are listed, with their raw means only.

    Args:
        tables: attribute -> the table of the same clips by that attribute; two or more.

    Raises:
        ValueError: fewer than two attributes, or tables of different speakers, clips or scores.
    """
    if len(tables) < 2:
        raise ValueError(f"there are {len(tables)} attributes; two or more make an intersection")
    first, *others = tables.values()
    for table in others:
        if not (
            np.array_equal(table.speaker, first.speaker)
            and np.array_equal(table.clips, first.clips)
            and np.allclose(table.score, first.score, rtol=1e-9, atol=1e-9)
        ):
            raise ValueError("the attributes' tables are not of the same speakers, clips and scores; make them of one")
    levels = [np.unique(table.group, return_inverse=True) for table in tables.values()]
    cells, member = np.unique(np.stack([inverse for _, inverse in levels], axis=1), axis=0, return_inverse=True)
    names = [tuple(str(level[k]) for (level, _), k in zip(levels, cell, strict=True)) for cell in cells]
    joined = SpeakerTable(
        speaker=first.speaker,
        group=np.array([CROSS.join(name) for name in names])[member.ravel()],
        clips=first.clips,
        score=first.score,
    )
    declared = {CROSS.join(name): cell for name, cell in zip(names, cells, strict=True) if UNDECLARED not in name}
    samples = samples_of(joined)
    ordered = [name for name in samples if name in declared]
    return _shown(samples, ordered, _main_effects(np.array([declared[name] for name in ordered], dtype=np.int64)))


def _main_effects(cells: NDArray[np.int64]) -> NDArray[np.float64]:
    """Ones, and an indicator of every level of every attribute: [cells, columns]."""
    indicators = [np.equal.outer(column, np.unique(column)) for column in cells.T]
    return np.concatenate([np.ones((len(cells), 1)), *indicators], axis=1).astype(np.float64)


def _shown(
    samples: dict[str, GroupSample], declared: list[str], design: NDArray[np.float64]
) -> tuple[ShrunkenMean, ...]:
    fitted: dict[str, float] = {}
    shrunken: dict[str, float] = {}
    if declared:
        chosen = [samples[name] for name in declared]
        fit = shrink(np.array([sample.mu for sample in chosen]), shrinking_variances(chosen), design)
        fitted = dict(zip(declared, np.clip(fit.fitted, 0.0, 1.0).tolist(), strict=True))
        shrunken = dict(zip(declared, np.clip(fit.shrunken, 0.0, 1.0).tolist(), strict=True))
    return tuple(
        ShrunkenMean(
            group=name,
            speakers=sample.J,
            clips=sample.N,
            mean=sample.mu,
            fitted=fitted.get(name, nan),
            shrunken=shrunken.get(name, nan),
        )
        for name, sample in samples.items()
    )
