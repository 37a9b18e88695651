"""Simulated corpora whose truth is known: 14 groups the size of a corpus' accents, few clips a speaker."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from monitoring.parity import SpeakerTable

SIZES = (560, 180, 120, 90, 60, 50, 40, 30, 22, 20, 10, 6, 3, 2)
"""Speakers of each group: 47 % are in the largest, and four groups are too small to be compared."""
MEAN = 0.3
"""A group's mean where nothing is the matter."""
ICC = 0.3
"""Intraclass correlation: the part of the clips' variance that lies between speakers of a group."""
SCORE_VARIANCE = 0.17**2
"""Of clips' scores. (Of rejections, which are 0 or 1, it is MEAN (1 - MEAN).)"""
GAP = 0.15
RAISED = 3
"""The group whose mean is higher by `GAP` under the alternative: 90 speakers."""

Numbers = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Corpus:
    """One row a clip."""

    speaker: NDArray[np.int64]
    group: NDArray[np.int64]
    score: Numbers

    @property
    def table(self) -> SpeakerTable:
        return SpeakerTable.from_clips(
            speaker=self.speaker.astype(str),
            group=np.array([f"g{g:02}" for g in range(100)])[self.group],
            score=self.score,
        )


def means(raised_by: float) -> Numbers:
    """Every group's true mean, [14]."""
    return MEAN + raised_by * (np.arange(len(SIZES)) == RAISED)


def draw(mean: Numbers, generator: np.random.Generator, *, zero_or_one: bool, sizes: Sequence[int] = SIZES) -> Corpus:
    """Speakers with 1 + Poisson(2) clips and means of their own, Beta around their group's.

    Args:
        mean: [groups], of the clips' scores.
        zero_or_one: whether scores are outcomes, 0 or 1; else they are Beta around the speaker's mean.
    """
    group = np.repeat(np.arange(len(sizes)), sizes)
    clips = 1 + generator.poisson(2.0, group.size)
    speaker = np.repeat(np.arange(group.size), clips)
    centre = mean[group]
    if zero_or_one:
        own = beta(centre, ICC * centre * (1 - centre), generator)
        score = generator.binomial(1, own[speaker]).astype(np.float64)
    else:
        own = beta(centre, np.full(centre.size, ICC * SCORE_VARIANCE), generator)
        # The within-speaker variance is k own (1 - own), k such that its mean is (1 - ICC) SCORE_VARIANCE.
        k = (1 - ICC) * SCORE_VARIANCE / (centre * (1 - centre) - ICC * SCORE_VARIANCE)
        score = beta(own[speaker], (k * own * (1 - own))[speaker], generator)
    return Corpus(speaker=speaker, group=group[speaker], score=score)


def beta(mean: Numbers, variance: Numbers, generator: np.random.Generator) -> Numbers:
    """Beta distributed numbers with these means and variances."""
    strength = mean * (1 - mean) / variance - 1
    return generator.beta(mean * strength, (1 - mean) * strength)
