"""Rejection, purification and loudness against literal slow loops over the study's raw files."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from recognizer.attacks import EPS_GRID
from training.study.folder import StudyError
from training.study.report.attacked import (
    EVERYONE,
    OUTCOMES,
    outcome_shares,
    purified_accuracy,
    success_gaps,
)
from training.study.report.correlations import DESCRIPTIVE
from training.study.report.evidence import Model, SplitEvidence, read_study
from training.study.report.false_rejections import (
    auc_fpr_gaps,
    auc_fpr_groups,
    draws_for_parity,
    overall_auc_fpr,
    size_correlations,
    size_summary,
)
from training.study.report.guessing import guesses
from training.study.report.loudness import group_loudness

from .written_study import DRAWS, PURIFICATION_EPS, write_study


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_study(
        tmp_path_factory.mktemp("study"), splits=("closed",), configurations=("m5-small_at0_noise0",), guessers=0
    )


@pytest.fixture(scope="module")
def split(folder: Path) -> SplitEvidence:
    return read_study(folder).splits[0]


def raw(folder: Path, name: str) -> pd.DataFrame:
    """One of the tables in `rejection/` with every clip's speaker and groups."""
    clips = pd.read_parquet(folder / "closed" / "clips.parquet")
    return pd.read_parquet(folder / "closed" / "rejection" / f"{name}.parquet").merge(clips, on="clip")


def slow_means(table: pd.DataFrame, attribute: str, column: str) -> dict[str, float]:
    values: dict[str, list[float]] = defaultdict(list)
    for _, line in table.iterrows():
        values[line[attribute]].append(float(line[column]))
    return {group: sum(own) / len(own) for group, own in values.items()}


def slow_gap(table: pd.DataFrame, attribute: str, column: str) -> float:
    declared = [mean for group, mean in slow_means(table, attribute, column).items() if group != "undeclared"]
    return max(declared) - min(declared)


def replaced(split: SplitEvidence, **changes: object) -> SplitEvidence:
    return SplitEvidence(**{name: getattr(split, name) for name in SplitEvidence.__dataclass_fields__} | changes)


# AUC_FPR


def test_auc_fpr_of_everyone_is_the_mean_over_clips(folder: Path, split: SplitEvidence) -> None:
    table = overall_auc_fpr(split).set_index(["defense", "draws"])
    rejection, smoothing = raw(folder, "neural_rejection"), raw(folder, "smoothing")
    on_same = rejection[rejection["clip"].isin(smoothing["clip"])]
    assert table.loc[("NR, all clips", 0), "auc_fpr"] == pytest.approx(np.mean(1 - rejection["confidence"]))
    assert table.loc[("NR", 0), "auc_fpr"] == pytest.approx(np.mean(1 - on_same["confidence"]))
    for draws in DRAWS:
        p = smoothing.loc[smoothing["draws"] == draws, "p_value"]
        assert table.loc[("RS", draws), "auc_fpr"] == pytest.approx(np.mean(np.maximum(p - 0.001, 0)))
        assert table.loc[("RS", draws), "clips"] == table.loc[("NR", 0), "clips"] == len(p)
    assert table.loc[("RS", 1000), "seconds_per_clip"] == pytest.approx(0.4)


@pytest.mark.parametrize("attribute", ["gender", "age", "accent", "native"])
def test_gaps_of_smoothing_are_those_of_a_slow_loop(folder: Path, split: SplitEvidence, attribute: str) -> None:
    gaps = auc_fpr_gaps(split, seed=0).set_index(["defense", "draws", "attribute"])
    smoothing = raw(folder, "smoothing")
    for draws in DRAWS:
        part = smoothing[smoothing["draws"] == draws]
        assert gaps.loc[("RS", draws, attribute), "gap"] == pytest.approx(slow_gap(part, attribute, "score"))


def test_gaps_without_two_groups_of_ten_speakers_say_so(split: SplitEvidence) -> None:
    gaps = auc_fpr_gaps(split, seed=0).set_index(["defense", "draws", "attribute"])
    assert gaps.loc[("RS", 100, "accent"), "note"] == "too few speakers"
    assert gaps.loc[("RS", 100, "accent"), ["lower", "upper"]].isna().all()
    gender = gaps.loc[("RS", 100, "gender")]
    assert gender["lower"] <= gender["gap_compared"] <= gender["upper"]


def test_without_smoothing_neural_rejection_is_measured_on_all_clips(split: SplitEvidence) -> None:
    table = overall_auc_fpr(replaced(split, smoothing=None))
    assert table["defense"].tolist() == ["NR"]
    assert table["clips"].tolist() == [len(split.part("test"))]


def test_the_fewest_draws_that_are_as_equal_as_neural_rejection() -> None:
    rows = [("NR", 0, 0.10, 0.05), ("RS", 10, 0.30, 0.20), ("RS", 100, 0.10, 0.06), ("RS", 1000, 0.01, 0.05)]
    gaps = pd.DataFrame(rows, columns=["defense", "draws", "gap", "gap_compared"])
    gaps = gaps.assign(attribute="age", seconds_per_clip=0.5, note="groups under 10 speakers: 3")
    never = gaps.assign(attribute="accent", gap=gaps["gap"].where(gaps["defense"] == "NR", 0.5), gap_compared=np.nan)
    table = draws_for_parity(pd.concat([gaps, never])).set_index(["attribute", "among"])
    assert table.loc[("age", "all groups"), ["gap_NR", "draws", "gap_RS"]].tolist() == [0.10, 100, 0.10]
    assert table.loc[("age", "10+ speakers"), ["gap_NR", "draws", "gap_RS"]].tolist() == [0.05, 1000, 0.05]
    assert table.loc["accent", ["draws", "gap_RS"]].isna().all(axis=None)
    assert set(table["note"]) == {"groups under 10 speakers: 3"}


# A network that guesses


@pytest.mark.parametrize(("right", "marked"), [(6, True), (7, False)])  # of 56 clips; 1.1 x chance is 6.16
def test_a_rejector_that_guesses_is_marked_however_small_its_gaps(
    split: SplitEvidence, right: int, marked: bool
) -> None:
    assert split.smoothing is not None
    few = split.smoothing.groupby("draws").cumcount() < right
    constant = replaced(split, smoothing=split.smoothing.assign(score=0.0, is_right=few))
    table = overall_auc_fpr(constant)
    smoothing = table[table["defense"] == "RS"]
    assert smoothing["accuracy"].tolist() == pytest.approx([right / 56] * 4)
    assert set(smoothing["is_guesser"]) == {marked}
    assert not table.loc[table["defense"] == "NR", "is_guesser"].any()
    assert (auc_fpr_gaps(constant, seed=0).query("defense == 'RS'")["gap"] == 0).all()
    assert [guess.defense for guess in guesses(constant)] == (["RS"] if marked else [])


@pytest.mark.parametrize(
    ("network", "defenses"), [("undefended", ["NR", "purification"]), ("smoothing_network", ["RS"])]
)
def test_what_sits_on_a_network_that_guesses_guesses(split: SplitEvidence, network: str, defenses: list[str]) -> None:
    model = getattr(split, network)
    fields = {name: getattr(model, name) for name in Model.__dataclass_fields__}
    outcomes = model.outcomes.assign(is_correct=False)
    torn = replaced(split, **{network: Model(**{**fields, "outcomes": outcomes})})
    found = list(guesses(torn))
    assert [guess.defense for guess in found] == defenses
    assert all(guess.words.startswith(f"GUESSING: {guess.defense}: its network {model.key}") for guess in found)
    table = overall_auc_fpr(torn)
    is_on = table["defense"].str.startswith(defenses[0])
    assert table.loc[is_on, "is_guesser"].all()
    assert not table.loc[~is_on, "is_guesser"].any()


def test_a_purifier_that_leaves_nothing_to_hear_is_named(split: SplitEvidence) -> None:
    assert split.purification is not None
    deaf = split.purification.assign(
        is_correct=split.purification["is_correct"] & (split.purification["purifier"] != "codec")
    )
    assert [guess.defense for guess in guesses(replaced(split, purification=deaf))] == ["purification by codec"]


# Section 5.2.2


def test_training_clips_of_groups_against_their_auc_fpr(folder: Path, split: SplitEvidence) -> None:
    sizes = size_correlations(split, auc_fpr_groups(split)).set_index(["defense", "draws", "attribute"])
    clips = pd.read_parquet(folder / "closed" / "clips.parquet")
    train = clips[clips["split"] == "train"]
    smoothing = raw(folder, "smoothing")
    points: list[tuple[float, float]] = []
    for attribute in ("gender", "age", "accent", "native"):
        means = slow_means(smoothing[smoothing["draws"] == 100], attribute, "score")
        own = [(float((train[attribute] == g).sum()), m) for g, m in sorted(means.items()) if g != "undeclared"]
        points += own
        if attribute == "accent":
            found = sizes.loc[("RS", 100, "accent")]
            assert (found["n"], found["note"]) == (5, "")
            assert found["pearson"] == pytest.approx(stats.pearsonr(*zip(*own, strict=True)).statistic)
    overall = sizes.loc[("RS", 100, "overall")]
    assert overall["n"] == len(points) == 13
    assert overall["pearson"] == pytest.approx(stats.pearsonr(*zip(*points, strict=True)).statistic)
    assert overall[["lower", "upper", "pearson_p", "spearman_p"]].isna().all()
    assert overall["note"] == "attributes pooled"


def test_a_group_that_nobody_in_training_is_of_counts_as_zero_clips(split: SplitEvidence) -> None:
    groups = auc_fpr_groups(split)
    unheard = split.clips.assign(
        accent=split.clips["accent"].mask((split.clips["split"] == "train") & (split.clips["accent"] == "german"), "us")
    )
    found = size_correlations(replaced(split, clips=unheard), groups).set_index(["defense", "draws", "attribute"])
    assert found.loc[("NR", 0, "accent"), "n"] == 5


def test_three_genders_are_descriptive_and_smoothing_is_a_mean_over_draws(split: SplitEvidence) -> None:
    sizes = size_correlations(split, auc_fpr_groups(split))
    summary = size_summary(sizes).set_index(["defense", "attribute"])
    assert (summary.loc[("NR", "gender"), "groups"], summary.loc[("NR", "gender"), "note"]) == (3, DESCRIPTIVE)
    assert summary.loc[("NR", "gender"), "pearson_p"] == DESCRIPTIVE
    by_draws = sizes[(sizes["defense"] == "RS") & (sizes["attribute"] == "accent")]["pearson"].tolist()
    row = summary.loc[("RS", "accent")]
    assert row["pearson"] == pytest.approx(sum(by_draws) / 4)
    assert row["pearson_sd"] == pytest.approx(float(np.std(by_draws, ddof=1)))
    assert pd.isna(row["pearson_p"])
    assert summary.loc[("RS", "gender"), "note"] == f"{DESCRIPTIVE}, mean over 4 values of N"
    assert summary.loc[("NR", "overall"), "note"] == "attributes pooled"
    nr = sizes[(sizes["defense"] == "NR") & (sizes["attribute"] == "accent")].iloc[0]
    assert summary.loc[("NR", "accent"), "pearson_p"] == nr["pearson_p"]


# Under attack


def test_shares_of_outcomes_are_counted_over_everyone_and_groups(folder: Path, split: SplitEvidence) -> None:
    assert split.under_attack is not None
    shares = outcome_shares(split, split.under_attack)
    assert shares[list(OUTCOMES)].sum(axis=1).to_numpy() == pytest.approx(1.0)
    keyed = shares.set_index(["defense", "attack", "eps", "attribute", "group"])
    table = raw(folder, "under_attack")
    here = table[(table["defense"] == "smoothing") & (table["attack"] == "evade") & (table["eps"] == 0.1)]
    women = [line["outcome"] for _, line in here.iterrows() if line["gender"] == "female"]
    found = keyed.loc[("smoothing", "evade", 0.1, "gender", "female")]
    assert found["wrong_accepted"] == women.count("wrong_accepted") / len(women)
    assert (found["clips"], found["note"]) == (len(women), "")
    everyone = keyed.loc[("smoothing", "evade", 0.1, EVERYONE, EVERYONE)]
    assert everyone["rejected"] == here["outcome"].tolist().count("rejected") / len(here)
    assert keyed.loc[("smoothing", "evade", 0.1, "gender", "undeclared"), "note"] == "in no gap"


@pytest.mark.parametrize(("attack", "success"), [("evade", "wrong_accepted"), ("cause_rejection", "rejected")])
def test_gaps_are_in_what_each_attacker_is_after(folder: Path, split: SplitEvidence, attack: str, success: str) -> None:
    assert split.under_attack is not None
    part = split.under_attack[(split.under_attack["attack"] == attack) & (split.under_attack["eps"] == 0.01)]
    gaps = success_gaps(split, part, seed=0).set_index(["defense", "attack", "eps", "attribute"])
    table = raw(folder, "under_attack").assign(won=lambda rows: rows["outcome"] == success)
    own = table[(table["attack"] == attack) & (table["eps"] == 0.01) & (table["defense"] == "neural_rejection")]
    assert gaps.loc[("neural_rejection", attack, 0.01, "age"), "gap"] == pytest.approx(slow_gap(own, "age", "won"))


def test_an_unknown_outcome_is_a_clear_error(split: SplitEvidence) -> None:
    assert split.under_attack is not None
    with pytest.raises(StudyError, match=r"'accepted'.*right_accepted"):
        outcome_shares(split, split.under_attack.assign(outcome="accepted"))


def test_no_purifier_is_shown_on_the_same_clips_and_budgets(folder: Path, split: SplitEvidence) -> None:
    assert split.purification is not None
    accuracy = purified_accuracy(split.purification, split.undefended).set_index(["purifier", "attack", "eps"])
    table = raw(folder, "purification")
    own = table[(table["purifier"] == "codec") & (table["attack"] == "adaptive") & (table["eps"] == 0.001)]
    assert accuracy.loc[("codec", "adaptive", 0.001), "accuracy"] == pytest.approx(sum(own["is_correct"]) / len(own))
    none = accuracy.loc["none"]
    assert set(none["clips"]) == {len(own)}
    assert none.index.get_level_values("eps").tolist() == [0, *PURIFICATION_EPS]
    assert "none" not in purified_accuracy(split.purification, None)["purifier"].tolist()


@pytest.mark.parametrize(("group", "amplitude"), [("male", 0.1), ("female", 0.05)])
def test_loudness_is_that_of_the_whole_budget_over_audible_clips(
    split: SplitEvidence, group: str, amplitude: float
) -> None:
    assert split.loudness is not None
    table = group_loudness(split, split.loudness, EPS_GRID).set_index(["attribute", "group", "eps"])
    silent = str(split.loudness["clip"].iloc[0])
    clips = {clip for clip, row in split.attacked.iterrows() if row["gender"] == group} - {silent}
    for eps in EPS_GRID:
        row = table.loc[("gender", group, eps)]
        assert row["clips"] == len(clips)
        assert row["snr_db"] == pytest.approx(20 * np.log10(amplitude / eps), abs=1e-4)
    assert (
        sum(table.loc[("gender", g, 0.01), "clips"] for g in set(split.attacked["gender"])) == len(split.attacked) - 1
    )
