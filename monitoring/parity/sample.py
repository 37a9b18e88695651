"""The speakers of one group, and the moments of their scores."""

from dataclasses import dataclass
from math import nan

import numpy as np
from numpy.typing import NDArray

from monitoring.parity.numbering import numbered
from monitoring.parity.table import SpeakerTable
from recognizer.groups import UNDECLARED


@dataclass(frozen=True, eq=False)
class GroupSample:
    """One group's speakers and moments, in the symbols of the package's docstring."""

    n: NDArray[np.float64]
    """[J], n_j"""
    r: NDArray[np.float64]
    """[J], s_j - mu_g n_j"""
    J: int
    N: int
    mu: float
    v: float
    """NaN with one speaker"""

    @property
    def speaker_sd(self) -> float:
        """sqrt(J_g v_g): the standard deviation of speakers' mean scores, were their clips equally many."""
        return float(np.sqrt(self.J * self.v))


def samples_of(table: SpeakerTable) -> dict[str, GroupSample]:
    """Every group, `undeclared` included, sorted by name."""
    names, member = numbered(table.group)
    rows = np.split(np.argsort(member, kind="stable"), np.cumsum(np.bincount(member))[:-1])
    return {str(name): _sample(table.clips[own], table.score[own]) for name, own in zip(names, rows, strict=True)}


def declared_samples(table: SpeakerTable) -> dict[str, GroupSample]:
    """Every group but `undeclared`."""
    return {name: sample for name, sample in samples_of(table).items() if name != UNDECLARED}


def _sample(clips: NDArray[np.int64], score: NDArray[np.float64]) -> GroupSample:
    J, N = clips.size, int(clips.sum())
    mu = float(score.sum() / N)
    r = score - mu * clips
    v = float(J / (J - 1) * np.square(r).sum() / N**2) if J > 1 else nan
    return GroupSample(n=clips.astype(np.float64), r=r, J=J, N=N, mu=mu, v=v)
