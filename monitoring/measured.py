"""What every measurement on a labelled manifest rests on: which clips it takes, which of them are heard, and a gap
between groups as a report shows it."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import pandas as pd
from pydantic import BaseModel, ConfigDict, Field

from monitoring.parity import SpeakerTable, Verdict, gap
from recognizer.audio import AudioError, AudioFormat
from recognizer.decision import UNKNOWN
from recognizer.manifest import Manifest, ManifestError
from recognizer.recognizer import Recognizer

H = TypeVar("H")

_SHOWN = 5  # speakers that an error names


class Measurement(BaseModel):
    """A part of a report."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class AuditSettings(Measurement):
    """How an audit measures."""

    seed: int = 0
    """Keys the smoothing noise and the bootstrap."""
    tolerance: float = Field(default=0.05, ge=0, le=1)
    """The gap that is still acceptable."""
    tolerances: dict[str, float] = {}
    """Metric -> its own tolerance."""
    min_speakers: int = Field(default=20, ge=10)
    """A group with fewer is shown and not compared."""
    confidence: float = Field(default=0.95, gt=0.5, lt=1)
    replicates: int = Field(default=2000, ge=100)


class Unheard(Measurement):
    """A clip that no decision could be made on."""

    clip: str
    why: str


class GapFigures(Measurement):
    """The gap of one figure over the groups of one attribute."""

    value: float | None
    """max - min over all declared groups ("parity" in the paper; low is good); null under two."""
    compared: tuple[str, ...]
    """The groups with enough speakers."""
    value_compared: float | None
    """max - min over those; null where they are fewer than two."""
    lower: float | None
    upper: float | None
    verdict: Verdict
    too_small: tuple[str, ...]
    highest: str | None
    lowest: str | None
    minimum_detectable_gap: float | None
    """The true gap between `highest` and `lowest` that a test of these two alone tells from 0 with 80 % power; a
    `disparity` takes a larger one."""


def check_clips(manifest: Manifest, recognizer: Recognizer) -> None:
    """Refuse what can't be measured, before anything is.

    Raises:
        ManifestError: a command that the recogniser does not know, or a speaker in two groups of one attribute.
    """
    strange = sorted(set(manifest.commands) - set(recognizer.labels))
    if strange:
        raise ManifestError(
            f"the recogniser does not know the commands {strange}; it knows {list(recognizer.commands)}. "
            f"Label words that are no command {UNKNOWN!r}"
        )
    for attribute in manifest.attributes:
        groups = manifest.table.groupby("speaker")[attribute].unique()
        torn = groups[groups.map(len) > 1]
        if len(torn):
            shown = "; ".join(f"{s!r}: {', '.join(sorted(g))}" for s, g in torn.head(_SHOWN).items())
            more = f" and {len(torn) - _SHOWN} more" if len(torn) > _SHOWN else ""
            raise ManifestError(
                f"{len(torn)} of {len(groups)} speakers stand in two groups of {attribute} or more ({shown}{more}); "
                "one group per speaker is accepted: settle it in the manifest"
            )


def hear(
    rows: pd.DataFrame, audio: AudioFormat, read: Callable[[Path, AudioFormat], H]
) -> tuple[pd.DataFrame, list[H], list[Unheard]]:
    """The rows whose clips can be heard, these clips, and why the others can't.

    Args:
        rows: with the columns `path` and `clip`, its name.
        read: `recognizer.audio.read_clip`, or what else raises AudioError where a clip can't be heard.
    """
    is_heard: list[bool] = []
    clips: list[H] = []
    unheard: list[Unheard] = []
    for path, name in zip(rows["path"], rows["clip"], strict=True):
        try:
            clips.append(read(Path(path), audio))
            is_heard.append(True)
        except AudioError as error:
            unheard.append(Unheard(clip=str(name), why=str(error)))
            is_heard.append(False)
    return rows[is_heard], clips, unheard


def gap_figures(table: SpeakerTable, settings: AuditSettings, *, tolerance: float | None = None) -> GapFigures:
    """See `monitoring.parity.gap`.

    Args:
        tolerance: by default the settings'.
    """
    found = gap(
        table,
        tolerance=settings.tolerance if tolerance is None else tolerance,
        min_speakers=settings.min_speakers,
        confidence=settings.confidence,
        replicates=settings.replicates,
        seed=settings.seed,
    )
    return GapFigures(
        value=finite_or_none(found.value),
        compared=found.compared,
        value_compared=finite_or_none(found.value_compared),
        lower=finite_or_none(found.lower),
        upper=finite_or_none(found.upper),
        verdict=found.verdict,
        too_small=found.too_small,
        highest=found.highest,
        lowest=found.lowest,
        minimum_detectable_gap=finite_or_none(found.minimum_detectable_gap),
    )


def finite_or_none(value: float) -> float | None:
    """JSON has no NaN."""
    return value if math.isfinite(value) else None
