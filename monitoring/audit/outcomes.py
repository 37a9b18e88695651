"""What every defense makes of clean clips: one row a clip and defense."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import pandas as pd

from monitoring.measured import Unheard, hear
from monitoring.scores import part_scores, rejection_score
from recognizer.audio import AudioFormat, Clip, read_clip
from recognizer.decision import Decision, Outcome
from recognizer.manifest import SOUND, Manifest
from recognizer.progress import OnProgress, Stage, silent
from recognizer.recognizer import Recognizer

PART = "score_"
"""Of an outcomes' column: the score of the part that is named after it."""
MISSED = "missed"
"""The reason of a rejection by a front end that cut no utterance out of a recording."""
COLUMNS = (
    *("clip", "speaker", "command", SOUND, "defense", "outcome", "reason", "said", "correct"),
    *("score", "confidence", "p_value", "draws"),
)
"""Of outcomes, beside the attributes and the scores of parts."""
_BATCH = 64  # clips decoded and decided together


@dataclass(frozen=True)
class Listened:
    """What a front end heard in a recording: columns of the outcomes, where there is one."""

    seconds: float
    """Of the recording."""
    utterances: int
    utterance_start: float
    """Of the first one, seconds; NaN where it was missed, as is its end."""
    utterance_end: float
    is_cut: bool
    """Whether it went on for longer than an utterance may, and was cut off."""


@dataclass(frozen=True)
class Recording:
    """A file of the manifest, as the recogniser gets it."""

    clip: Clip | None
    """None where a front end heard no utterance."""
    listened: Listened | None = None
    """None where there is no front end."""


LISTENED = tuple(field.name for field in fields(Listened))
Cut = Callable[[Path, AudioFormat], Recording]
"""A front end: the utterance in a recording that counts; raises AudioError where it can't be heard."""


def whole(path: Path, audio: AudioFormat) -> Recording:
    """No front end: each file is one clip.

    Raises:
        AudioError: it can't be heard.
    """
    return Recording(read_clip(path, audio))


def decide_all(
    recognizer: Recognizer,
    manifest: Manifest,
    *,
    defenses: Sequence[str],
    seed: int,
    cut: Cut | None = None,
    on_progress: OnProgress = silent,
) -> tuple[pd.DataFrame, tuple[Unheard, ...]]:
    """Decide every clip with every defense.

    Args:
        cut: what plays recordings to the recogniser; by default `whole`.

    Returns:
        The outcomes, `COLUMNS` and attributes, and the clips that can't be heard, which have none.

        `correct` is an acceptance of the right command; `score` is the clip's part of AUC_FPR, NaN where there is none.
        Combined defenses have one in a column for each part instead, such as `score_smoothing`. `confidence`,
        `p_value` and `draws` are those of the evidence that settled the decision, NaN or 0 where it has none. With a
        front end there are the columns `LISTENED`, too, and missed utterances, whose scores are those of
        `missed_scored`, when all outcomes of an audit are there.

    Raises:
        NetworkError: the network gave NaN or infinity.
    """
    rows: list[dict[str, object]] = []
    unheard: list[Unheard] = []
    table = manifest.table.assign(clip=manifest.clip_ids)
    for start in range(0, len(table), _BATCH):
        rows_heard, recordings, not_heard = hear(table.iloc[start : start + _BATCH], recognizer.audio, cut or whole)
        unheard += not_heard
        heard = [{str(k): v for k, v in row.items()} for row in rows_heard.to_dict("records")]
        played = list(zip(heard, recordings, strict=True))
        cuts = [(str(row["clip"]), own.clip) for row, own in played if own.clip is not None]
        ids, found = [name for name, _ in cuts], [clip for _, clip in cuts]
        for defense in defenses:
            decisions = recognizer.decide(found, clip_ids=ids, seed=seed, defense=defense) if found else []
            by_clip = dict(zip(ids, decisions, strict=True))
            rows += [
                _outcome(row, by_clip.get(str(row["clip"])), defense, manifest.attributes)
                | ({} if own.listened is None else asdict(own.listened))
                for row, own in played
            ]
        on_progress(Stage("deciding on clips", min(start + _BATCH, len(table)), len(table)))
    outcomes = pd.DataFrame(rows, columns=None if rows else [*COLUMNS, *manifest.attributes])
    return outcomes, tuple(unheard)


def _outcome(
    row: dict[str, object], decision: Decision | None, defense: str, attributes: Sequence[str]
) -> dict[str, object]:
    base = {
        **{key: row[key] for key in ("clip", "speaker", "command", *attributes)},
        SOUND: row.get(SOUND, ""),
        "defense": str(defense),
    }
    if decision is None:
        said = {"outcome": str(Outcome.REJECTED), "reason": MISSED, "said": "", "correct": False}
        return {**base, **said, "score": math.nan, "confidence": math.nan, "p_value": math.nan, "draws": 0}
    score, certificate = rejection_score(decision), decision.certificate
    p_value = None if certificate is None else certificate.p_value
    return {
        **base,
        "outcome": str(decision.outcome),
        "reason": str(decision.reason),
        "said": decision.command or "",
        "correct": decision.command == row["command"],
        "score": math.nan if score is None else score,
        "confidence": math.nan if decision.confidence is None else decision.confidence,
        "p_value": math.nan if p_value is None else p_value,
        "draws": 0 if certificate is None or certificate.draws is None else certificate.draws,
        **{f"{PART}{part}": value for part, value in part_scores(decision).items()},
    }


def missed_scored(outcomes: pd.DataFrame) -> pd.DataFrame:
    """With a score of 1 for every missed utterance, rejected at any threshold, in the columns that its defense has
    scores in.

    Args:
        outcomes: all of an audit: which columns those are, a few clips that were all missed do not show.
    """
    is_missed = outcomes["reason"] == MISSED
    if not is_missed.any():
        return outcomes
    scores = ["score", *(c for c in map(str, outcomes.columns) if c.startswith(PART))]
    has = outcomes.groupby("defense")[scores].transform("count") > 0
    return outcomes.assign(**{c: outcomes[c].mask(is_missed & has[c], 1.0) for c in scores})
