"""Section 5.2 of a split, written, and what the paper leaves open: rejectors and purifiers under attack, and cost."""

from __future__ import annotations

from collections.abc import Iterator

import pandas as pd

from monitoring.parity import FEWEST_SPEAKERS
from training.study.report.analysis import Analysis, Rejection, UnderAttack
from training.study.report.attacked import EVERYONE
from training.study.report.correlations import DESCRIPTIVE, in_words
from training.study.report.exhibits import Picture, Section, Table
from training.study.report.false_rejections import SMOOTHING
from training.study.report.guessing import of_rejectors
from training.study.report.loudness import loudness_sections
from training.study.report.rejection_charts import (
    cost_chart,
    gaps_chart,
    group_outcomes_chart,
    outcomes_chart,
    purification_chart,
)
from training.study.report.training_sections import NO_GROUPS, SMALL_GROUPS

_FIGURE = {"closed": 6, "open": 7}
_COST = ["attribute", "defense", "draws", "seconds_per_clip", "gap", "gap_compared", "lower", "upper", "note"]
_FOUR = dict.fromkeys(("gap", "gap_compared", "lower", "upper", "mean", "gap_NR", "gap_RS"), 4)


def rejection_sections(analysis: Analysis) -> Iterator[Section]:
    """Everything about rejection and purification; where a part is missing, a section that says so."""
    split = analysis.evidence
    missing = f"of the {split.name} split has not been measured (yet)."
    absent = [
        words
        for words, table in (("neural rejection", split.neural_rejection), ("smoothing", split.smoothing))
        if table is None
    ]
    if analysis.rejection is None:
        yield Section("False rejections", (f"Rejection {missing}",))
    else:
        lacking = (f"{' and '.join(absent).capitalize()} {missing}",) if absent else ()
        yield from _false_rejections(analysis, analysis.rejection, lacking)
    if analysis.under_attack is None:
        yield Section("Rejectors under attack", (f"Rejection under attack {missing}",))
    else:
        yield _under_attack(analysis, analysis.under_attack)
    if analysis.purification is None:
        yield Section("Purification under attack", (f"Purification {missing}",))
    else:
        yield _purification(analysis, analysis.purification)
    yield from loudness_sections(split, analysis.loudness)


def _false_rejections(analysis: Analysis, rejection: Rejection, lacking: tuple[str, ...]) -> Iterator[Section]:
    name = analysis.evidence.name
    everyone = Table(
        f"{name}_auc_fpr",
        "AUC_FPR over everyone, with its interval over speakers; accuracy: how often the leading command is right, "
        "accepted or not.",
        rejection.overall,
        decimals={"accuracy": 4},
    )
    warnings = tuple(guess.words for guess in of_rejectors(analysis.guesses))
    fitted_on = analysis.evidence.fitted_on
    fitted = () if fitted_on is None else (f"NR's machine was fitted on {fitted_on}.",)
    if not analysis.evidence.attributes:
        yield Section("False rejections", (*lacking, NO_GROUPS), exhibits=(everyone,), warnings=warnings)
        return
    clips = int(rejection.overall["clips"].min())
    yield Section(
        f"False rejections (Figure {_FIGURE[name]})",
        (
            *lacking,
            "AUC_FPR is how often clean clips are rejected, over all thresholds; a gap is the largest minus the "
            "smallest among an attribute's declared groups. Neural rejection (NR) sits on the undefended network, "
            "randomized smoothing (RS) on one trained and selected under its noise; RS with fewer draws uses the first "
            "of the same stream. NR and RS are compared on the same clips. Read a gap beside the accuracy: who always "
            "says the same is equal to everybody.",
            *fitted,
        ),
        warnings=warnings,
        exhibits=(
            Picture(
                f"{name}_gaps",
                f"Figure {_FIGURE[name]}: the gap in AUC_FPR of RS over its draws, and of NR as dashed lines of the "
                f"same colours; right, AUC_FPR over everyone. n = {clips} clean test clips.",
                _gaps_in_words(rejection.gaps),
                gaps_chart(rejection.gaps, rejection.overall),
            ),
            everyone,
            Table(
                f"{name}_gaps",
                f"Gaps in AUC_FPR over all declared groups; the interval is for groups of {FEWEST_SPEAKERS} speakers "
                "or more, and is missing where there are not two of them.",
                rejection.gaps.drop(columns="seconds_per_clip"),
                decimals=_FOUR,
            ),
            Table(
                f"{name}_draws_for_parity",
                "The fewest draws at which RS's gap is no larger than NR's; a gap over all groups is ruled by the "
                "smallest of them.",
                rejection.draws_for_parity,
                decimals=_FOUR,
            ),
            Table(
                f"{name}_group_auc_fpr",
                f"AUC_FPR of every group, with its interval; {SMALL_GROUPS}.",
                rejection.groups,
                is_folded=True,
                decimals=_FOUR,
            ),
        ),
    )
    yield Section(
        "What a smaller gap costs",
        ("Seconds a clip are those of the machine and the load of the run: compare them within this table only.",),
        exhibits=(
            Picture(
                f"{name}_cost",
                f"The gap in AUC_FPR against seconds a clip; n = {clips} clean test clips. Bars are 95 % intervals "
                f"over speakers for groups of {FEWEST_SPEAKERS} or more; where there are none, too few speakers.",
                _cost_in_words(rejection.gaps),
                cost_chart(rejection.gaps),
            ),
            Table(
                f"{name}_cost",
                "Seconds a clip, and the gaps that they give.",
                rejection.gaps[_COST],
                is_folded=True,
                decimals=_FOUR,
            ),
        ),
    )
    yield Section(
        "Training clips of a group and its false rejections",
        (
            "Correlation of a declared group's training clips with its AUC_FPR (section 5.2.2); negative: groups that "
            f"were heard more are rejected less. With three groups or fewer it is {DESCRIPTIVE}, and there is no p. "
            "Nor is there for all attributes pooled: every speaker counts once in each.",
        ),
        exhibits=(
            Table(f"{name}_group_size", "NR, and RS as mean and standard deviation over N.", rejection.size_summary),
            Table(f"{name}_group_size_by_draws", "The same for every N.", in_words(rejection.sizes), is_folded=True),
        ),
    )


def _under_attack(analysis: Analysis, attacked: UnderAttack) -> Section:
    split = analysis.evidence
    n = int(attacked.shares["clips"].max())
    pictures = [
        Picture(
            f"{split.name}_under_attack_{attribute}",
            f"The same by {attribute}; dotted: fewer than {FEWEST_SPEAKERS} speakers.",
            f"Shares of the three outcomes over eps, a line a group of {attribute}.",
            group_outcomes_chart(attacked.shares, attribute),
        )
        for attribute in split.attributes
    ]
    return Section(
        "Rejectors under attack",
        (
            "An attacker who evades has won where a clip is wrong and accepted; one who causes rejection, where it is "
            "rejected: a denial of service. Both know the rejector; the verdict on smoothing is by draws that the "
            "attacker has not seen. The attacks are nested, whatever the preset: what is broken at an eps counts as "
            "broken at every larger one. This goes beyond the paper.",
        ),
        warnings=tuple(guess.words for guess in of_rejectors(analysis.guesses)),
        exhibits=(
            Picture(
                f"{split.name}_under_attack",
                f"What becomes of everyone's clips over the attack budget; n = {n} attacked clips.",
                _outcomes_in_words(attacked.shares),
                outcomes_chart(attacked.shares),
            ),
            *pictures,
            Table(f"{split.name}_under_attack", "Shares of the outcomes.", attacked.shares, is_folded=True),
            Table(
                f"{split.name}_under_attack_gaps",
                "Gaps between groups in how often the attacker succeeds.",
                attacked.gaps,
                is_folded=True,
                decimals=_FOUR,
            ),
        ),
    )


def _purification(analysis: Analysis, accuracy: pd.DataFrame) -> Section:
    name = analysis.evidence.name
    return Section(
        "Purification under attack",
        (
            "Only the adaptive attack, which climbs through the purifier, says anything of robustness. The oblivious "
            "one does not know that there is a purifier; its accuracy is shown so that nobody takes it for robustness.",
        ),
        warnings=tuple(g.words for g in analysis.guesses if g not in of_rejectors(analysis.guesses)),
        exhibits=(
            Picture(
                f"{name}_purification",
                f"Accuracy of the undefended network behind each purifier; n = {int(accuracy['clips'].max())} clips.",
                _purification_in_words(accuracy),
                purification_chart(accuracy),
            ),
            Table(f"{name}_purification", "Accuracy behind each purifier.", accuracy, is_folded=True),
        ),
    )


def _gaps_in_words(gaps: pd.DataFrame) -> str:
    said = (
        f"{r['defense']}{' N=' + str(r['draws']) if r['draws'] else ''} {r['attribute']} {r['gap']:.3f}"
        for r in gaps.dropna(subset="gap").to_dict("records")
    )
    return f"Gaps in AUC_FPR: {'; '.join(said)}."


def _cost_in_words(gaps: pd.DataFrame) -> str:
    smoothing = gaps[gaps["defense"] == SMOOTHING].dropna(subset="gap")
    said = (f"{r['attribute']} {r['gap']:.3f} in {r['seconds_per_clip']:.3g} s" for r in smoothing.to_dict("records"))
    return f"RS's gap and seconds a clip: {'; '.join(said)}." if len(smoothing) else "RS was not measured."


def _outcomes_in_words(shares: pd.DataFrame) -> str:
    everyone = shares[shares["attribute"] == EVERYONE]
    largest = everyone[everyone["eps"] == everyone["eps"].max()]
    said = (
        f"{r['defense']} under {r['attack']}: {r['right_accepted']:.2f} right and accepted, "
        f"{r['rejected']:.2f} rejected, {r['wrong_accepted']:.2f} wrong and accepted"
        for r in largest.to_dict("records")
    )
    return f"At eps {everyone['eps'].max():g}, {'; '.join(said)}."


def _purification_in_words(accuracy: pd.DataFrame) -> str:
    largest = accuracy[accuracy["eps"] == accuracy["eps"].max()]
    said = (f"{r['purifier']} {r['attack']} {r['accuracy']:.2f}" for r in largest.to_dict("records"))
    return f"Accuracy at eps {accuracy['eps'].max():g}: {'; '.join(said)}."
