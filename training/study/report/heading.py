"""A report's beginning: what was run, and what must not be read into it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd

from monitoring.parity import FEWEST_SPEAKERS
from recognizer.groups import UNDECLARED
from training.study.report.analysis import Analysis
from training.study.report.correlations import FEWEST_POINTS
from training.study.report.evidence import SplitEvidence, StudyEvidence
from training.study.report.exhibits import Section, Table
from training.study.report.tables import groups_untested, speakers_unheard
from training.study.settings import Versions

_PAPER_EPOCHS = 1000
_FEW = 12
"""Parts that a reader looks through at a glance."""
_LOUD = 0.1
"""eps from which perturbations are plainly heard."""
_ATTACKS = {
    "nested": "one nested run: what is broken at an eps counts as broken at every larger one, the rest starts warm",
    "paper": "independent runs at every eps, last iterate, no early stop",
}


def heading_sections(study: StudyEvidence, analyses: Sequence[Analysis]) -> Iterator[Section]:
    """What was run, and its limits."""
    yield Section(
        "What was run",
        ("Of fewer configurations than 40 the same share must beat chance, rounded up.",),
        exhibits=(
            Table("run", "Settings.", _settings(study)),
            Table("splits", "The splits, and whether their models are worth an analysis.", _splits(analyses)),
        ),
        level=2,
    )
    yield Section("Limits", points=tuple(_limits(study, analyses)), level=2)


def missing_section(split: SplitEvidence) -> Iterator[Section]:
    """What of a split is to come or failed; nothing where all is there."""
    if not split.missing:
        return
    rows = [{"part": missing.part, "state": missing.state, "reason": missing.reason} for missing in split.missing]
    failed = sum(missing.state == "failed" for missing in split.missing)
    yield Section(
        "What is missing",
        (f"{failed} parts failed, and are tried again by the next run; {len(rows) - failed} are to come.",),
        exhibits=(
            Table(
                f"{split.name}_missing",
                "Parts without a result; a number at the end is that of a lot of clips.",
                pd.DataFrame(rows).sort_values("state", kind="stable"),
                is_folded=len(rows) > _FEW,
            ),
        ),
    )


def _settings(study: StudyEvidence) -> pd.DataFrame:
    settings, record = study.record.settings, study.record
    facts = {
        "corpus": f"{record.source}, {record.manifest}",
        "labels": f"{len(record.labels)}: {', '.join(record.labels)}",
        "attributes": ", ".join(record.attributes) or "none",
        "architecture": settings.architecture,
        "recipe": f"{settings.recipe}, {settings.epochs} epochs",
        "configurations": str(len(settings.chosen)),
        "clips attacked and smoothed": f"at most {settings.clips} of each split's test clips",
        "training clips": "all" if settings.training_clips is None else f"at most {settings.training_clips}",
        "attack": f"{settings.attack}: PGD, L-infinity, {settings.steps} steps of eps / 5; {_ATTACKS[settings.attack]}",
        "eps, amplitude": _listed(settings.eps_grid),
        "smoothing": f"N = {', '.join(map(str, settings.draws))}; under attack N = {settings.verdict_draws}, "
        f"error_alpha {settings.error_alpha:g}, "
        f"nested attack, {settings.steps_on_smoothing} steps at each eps, {settings.eot_draws} noisy copies",
        "neural rejection under attack": f"confidence_threshold {settings.confidence_threshold:g}, nested attack, "
        f"{settings.steps} steps at each eps",
        "purification": f"{', '.join(settings.purifiers)}; eps {_listed(settings.purification_eps)}, "
        f"{settings.steps_on_purified} steps at each; oblivious attacks as in the preset `paper`, adaptive ones nested",
        "seed": str(settings.seed),
        "versions": "; gone on with ".join(_versions(each) for each in (record.versions, *record.gone_on_with)),
    }
    return pd.DataFrame({"setting": list(facts), "value": list(facts.values())})


def _versions(versions: Versions) -> str:
    return ", ".join(f"{name} {version}" for name, version in versions)


def _listed(numbers: Sequence[float]) -> str:
    return ", ".join(f"{number:g}" for number in numbers)


def _splits(analyses: Sequence[Analysis]) -> pd.DataFrame:
    rows = []
    for analysis in analyses:
        split = analysis.evidence
        row: dict[str, object] = {
            "split": split.name,
            "verdict": analysis.judgement.verdict,
        }
        row |= {
            "configurations": analysis.judgement.configurations,
            "beat_chance": analysis.judgement.recognisers,
            "needed": analysis.judgement.needed,
            "unfinished": analysis.judgement.unfinished,
            "other_parts_missing": analysis.judgement.parts_unfinished + analysis.judgement.parts_failed,
        }
        parts = {name: split.part(name) for name in ("train", "validation", "test")} | {"attacked": split.attacked}
        for name, part in parts.items():
            row |= {f"{name}_clips": len(part), f"{name}_speakers": part["speaker"].nunique()}
        unheard = len(speakers_unheard(split))
        rows.append(row | {"test_speakers_unheard": unheard, "largest_command_share": split.largest_command_share})
    return pd.DataFrame(rows)


def _limits(study: StudyEvidence, analyses: Sequence[Analysis]) -> Iterator[str]:
    settings = study.record.settings
    yield (
        "Every network was trained once: how much another seed would change is not known, and no difference between "
        "two models is more than an observation."
    )
    if settings.architecture != "m5":
        yield f"The network is {settings.architecture}, far smaller than the paper's M5, which may behave otherwise."
    if settings.epochs < _PAPER_EPOCHS:
        yield f"Trained for {settings.epochs} epochs; the paper's recipe has {_PAPER_EPOCHS}."
    if settings.training_clips is not None:
        yield f"Trained on at most {settings.training_clips} clips of the corpus."
    for analysis in analyses:
        attacked = analysis.evidence.attacked
        yield (
            f"{analysis.evidence.name.capitalize()} split: all numbers under attack and of smoothing come from "
            f"{len(attacked)} clips of {attacked['speaker'].nunique()} speakers. {_small_groups(analysis)}"
        )
        yield from _unmet(analysis.evidence)
    yield (
        f"Gaps over all declared groups, as in the paper, grow with the number of groups and with their smallness even "
        f"where nobody is treated differently. Intervals take only groups of {FEWEST_SPEAKERS} speakers or more, and "
        "each stands for itself: among many, some are wrong."
    )
    yield (
        "Models are no independent draws, so p-values and intervals of correlations are too sure; with fewer than "
        f"{FEWEST_POINTS} points there are none."
    )
    yield (
        "Accuracy under attack is an upper bound: a stronger attack may find more. Attacks add sound to the waveform "
        "itself; nothing was played over the air."
    )
    if max(settings.eps_grid) >= _LOUD:
        yield (
            f"{_loud_share(settings.eps_grid):.0%} of AUC_acc's weight lies at eps of {_LOUD:g} and above, where "
            "perturbations are plainly heard."
        )
    if study.record.gone_on_with:
        yield "Its parts were made under different versions of the program or its libraries, and may not be comparable."
    yield f"Speakers whose group is {UNDECLARED} are counted and shown, and are in no gap."
    yield from study.record.notes


def _unmet(split: SplitEvidence) -> Iterator[str]:
    """Who is in test and not in training, in the split where everybody is to be in both; and the reverse of groups."""
    unheard = speakers_unheard(split)
    if split.name == "closed" and unheard:
        tested = split.part("test")["speaker"].nunique()
        yield (
            f"Closed split: {len(unheard)} of the {tested} test speakers have no clip in training, for clips are "
            "rounded, or training clips limited."
        )
    for attribute, groups in groups_untested(split).items():
        yield f"{split.name.capitalize()} split: of {attribute}, {', '.join(groups)} is in training and not in test."


def _small_groups(analysis: Analysis) -> str:
    declared = analysis.sizes[analysis.sizes["group"] != UNDECLARED]
    tested = declared[declared["attacked_clips"] > 0]
    small = int((tested["attacked_speakers"] < FEWEST_SPEAKERS).sum())
    return f"{small} of its {len(tested)} declared groups have fewer than {FEWEST_SPEAKERS} speakers there."


def _loud_share(eps_grid: Sequence[float]) -> float:
    """The share of the trapezoid rule's weights, over 0 and the grid, at eps >= `_LOUD`."""
    levels = np.array([0.0, *eps_grid])
    steps = np.diff(levels)
    weights = (np.append(steps, 0.0) + np.insert(steps, 0, 0.0)) / 2
    return float(weights[levels >= _LOUD].sum() / weights.sum())
