"""The speaker table: one row per speaker carries every estimate."""

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from monitoring.parity.numbering import first_places, numbered
from recognizer.groups import UNDECLARED


@dataclass(frozen=True, eq=False)
class SpeakerTable:
    """One row per speaker: what every estimate is computed from.

    Raises:
        ValueError: no rows, columns of unequal length, a speaker listed twice, a speaker without clips, or a
            score that is not a sum of `clips` scores in [0, 1].
    """

    speaker: NDArray[np.str_]
    """[speakers], each once"""
    group: NDArray[np.str_]
    """[speakers], value of one attribute; `undeclared` where there is none"""
    clips: NDArray[np.int64]
    """[speakers], n_j >= 1"""
    score: NDArray[np.float64]
    """[speakers], s_j: sum of the per-clip scores, in [0, n_j]"""

    def __post_init__(self) -> None:
        _check_columns(speaker=self.speaker, group=self.group, clips=self.clips, score=self.score)
        if not _is_ascending(self.speaker) and np.unique(self.speaker).size != self.speaker.size:
            raise ValueError("a speaker is listed twice; one row per speaker is accepted: see from_clips")
        if self.clips.min() < 1:
            raise ValueError("a speaker has no clips; leave such speakers out")
        if not np.all((self.score >= 0.0) & (self.score <= self.clips)):
            raise ValueError("a speaker's score is NaN or outside [0, clips]; a sum of scores in [0, 1] is accepted")

    @classmethod
    def from_clips(cls, *, speaker: ArrayLike, group: ArrayLike, score: ArrayLike) -> Self:
        """Sums per-clip scores by speaker; the order of the clips changes nothing, to the last bit.

        Args:
            speaker: str [clips], opaque ids.
            group: str [clips], the speaker's value of one attribute, `undeclared` where there is none.
            score: float [clips], per-clip scores in [0, 1] (`monitoring.scores`).

        Raises:
            ValueError: no clips, columns of unequal length, ids or groups that are not strings, a score
                that is NaN or outside [0, 1], or a speaker in two groups.
        """
        speakers, groups = _strings(speaker, "speaker"), _strings(group, "group")
        scores = np.asarray(score, dtype=np.float64)
        _check_columns(speaker=speakers, group=groups, score=scores)
        outside = ~((scores >= 0.0) & (scores <= 1.0))
        if outside.any():
            raise ValueError(
                f"{int(outside.sum())} of {scores.size} scores are NaN or outside [0, 1], the first is "
                f"{scores[outside][0]}; leave out clips that have no score, and scale others to [0, 1]"
            )
        names, row = numbered(speakers)
        own = groups[first_places(row)]
        stray = np.flatnonzero(groups != own[row])
        if stray.size:
            clip = stray[0]
            raise ValueError(
                f"speaker {str(speakers[clip])!r} is in two groups, {str(own[row[clip]])!r} and {str(groups[clip])!r}; "
                "one value per speaker is accepted: settle it in the manifest"
            )
        clips = np.bincount(row)
        return cls(speaker=names, group=own, clips=clips.astype(np.int64), score=_sums(scores, row, clips))


def _sums(scores: NDArray[np.float64], row: NDArray[np.int64], clips: NDArray[np.int64]) -> NDArray[np.float64]:
    """Sums of scores by row, added from the smallest score up, whatever their order; scores 0 and 1 need no order."""
    if np.isin(scores, (0.0, 1.0)).all():
        return np.asarray(np.bincount(row, scores), dtype=np.float64)
    ordered = np.sort(row + 1j * scores).imag  # complex numbers are sorted by the real part, then by the other
    return np.asarray(np.add.reduceat(ordered, np.cumsum(clips) - clips))


def _is_ascending(strings: NDArray[np.str_]) -> bool:
    return bool((strings[1:] > strings[:-1]).all())


def _strings(values: ArrayLike, name: str) -> NDArray[np.str_]:
    array = np.asarray(values)
    if array.dtype.kind != "U" and not all(isinstance(value, str) for value in array.flat):
        raise ValueError(f"{name} holds values that are no strings; strings are accepted, {UNDECLARED!r} for no group")
    return array.astype(np.str_, copy=False)


def _check_columns(**columns: NDArray[Any]) -> None:
    shapes = {name: column.shape for name, column in columns.items()}
    if len(set(shapes.values())) != 1 or any(len(shape) != 1 for shape in shapes.values()):
        raise ValueError(f"the columns have shapes {shapes}; flat columns of one length are accepted")
    if any(column.size == 0 for column in columns.values()):
        raise ValueError("there is no clip to measure; one row or more is accepted")
