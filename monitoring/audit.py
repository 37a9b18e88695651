"""An audit: every defense of a recogniser over a labelled manifest, and whom each of them turns away.

Clips of commands carry accuracy, rejection and AUC_FPR; clips of `unknown` (no command) carry false acceptance. Clips
that could not be heard are counted as bad input and say nothing of a defense. Of a combined defense AUC_FPR is each
part's own, of all clips: load the bundle in exact mode, which asks every part.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd
from pydantic import Field

from monitoring.measured import (
    AuditSettings,
    GapFigures,
    Measurement,
    Unheard,
    check_clips,
    finite_or_none,
    gap_figures,
    hear,
)
from monitoring.parity import SpeakerTable, group_means
from monitoring.scores import part_scores, rejection_score
from recognizer.decision import UNKNOWN, Decision, Outcome
from recognizer.manifest import SOUND, Manifest, ManifestError
from recognizer.progress import OnProgress, Stage, silent
from recognizer.recognizer import Recognizer

Metric = Literal["auc_fpr", "rejection", "accuracy"]
METRICS: tuple[Metric, ...] = ("auc_fpr", "rejection", "accuracy")
_BATCH = 64  # clips decoded and decided together
_PART = "score_"  # of an outcomes' column: the score of the part that is named after it


class Estimate(Measurement):
    """A mean over clips and its cluster-robust interval; the bounds are null where one speaker gives none."""

    mean: float
    lower: float | None
    upper: float | None


class FalseAcceptance(Measurement):
    """Clips of no command that were accepted as one."""

    clips: int = Field(ge=1)
    accepted: int


class PartScore(Measurement):
    """AUC_FPR of one part of a combined defense, by itself."""

    part: str
    auc_fpr: Estimate


class GroupResult(Measurement):
    """One group under one defense."""

    group: str
    speakers: int
    clips: int
    accuracy: Estimate
    """Accepted with the right command, of all clips."""
    rejection: Estimate
    """Abstained, of all clips: the false rejections."""
    auc_fpr: Estimate | None
    """Eq. 2; null for a defense that rejects nothing, and for a combined one."""
    parts: tuple[PartScore, ...] = ()
    """Eq. 2 of each part of a combined defense."""
    not_commands: FalseAcceptance | None
    """Over this group's clips of no command, which no other figure counts; null where it has none."""


class GapResult(GapFigures):
    """The gap of one metric over the groups of one attribute."""

    metric: Metric
    part: str | None = None
    """Of a combined defense, the part that AUC_FPR is of."""


class AttributeResult(Measurement):
    """One attribute under one defense."""

    attribute: str
    groups: tuple[GroupResult, ...]
    gaps: tuple[GapResult, ...]


class DefenseResult(Measurement):
    """One defense over the whole manifest."""

    defense: str
    """See `recognizer.steps`."""
    overall: GroupResult
    attributes: tuple[AttributeResult, ...]
    sounds: dict[str, FalseAcceptance] = Field(default={})
    """What a clip of no command is (a word, `babble`, ...) -> how many were accepted; where the manifest says it."""


class AuditReport(Measurement):
    """What `evenvoice audit run` writes."""

    schema_: Literal["evenvoice.audit/1"] = Field(default="evenvoice.audit/1", alias="schema")
    created_at: datetime
    evenvoice_version: str
    bundle_name: str
    bundle_version: str
    manifest: str
    fingerprint: str
    clips: int
    speakers: int
    settings: AuditSettings
    defenses: tuple[DefenseResult, ...]
    unheard: tuple[Unheard, ...]


class _Figure(NamedTuple):
    """A metric, and of a combined defense's AUC_FPR the part that it is of."""

    metric: Metric
    part: str | None = None


def decide_all(
    recognizer: Recognizer,
    manifest: Manifest,
    *,
    defenses: Sequence[str],
    seed: int,
    on_progress: OnProgress = silent,
) -> tuple[pd.DataFrame, tuple[Unheard, ...]]:
    """One row a clip and defense: `clip, speaker, command, sound, defense, outcome, reason, said, correct, score`,
    attributes.

    `correct` is an acceptance of the right command; `score` is the clip's part of AUC_FPR, NaN where there is none.
    Combined defenses have one in a column for each part instead, such as `score_smoothing`.
    """
    rows: list[dict[str, object]] = []
    unheard: list[Unheard] = []
    table = manifest.table.assign(clip=manifest.clip_ids)
    for start in range(0, len(table), _BATCH):
        rows_heard, clips, not_heard = hear(table.iloc[start : start + _BATCH], recognizer.audio)
        unheard += not_heard
        heard = [{str(k): v for k, v in row.items()} for row in rows_heard.to_dict("records")]
        ids = [str(row["clip"]) for row in heard]
        for defense in defenses:
            decisions = recognizer.decide(clips, clip_ids=ids, seed=seed, defense=defense) if clips else []
            rows += [_outcome(row, d, defense, manifest.attributes) for row, d in zip(heard, decisions, strict=True)]
        on_progress(Stage("deciding on clips", min(start + _BATCH, len(table)), len(table)))
    if not rows:
        raise ManifestError(f"none of the {len(table)} clips can be heard; the first: {unheard[0].why}")
    return pd.DataFrame(rows), tuple(unheard)


def run_audit(
    recognizer: Recognizer,
    manifest: Manifest,
    *,
    source: str,
    settings: AuditSettings | None = None,
    defenses: Sequence[str] | None = None,
    on_progress: OnProgress = silent,
) -> tuple[AuditReport, pd.DataFrame]:
    """Decide every clip with every defense, and compare the groups.

    Args:
        source: the manifest's name, for the report.
        defenses: names of those to audit; all that the recogniser has by default.

    Returns:
        The report, and the outcomes as `decide_all` gives them.

    Raises:
        ManifestError: a command that the recogniser does not know, a speaker in two groups of one attribute, no clip
            of a command, or none that can be heard.
        UnknownDefense: the recogniser has no such defense.
    """
    settings = settings or AuditSettings()
    check_clips(manifest, recognizer)
    chosen = tuple(dict.fromkeys(recognizer.defense(d).name for d in defenses or recognizer.defenses))
    outcomes, unheard = decide_all(recognizer, manifest, defenses=chosen, seed=settings.seed, on_progress=on_progress)
    if (outcomes["command"] == UNKNOWN).all():
        raise ManifestError("the manifest holds no clip of a command that can be heard; false rejections need some")
    report = AuditReport(
        created_at=datetime.now(UTC).replace(microsecond=0),
        evenvoice_version=version("evenvoice"),
        bundle_name=recognizer.name,
        bundle_version=recognizer.version,
        manifest=source,
        fingerprint=manifest.fingerprint(),
        clips=len(manifest.table),
        speakers=int(manifest.table["speaker"].nunique()),
        settings=settings,
        defenses=tuple(
            _defense_result(outcomes[outcomes["defense"] == d], d, manifest.attributes, settings) for d in chosen
        ),
        unheard=unheard,
    )
    return report, outcomes


def _outcome(row: dict[str, object], decision: Decision, defense: str, attributes: Sequence[str]) -> dict[str, object]:
    score = rejection_score(decision)
    return {
        **{key: row[key] for key in ("clip", "speaker", "command", *attributes)},
        SOUND: row.get(SOUND, ""),
        "defense": str(defense),
        "outcome": str(decision.outcome),
        "reason": str(decision.reason),
        "said": decision.command or "",
        "correct": decision.command == row["command"],
        "score": math.nan if score is None else score,
        **{f"{_PART}{part}": value for part, value in part_scores(decision).items()},
    }


def _defense_result(
    outcomes: pd.DataFrame, defense: str, attributes: Sequence[str], settings: AuditSettings
) -> DefenseResult:
    (overall,) = _group_results(outcomes, pd.Series("all", index=outcomes.index), settings)
    return DefenseResult(
        defense=defense,
        overall=overall,
        attributes=tuple(_attribute_result(outcomes, a, settings) for a in attributes),
        sounds=_false_acceptances(outcomes[outcomes["command"] == UNKNOWN]),
    )


def _false_acceptances(others: pd.DataFrame) -> dict[str, FalseAcceptance]:
    """By what the clips are, of those of which the manifest says it."""
    is_accepted = (others["outcome"] == Outcome.ACCEPTED).groupby(others[SOUND])
    return {
        str(sound): FalseAcceptance(clips=len(part), accepted=int(part.sum())) for sound, part in is_accepted if sound
    }


def _attribute_result(outcomes: pd.DataFrame, attribute: str, settings: AuditSettings) -> AttributeResult:
    groups = outcomes[attribute]
    return AttributeResult(
        attribute=attribute,
        groups=_group_results(outcomes, groups, settings),
        gaps=tuple(
            GapResult(metric=f.metric, part=f.part, **vars(gap_figures(t, settings)))
            for f, t in _tables(outcomes, groups).items()
        ),
    )


def _tables(outcomes: pd.DataFrame, groups: pd.Series[str]) -> dict[_Figure, SpeakerTable]:
    """The speaker table, over clips of commands, of each figure that this defense has."""
    is_command = outcomes["command"] != UNKNOWN
    commands, groups = outcomes[is_command], groups[is_command]
    scores: dict[_Figure, npt.NDArray[np.float64]] = {
        _Figure("auc_fpr"): np.asarray(commands["score"], dtype=np.float64),
        **{
            _Figure("auc_fpr", part): np.asarray(commands[f"{_PART}{part}"], dtype=np.float64)
            for part in (c.removeprefix(_PART) for c in map(str, commands.columns) if c.startswith(_PART))
        },
        _Figure("rejection"): np.asarray(commands["outcome"] == Outcome.REJECTED, dtype=np.float64),
        _Figure("accuracy"): np.asarray(commands["correct"], dtype=np.float64),
    }
    return {
        figure: SpeakerTable.from_clips(
            speaker=commands["speaker"].to_numpy(dtype=str), group=groups.to_numpy(dtype=str), score=score
        )
        for figure, score in scores.items()
        if not np.isnan(score).any()
    }


def _group_results(outcomes: pd.DataFrame, groups: pd.Series[str], settings: AuditSettings) -> tuple[GroupResult, ...]:
    """A result for every group that has clips of commands."""
    means = {
        figure: {m.group: m for m in group_means(table, confidence=settings.confidence)}
        for figure, table in _tables(outcomes, groups).items()
    }
    is_other = outcomes["command"] == UNKNOWN
    is_accepted = outcomes["outcome"] == Outcome.ACCEPTED

    def estimate(figure: _Figure, group: str) -> Estimate:
        mean = means[figure][group]
        return Estimate(mean=mean.mean, lower=finite_or_none(mean.lower), upper=finite_or_none(mean.upper))

    def false_acceptance(group: str) -> FalseAcceptance | None:
        others = is_accepted[is_other & (groups == group)]
        return FalseAcceptance(clips=len(others), accepted=int(others.sum())) if len(others) else None

    return tuple(
        GroupResult(
            group=group,
            speakers=mean.speakers,
            clips=mean.clips,
            accuracy=estimate(_Figure("accuracy"), group),
            rejection=estimate(_Figure("rejection"), group),
            auc_fpr=estimate(_Figure("auc_fpr"), group) if _Figure("auc_fpr") in means else None,
            parts=tuple(PartScore(part=f.part, auc_fpr=estimate(f, group)) for f in means if f.part is not None),
            not_commands=false_acceptance(group),
        )
        for group, mean in means[_Figure("accuracy")].items()
    )
