"""Do two bundles differ? Two audits of the same clips, each figure of each group in one less that in the other."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from importlib.metadata import version
from typing import Literal, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from monitoring.audit import AuditReport, Metric
from monitoring.audit.figures import EVERYBODY, scores_of
from monitoring.comparison.paired import PairedMean, paired_mean, sign_flip_p
from monitoring.comparison.result import (
    Audited,
    Comparison,
    ComparisonSettings,
    Difference,
    GapDifference,
    GroupDifference,
)
from monitoring.measured import finite_or_none
from monitoring.parity import SpeakerTable, gap_change, holm
from recognizer.decision import UNKNOWN
from recognizer.groups import UNDECLARED

_BETTER_HIGHER = ("accuracy",)

Numbers = NDArray[np.float64]


class NotComparable(ValueError):
    """Two audits that say nothing of each other; the message says why."""


class AuditOutcomes(NamedTuple):
    """An audit's report and its outcomes, a row a clip and defense."""

    report: AuditReport
    outcomes: pd.DataFrame


class _Paired(NamedTuple):
    """One metric of one defense, clip by clip."""

    defense: str
    metric: Metric
    part: str | None
    """Of a combined defense, the part that AUC_FPR is of."""
    rows: pd.DataFrame
    """[clips], with `speaker` and the attributes."""
    a: Numbers
    """[clips], scores in [0, 1]."""
    b: Numbers


def compare_audits(
    a: AuditOutcomes, b: AuditOutcomes, *, settings: ComparisonSettings, defenses: Sequence[str] = ()
) -> Comparison:
    """Every figure of every group: the bundle B's less A's, over clips of commands that both heard.

    Args:
        defenses: names of those to compare; all that both audited by default.

    Raises:
        NotComparable: other manifests, no defense or no clip in common, or a defense that one of them lacks.
    """
    if a.report.fingerprint != b.report.fingerprint:
        raise NotComparable(
            f"the audits are of other manifests: {a.report.manifest} ({a.report.fingerprint[:19]}...) and "
            f"{b.report.manifest} ({b.report.fingerprint[:19]}...); audit both bundles on the same clips, with the "
            "same --split and --attributes"
        )
    names_a, names_b = ([r.defense for r in side.report.defenses] for side in (a, b))
    for name in defenses:
        if name not in names_a or name not in names_b:
            raise NotComparable(f"{name!r} is not in both audits; A has {', '.join(names_a)}, B {', '.join(names_b)}")
    chosen = list(defenses) or [name for name in names_a if name in names_b]
    if not chosen:
        raise NotComparable(f"no defense is in both audits; A has {', '.join(names_a)}, B has {', '.join(names_b)}")
    clips_a, clips_b = (set(side.outcomes["clip"]) for side in (a, b))
    if not clips_a & clips_b:
        raise NotComparable("no clip was heard in both audits")
    attributes = [r.attribute for r in a.report.defenses[0].attributes]
    figures = [f for name in chosen for f in _figures(name, _paired(a, b, name))]
    groups = [d for f in figures for d in _differences(f, attributes, settings)]
    gaps = [d for f in figures for attribute in attributes if (d := _gap_difference(f, attribute, settings))]
    return Comparison(
        evenvoice_version=version("evenvoice"),
        manifest=a.report.manifest,
        fingerprint=a.report.fingerprint,
        a=_audited(a, clips_a - clips_b),
        b=_audited(b, clips_b - clips_a),
        settings=settings,
        clips=len(clips_a & clips_b),
        defenses_alone=tuple(sorted(set(names_a) ^ set(names_b))),
        groups=tuple(groups),
        gaps=tuple(gaps),
        verdict=overall_verdict([*(d.verdict for d in groups), *(d.verdict for d in gaps)]),
    )


def overall_verdict(verdicts: Sequence[Difference]) -> Literal["no difference", "worse", "inconclusive"]:
    """The worst of all; what is insufficient says nothing, and where all is, the whole is inconclusive."""
    if Difference.WORSE in verdicts:
        return "worse"
    said = [verdict for verdict in verdicts if verdict is not Difference.INSUFFICIENT]
    return "inconclusive" if Difference.INCONCLUSIVE in said or not said else "no difference"


def _audited(side: AuditOutcomes, alone: set[str]) -> Audited:
    report = side.report
    return Audited(
        bundle_name=report.bundle_name,
        bundle_version=report.bundle_version,
        seed=report.settings.seed,
        clips_alone=tuple(sorted(alone)),
    )


def _paired(a: AuditOutcomes, b: AuditOutcomes, defense: str) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The rows of one defense, over clips of commands that both heard, in one order."""
    rows = [side.outcomes[(side.outcomes["defense"] == defense)].set_index("clip") for side in (a, b)]
    both = rows[0].index.intersection(rows[1].index).sort_values()
    both = both[(rows[0].loc[both, "command"] != UNKNOWN).to_numpy()]
    if both.empty:
        raise NotComparable(f"no clip of a command was heard in both audits by {defense!r}")
    return rows[0].loc[both], rows[1].loc[both]


def _figures(defense: str, rows: tuple[pd.DataFrame, pd.DataFrame]) -> Iterator[_Paired]:
    """Every figure that both bundles have on every clip."""
    scores_a, scores_b = (scores_of(side, side["speaker"]) for side in rows)
    for figure, a in scores_a.items():
        if (b := scores_b.get(figure)) is not None:
            yield _Paired(defense, figure.metric, figure.part, rows[0], a.score, b.score)


def _differences(figure: _Paired, attributes: Sequence[str], settings: ComparisonSettings) -> Iterator[GroupDifference]:
    yield from _by_group(figure, None, np.full(figure.a.size, EVERYBODY), settings)
    for attribute in attributes:
        yield from _by_group(figure, attribute, figure.rows[attribute].to_numpy(dtype=str), settings)


def _by_group(
    figure: _Paired, attribute: str | None, groups: NDArray[np.str_], settings: ComparisonSettings
) -> Iterator[GroupDifference]:
    """One figure of every group of an attribute, or of all speakers."""
    speaker, change = figure.rows["speaker"].to_numpy(dtype=str), figure.b - figure.a
    rows = {str(group): groups == group for group in np.unique(groups)}
    sums = {group: _speaker_sums(speaker[own], change[own]) for group, own in rows.items()}
    p = {g: sign_flip_p(D, permutations=settings.permutations, seed=settings.seed) for g, (_, D) in sums.items()}
    judged = [g for g, (n, _) in sums.items() if g != UNDECLARED and n.size >= settings.min_speakers]
    p |= zip(judged, holm([p[group] for group in judged]).tolist(), strict=True)
    for group, own in rows.items():
        mean = paired_mean(*sums[group], confidence=settings.confidence, intervals_claimed=max(1, len(judged)))
        lower, upper = _bounds(mean, is_better_higher=figure.metric in _BETTER_HIGHER)
        changed = int((change[own] != 0.0).sum())
        worse_by = (-upper, -lower) if figure.metric in _BETTER_HIGHER else (lower, upper)
        yield GroupDifference(
            defense=figure.defense,
            attribute=attribute,
            group=group,
            metric=figure.metric,
            part=figure.part,
            speakers=mean.speakers,
            clips=mean.clips,
            changed=changed,
            a=float(figure.a[own].mean()),
            b=float(figure.b[own].mean()),
            difference=mean.mean,
            lower=finite_or_none(lower),
            upper=finite_or_none(upper),
            p_value=p[group],
            verdict=verdict_of(*worse_by, settings.tolerance, changed=changed)
            if group in judged
            else Difference.INSUFFICIENT,
        )


def _gap_difference(figure: _Paired, attribute: str, settings: ComparisonSettings) -> GapDifference | None:
    """None where fewer than two groups have enough speakers."""
    speaker, groups = (figure.rows[column].to_numpy(dtype=str) for column in ("speaker", attribute))
    before, after = (SpeakerTable.from_clips(speaker=speaker, group=groups, score=s) for s in (figure.a, figure.b))
    found = gap_change(
        before,
        after,
        tolerance=settings.tolerance,
        min_speakers=settings.min_speakers,
        confidence=settings.confidence,
        replicates=settings.replicates,
        seed=settings.seed,
    )
    if len(found.compared) < 2:
        return None
    is_compared = np.isin(groups, found.compared)
    changed = int((figure.a != figure.b)[is_compared].sum())
    return GapDifference(
        defense=figure.defense,
        attribute=attribute,
        metric=figure.metric,
        part=figure.part,
        compared=found.compared,
        a=found.before,
        b=found.after,
        difference=found.difference,
        lower=found.lower,
        upper=found.upper,
        verdict=verdict_of(found.lower, found.upper, settings.tolerance, changed=changed),
    )


def _speaker_sums(speaker: NDArray[np.str_], difference: Numbers) -> tuple[NDArray[np.int64], Numbers]:
    """n_j and D_j."""
    _, row, clips = np.unique(speaker, return_inverse=True, return_counts=True)
    return clips.astype(np.int64), np.bincount(row, weights=difference).astype(np.float64)


def _bounds(mean: PairedMean, *, is_better_higher: bool) -> tuple[float, float]:
    """delta -+ h; towards the worse it reaches no less than the unseen share."""
    reach = float(np.maximum(mean.half, mean.unseen))  # NaN stays
    below, above = (reach, mean.half) if is_better_higher else (mean.half, reach)
    return float(np.clip(mean.mean - below, -1, 1)), float(np.clip(mean.mean + above, -1, 1))


def verdict_of(least: float, most: float, tolerance: float, *, changed: int) -> Difference:
    """What bounds say.

    Args:
        least, most: of how much worse B is.
        changed: clips that fare otherwise.
    """
    if not changed:
        return Difference.SAME
    if least > tolerance:
        return Difference.WORSE
    if most < -tolerance:
        return Difference.BETTER
    return Difference.NOT_WORSE if most <= tolerance else Difference.INCONCLUSIVE
