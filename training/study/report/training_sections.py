"""Section 5.1 of a split, written: its models, defense parity and what goes with it, and Tricks."""

from __future__ import annotations

from collections.abc import Iterator

import pandas as pd

from monitoring.parity import FEWEST_SPEAKERS
from training.study.report.analysis import Analysis, Hardening
from training.study.report.correlations import DESCRIPTIVE, FEWEST_POINTS, in_words
from training.study.report.exhibits import Picture, Section, Table
from training.study.report.judgement import GUESSING
from training.study.report.training_charts import correlation_chart, curves_chart, histogram_chart

_NUMBERS = {"closed": {"table": 1, "presence": 2, "levels": 3, "histogram": 8}}
_NUMBERS["open"] = {"table": 2, "presence": 4, "levels": 5, "histogram": 9}
NO_GROUPS = "The corpus names no attribute of its speakers, so there are no groups to compare."
SMALL_GROUPS = f"groups under {FEWEST_SPEAKERS} speakers are shown, marked, and not part of an interval"


def training_sections(analysis: Analysis) -> Iterator[Section]:
    """Everything about hardening; one section that says so where no model is finished."""
    name = analysis.evidence.name
    yield Section(
        "Who is in it",
        exhibits=(Table(f"{name}_groups", f"Speakers and clips of every group; {SMALL_GROUPS}.", analysis.sizes),),
    )
    if analysis.hardening is None:
        yield Section("Models", (f"No configuration of the {name} split is finished: there is nothing to report yet.",))
        return
    yield _models(analysis, analysis.hardening)
    if analysis.hardening.recognisers.empty:
        yield Section("Defense parity", ("Every model guesses, so nothing can be said of how defenses share out.",))
        return
    if analysis.evidence.attributes:
        yield _parity(analysis, analysis.hardening)
        yield _correlations(analysis, analysis.hardening)
    else:
        yield Section("Defense Parity", (NO_GROUPS,))
    yield _tricks(analysis, analysis.hardening)


def _models(analysis: Analysis, hardening: Hardening) -> Section:
    split, numbers = analysis.evidence, _NUMBERS[analysis.evidence.name]
    guessers = list(hardening.models.loc[hardening.models["is_guesser"], "key"])
    findings = pd.DataFrame(
        [{"key": m.key, "pitfall": f.pitfall, "detail": f.detail} for m in split.models for f in m.findings],
        columns=["key", "pitfall", "detail"],
    )
    largest = split.largest_command_share
    attacked, tested = len(split.attacked), len(split.part("test"))
    paragraphs = [
        f"A model guesses, and is left out of everything below this section, if its accuracy on clean clips is at "
        f"most {GUESSING} x chance = {GUESSING} / {split.labels} = {GUESSING * split.chance:.4f}: such a model "
        f"withstands any attack. {_listed('They are', guessers, 'No model guesses.')} Where commands are unequally "
        f"frequent, always giving the most frequent one may beat that (here it is right on {largest:.1%} of the test "
        "clips): then the attack's health says so.",
        f"AUC_acc is the area under accuracy over eps, not divided by its range: a model that always gives the same "
        f"answer gets {split.chance * split.models[0].eps[-1]:.4f}, and most of the area lies at the largest budgets. "
        "So read it beside the curves, and beside the attack's health: where a pitfall stands, the attack may have "
        "been too weak, and the number too high.",
    ]
    if split.failed:
        reasons = [f"{key} ({why})" for key, why in split.failed.items()]
        paragraphs.append(_listed("Configurations that failed, and count as guessing:", reasons, ""))
    if split.unfinished:
        paragraphs.append(_listed("Configurations that are not finished:", list(split.unfinished), ""))
    return Section(
        f"Models (Table {numbers['table']})",
        tuple(paragraphs),
        exhibits=(
            Table(
                f"{split.name}_models",
                f"All models by clean accuracy, n = {tested} test clips; AUC_acc, n = {attacked} attacked clips.",
                hardening.models[["model", *(c for c in hardening.models.columns if c not in ("model", "key")), "key"]],
            ),
            Picture(
                f"{split.name}_curves",
                f"Accuracy over the attack budget; n = {len(hardening.models)} models on {attacked} attacked clips.",
                _curves_in_words(hardening),
                curves_chart(hardening.curves, hardening.models, chance=split.chance),
            ),
            Picture(
                f"{split.name}_histograms",
                f"Figure {numbers['histogram']}: how many of {len(hardening.models)} models reach which accuracy, "
                f"at every attack budget; n = {attacked} attacked clips.",
                "Histograms of the models' accuracy, a panel an attack budget.",
                histogram_chart(hardening.histogram, chance=split.chance),
            ),
            Table(f"{split.name}_curves", "Accuracy of every model at every budget.", hardening.curves, is_folded=True),
            Table(f"{split.name}_histograms", "Models by accuracy.", hardening.histogram, is_folded=True),
            Table(f"{split.name}_findings", "What made an attack doubtful.", findings, is_folded=True),
        ),
    )


def _parity(analysis: Analysis, hardening: Hardening) -> Section:
    name, parity = analysis.evidence.name, hardening.parity
    wide = parity.pivot(index="key", columns="attribute", values="gap")[list(analysis.evidence.attributes)]
    return Section(
        "Defense Parity",
        (
            "Defense Parity is a gap: the largest minus the smallest AUC_acc among an attribute's declared groups, for "
            "each model; low is equal. It grows with the number of groups and with how small they are, even where "
            f"there is no difference. Intervals are over speakers, for groups of at least {FEWEST_SPEAKERS}.",
        ),
        exhibits=(
            Table(
                f"{name}_defense_parity",
                f"Defense Parity over all declared groups of the models that do not guess, n = {len(wide)}; "
                f"n = {len(analysis.evidence.attacked)} attacked clips.",
                wide.loc[hardening.recognisers["key"]].reset_index(),
                decimals=dict.fromkeys(wide.columns, 4),
            ),
            Table(
                f"{name}_defense_parity_intervals",
                "The same with the gap among the groups that can be compared, and its 95 % interval.",
                parity,
                is_folded=True,
                decimals=dict.fromkeys(("gap", "gap_compared", "lower", "upper"), 4),
            ),
            Table(
                f"{name}_group_auc",
                f"AUC_acc of every group under every model, guessers included, with its interval; {SMALL_GROUPS}.",
                hardening.groups,
                is_folded=True,
                decimals=dict.fromkeys(("mean", "lower", "upper"), 4),
            ),
        ),
    )


def _correlations(analysis: Analysis, hardening: Hardening) -> Section:
    name, numbers, n = analysis.evidence.name, _NUMBERS[analysis.evidence.name], len(hardening.recognisers)
    return Section(
        "What goes with Defense Parity",
        (
            "A negative correlation: models with the defense, or with more of it, protect groups more equally. A "
            "positive one: less equally. The p-values and intervals take models for independent draws; these share "
            "clips, speakers and a design, and many correlations are looked at, so some are small by chance. With "
            f"fewer than {FEWEST_POINTS} models it says {DESCRIPTIVE!r} in place of p.",
        ),
        exhibits=(
            Picture(
                f"{name}_presence",
                f"Figure {numbers['presence']}: presence of adversarial training (AT), Tricks and noise against "
                f"Defense Parity; n = {n} models.",
                _correlations_in_words(hardening.presence),
                correlation_chart(hardening.presence),
            ),
            Table(f"{name}_presence", f"Presence; n = {n} models.", in_words(hardening.presence)),
            Picture(
                f"{name}_levels",
                f"Figure {numbers['levels']}: levels of adversarial training and of noise, 0 included, against Defense "
                f"Parity; n = {n} models.",
                _correlations_in_words(hardening.levels),
                correlation_chart(hardening.levels),
            ),
            Table(f"{name}_levels", f"Levels; n = {n} models.", in_words(hardening.levels)),
            Table(
                f"{name}_correlations_compared",
                f"Both again, with Defense Parity among groups of at least {FEWEST_SPEAKERS} speakers only.",
                in_words(hardening.among_compared),
                is_folded=True,
            ),
        ),
    )


def _tricks(analysis: Analysis, hardening: Hardening) -> Section:
    caption = f"Mean and standard deviation over models that do not guess, n = {len(hardening.recognisers)}."
    table = Table(f"{analysis.evidence.name}_tricks", caption, hardening.tricks)
    return Section("Tricks: no batch normalisation, SiLU", exhibits=(table,))


def _listed(lead: str, names: list[str], none: str) -> str:
    return f"{lead} {', '.join(names)}." if names else none


def _curves_in_words(hardening: Hardening) -> str:
    largest = hardening.curves["eps"].max()
    end = hardening.curves[hardening.curves["eps"] == largest]["accuracy"]
    return (
        f"One line a model: clean accuracy from {hardening.models['clean_accuracy'].min():.2f} to "
        f"{hardening.models['clean_accuracy'].max():.2f}, at eps {largest:g} from {end.min():.2f} to {end.max():.2f}."
    )


def _correlations_in_words(correlations: pd.DataFrame) -> str:
    known = correlations.dropna(subset="pearson")
    said = (f"{r['attribute']} and {r['factor']} {r['pearson']:.2f}" for r in known.to_dict("records"))
    return f"Pearson correlations: {'; '.join(said)}." if len(known) else "No correlation could be computed."
