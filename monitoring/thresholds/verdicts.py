"""What a setting makes of clips, and what that is worth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from recognizer.decision import UNKNOWN

Labels = npt.NDArray[np.str_]
Flags = npt.NDArray[np.bool_]
Draws = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Verdicts:
    """What one setting decides, clip by clip."""

    leader: Labels
    """str [clips]: the leading label."""
    passes: Flags
    """bool [clips]: whether the threshold is met."""
    draws: Draws
    """int64 [clips]: noisy copies that were heard; 0 where the defense hears none."""

    @property
    def is_accepted(self) -> Flags:
        """bool [clips]: `unknown` is never accepted."""
        return np.asarray(self.passes & (self.leader != UNKNOWN), dtype=np.bool_)

    def is_right(self, truth: Labels) -> Flags:
        """bool [clips]: accepted as the command that it is."""
        return np.asarray(self.is_accepted & (self.leader == truth), dtype=np.bool_)

    def is_wrong(self, truth: Labels) -> Flags:
        """bool [clips]: accepted as a command that it is not."""
        return np.asarray(self.is_accepted & (self.leader != truth), dtype=np.bool_)


def joined(parts: Sequence[Verdicts]) -> Verdicts:
    """Verdicts of one setting on several batches of clips, in order."""
    return Verdicts(
        np.concatenate([part.leader for part in parts]),
        np.concatenate([part.passes for part in parts]),
        np.concatenate([part.draws for part in parts]),
    )
