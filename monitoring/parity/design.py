"""What asking the same speakers again is worth: the design effect of clips that come in clusters."""

from dataclasses import dataclass
from math import nan

import numpy as np
from numpy.typing import ArrayLike

from monitoring.parity.sample import samples_of
from monitoring.parity.table import SpeakerTable


@dataclass(frozen=True)
class DesignEffect:
    """How much less a group's clips say than as many clips of as many speakers would."""

    group: str
    speakers: int
    clips: int
    effect: float
    """v_g / (variance were the clips independent): 1 for one clip a speaker; NaN with one speaker or no spread"""
    icc: float
    """intraclass correlation of a speaker's clips (ANOVA estimate, may be negative); NaN where it can't be told"""

    @property
    def effective_clips(self) -> float:
        """How many independent clips would say as much."""
        return self.clips / self.effect if self.effect > 0 else nan


def design_effects(*, speaker: ArrayLike, group: ArrayLike, score: ArrayLike) -> tuple[DesignEffect, ...]:
    """The design effect of every group, `undeclared` included, sorted; arguments as of `SpeakerTable.from_clips`.

        deff_g = v_g / (s2_g / N_g),      s2_g the variance of the group's clips' scores

    Raises:
        ValueError: as `SpeakerTable.from_clips`.

    Source: Kish 1965; Donner & Koval 1980 (ANOVA estimate of the intraclass correlation).
    """
    scores, groups = np.asarray(score, dtype=np.float64), np.asarray(group)
    table = SpeakerTable.from_clips(speaker=speaker, group=group, score=scores)
    effects = []
    for name, sample in samples_of(table).items():
        own = scores[groups == name]
        J, N = sample.J, sample.N
        total = float(np.square(own - sample.mu).sum())
        between = float((np.square(sample.r) / sample.n).sum())
        effect = icc = nan
        if J > 1 and total > 0.0:
            effect = sample.v / (total / (N - 1) / N)
        if 1 < J < N and total > 0.0:
            n0 = (N - float(np.square(sample.n).sum()) / N) / (J - 1)
            msb, msw = between / (J - 1), max(total - between, 0.0) / (N - J)
            icc = (msb - msw) / (msb + (n0 - 1) * msw)
        effects.append(DesignEffect(group=name, speakers=J, clips=N, effect=effect, icc=icc))
    return tuple(effects)


def speaker_sd(*, clip_sd: float, icc: float, clips_per_speaker: float) -> float:
    """SD of speakers' mean scores over so many clips each: clip_sd sqrt((1 + (n - 1) icc) / n).

    Args:
        clip_sd: of single clips over all speakers; sqrt(p (1 - p)) of a share p.
        icc: intraclass correlation, in [0, 1]: the part of the variance that lies between speakers.
        clips_per_speaker: n >= 1.

    Raises:
        ValueError: an argument outside its range.
    """
    if not clip_sd >= 0.0 or not 0.0 <= icc <= 1.0 or not clips_per_speaker >= 1.0:
        raise ValueError(
            f"clip_sd is {clip_sd}, icc {icc} and clips_per_speaker {clips_per_speaker}; "
            "an SD of 0 or more, a correlation in [0, 1] and 1 clip or more are accepted"
        )
    return clip_sd * float(np.sqrt((1.0 + (clips_per_speaker - 1.0) * icc) / clips_per_speaker))
