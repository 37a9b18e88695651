"""How many speakers an audit needs, and what those of a manifest can show, from what single clips are like.

A score's variance is split into what lies between speakers and what lies between a speaker's own clips (`icc`, the
intraclass correlation), so that a plan can ask for another number of clips of each speaker than the pilot had. The
sizes are those of `monitoring.parity.planning`, which promises nothing that the audit's interval can't conclude.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from math import isnan, sqrt

import numpy as np
import pandas as pd

from monitoring.audit.figures import EVERYBODY, scores_of
from monitoring.audit.result import Metric
from monitoring.parity import (
    Aim,
    design_effects,
    detectable_gap,
    speaker_sd,
    speakers_for_equivalence,
    speakers_for_gap,
)
from recognizer.decision import UNKNOWN
from recognizer.groups import UNDECLARED
from recognizer.manifest import Manifest


class NoPilot(ValueError):
    """Outcomes that nothing can be planned from; the message says why."""


@dataclass(frozen=True)
class Pilot:
    """What single clips' scores are like."""

    clip_sd: float
    """Standard deviation of single clips' scores, over all speakers."""
    icc: float
    """Of a speaker's clips, in [0, 1]: 0 if a speaker says nothing of the next clip, 1 if everything."""
    clips_a_speaker: float
    """That are planned for, or that the pilot had."""

    @classmethod
    def of_share(cls, share: float, *, icc: float, clips_a_speaker: float) -> Pilot:
        """Of a share of clips, such as those that are rejected: sqrt(p (1 - p))."""
        return cls(sqrt(share * (1 - share)), icc, clips_a_speaker)

    def speaker_sd(self, clips_a_speaker: float | None = None) -> float:
        """Of speakers' mean scores; with other numbers of clips where one is given."""
        clips = self.clips_a_speaker if clips_a_speaker is None else clips_a_speaker
        return min(0.5, speaker_sd(clip_sd=self.clip_sd, icc=self.icc, clips_per_speaker=clips))


@dataclass(frozen=True)
class Needed:
    """Speakers of each group that one gap takes."""

    gap: float
    speakers: int | None
    """None where it would take more than `monitoring.parity.planning.MOST_SPEAKERS`."""


@dataclass(frozen=True)
class Shown:
    """What the speakers of one group of a manifest can show."""

    attribute: str
    group: str
    speakers: int
    clips: int
    detectable: float | None
    """The smallest gap that such an audit finds, if the other groups were like this one; None where it is not
    compared: too few speakers, undeclared, or no other group to compare with."""


def pilot_of(outcomes: pd.DataFrame, *, defense: str, metric: Metric, part: str | None = None) -> Pilot:
    """What an audit's clips of commands were like.

    Args:
        outcomes: as `evenvoice audit run` writes them.

    Raises:
        NoPilot: no such defense or figure in it, or only one speaker.
    """
    rows = outcomes[(outcomes["defense"] == defense) & (outcomes["command"] != UNKNOWN)]
    if rows.empty:
        there = ", ".join(sorted(set(outcomes["defense"])))
        raise NoPilot(f"the pilot has no outcome of {defense!r}; it has {there or 'none at all'}")
    found = {figure.metric: s for figure, s in scores_of(rows, rows["speaker"]).items() if figure.part == part}
    if metric not in found:
        raise NoPilot(f"the pilot has no {metric} of {defense!r}; it has {', '.join(sorted(found))}")
    scores = found[metric].score
    everybody = np.full(scores.size, EVERYBODY)
    (effect,) = design_effects(speaker=rows["speaker"].to_numpy(dtype=str), group=everybody, score=scores)
    if effect.speakers < 2:
        raise NoPilot("the pilot has one speaker; how far speakers differ takes two or more")
    # one clip a speaker can't tell the two apart, and that all lies between speakers is the careful answer
    icc = 1.0 if isnan(effect.icc) else min(1.0, max(0.0, effect.icc))
    return Pilot(float(scores.std(ddof=1)), icc, effect.clips / effect.speakers)


def speakers_needed(pilot: Pilot, gaps: Sequence[float], aim: Aim) -> Iterator[Needed]:
    """For each gap, the speakers of each group with which `aim.power` of audits find it."""
    for gap in gaps:
        try:
            yield Needed(gap, speakers_for_gap(gap, speaker_sd=pilot.speaker_sd(), aim=aim))
        except ValueError:
            yield Needed(gap, None)


def needed_for_equivalence(pilot: Pilot, aim: Aim) -> int | None:
    """The speakers of each group with which `aim.power` of audits of equal groups say `equivalent`."""
    try:
        return speakers_for_equivalence(speaker_sd=pilot.speaker_sd(), aim=aim)
    except ValueError:
        return None


def shown_by(manifest: Manifest, pilot: Pilot, aim: Aim) -> Iterator[Shown]:
    """What each group of a manifest can show, over its clips of commands.

    Args:
        aim: its `groups` is taken from the manifest, for each attribute.
    """
    commands = manifest.table[manifest.table["command"] != UNKNOWN]
    for attribute in manifest.attributes:
        of = commands.groupby(attribute)
        speakers = {str(group): int(count) for group, count in of["speaker"].nunique().items()}
        clips = {str(group): int(count) for group, count in of.size().items()}
        compared = [g for g, count in speakers.items() if g != UNDECLARED and count >= aim.min_speakers]
        for group, count in speakers.items():
            detectable = None
            if group in compared and len(compared) >= 2:
                sd = pilot.speaker_sd(clips[group] / count)
                detectable = detectable_gap(count, speaker_sd=sd, aim=replace(aim, groups=len(compared)))
            yield Shown(attribute, group, count, clips[group], detectable)
