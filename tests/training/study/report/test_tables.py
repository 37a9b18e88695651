"""A split's tables against literal slow loops over the study's raw files, and against the paper's printed means."""

from __future__ import annotations

from collections import defaultdict
from itertools import pairwise
from pathlib import Path

import pandas as pd
import pytest

from training.study.folder import StudyError
from training.study.report.evidence import Model, SplitEvidence, read_study
from training.study.report.judgement import Judgement, is_guesser, judge
from training.study.report.missing import MissingPart
from training.study.report.tables import (
    accuracy_histogram,
    accuracy_over_eps,
    clip_auc,
    defense_parity,
    group_auc,
    group_sizes,
    groups_untested,
    models_table,
    speakers_unheard,
    tricks_accuracy,
)

from .written_study import ATTRIBUTES, GUESSERS, write_study

PAPER_TABLE_1 = [  # Tricks, clean accuracy of the models above 1.1 x 0.1 with Tricks (Richards et al. 2023, Table 1)
    *(0.875833, 0.880667, 0.916667, 0.936167, 0.969167, 0.9715, 0.973833, 0.975667),
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_study(tmp_path_factory.mktemp("study"), splits=("closed",))


@pytest.fixture(scope="module")
def split(folder: Path) -> SplitEvidence:
    return read_study(folder).splits[0]


def slow_auc(folder: Path, key: str) -> dict[str, float]:
    """Eq. 1 of every attacked clip, from the file, by the definition of a trapezoid."""
    table = pd.read_parquet(folder / "closed" / "networks" / key / "outcomes.parquet")
    curve: dict[str, dict[float, bool]] = defaultdict(dict)
    for _, line in table.iterrows():
        curve[line["clip"]][line["eps"]] = line["is_correct"]
    areas = {}
    for clip, points in curve.items():
        if len(points) == 7:
            levels = sorted(points)
            areas[clip] = sum((b - a) * (points[a] + points[b]) / 2 for a, b in pairwise(levels))
    return areas


def slow_groups(folder: Path, key: str, attribute: str) -> dict[str, float]:
    clips = pd.read_parquet(folder / "closed" / "clips.parquet").set_index("clip")
    areas: dict[str, list[float]] = defaultdict(list)
    for clip, area in slow_auc(folder, key).items():
        areas[clips.loc[clip, attribute]].append(area)
    return {group: sum(own) / len(own) for group, own in areas.items()}


def model_of(split: SplitEvidence, key: str) -> Model:
    return next(model for model in split.models if model.key == key)


NOTHING_MISSING = {"unfinished": 0, "parts_unfinished": 0, "parts_failed": 0}
KEYS = ("m5-small_at0_noise0", "m5-small-tricks_at0.005_noise0.1", "m5-small_at0.1_noise0")


# Tables 1 and 2


@pytest.mark.parametrize("key", KEYS)
def test_auc_acc_is_that_of_a_slow_loop_clip_by_clip(folder: Path, split: SplitEvidence, key: str) -> None:
    assert clip_auc(model_of(split, key)).to_dict() == pytest.approx(slow_auc(folder, key))


def test_the_table_has_all_forty_models_by_clean_accuracy(folder: Path, split: SplitEvidence) -> None:
    table = models_table(split)
    assert len(table) == 40
    assert table["clean_accuracy"].is_monotonic_increasing
    for key in KEYS:
        row = table.set_index("key").loc[key]
        areas = slow_auc(folder, key)
        assert row["auc_acc"] == pytest.approx(sum(areas.values()) / len(areas))
        outcomes = pd.read_parquet(folder / "closed" / "networks" / key / "outcomes.parquet")
        clean = [line["is_correct"] for _, line in outcomes.iterrows() if line["eps"] == 0]
        assert len(clean) > len(areas)
        assert row["clean_accuracy"] == sum(clean) / len(clean)


def test_the_table_names_the_pitfalls_of_the_attack(split: SplitEvidence) -> None:
    table = models_table(split).set_index("key")
    assert table.loc["m5-small_at0.1_noise0", "attack_health"] == "constant_model"
    assert table.loc["m5-small_at0_noise0", "attack_health"] == ""
    assert set(table["training_seconds"]) == {70.0}


def test_smoothings_network_is_none_of_the_models(folder: Path, split: SplitEvidence) -> None:
    assert (folder / "closed" / "networks" / "m5-small_at0_noise0.1_smoothing" / "done.json").is_file()
    assert not any("smoothing" in model.key for model in split.models)


# Who guesses


@pytest.mark.parametrize(("accuracy", "guesses"), [(0.1, True), (0.11, True), (0.1101, False), (0.9, False)])
def test_a_model_guesses_up_to_a_tenth_above_chance(accuracy: float, guesses: bool, split: SplitEvidence) -> None:
    model = model_of(split, KEYS[0])
    rows = 10_000
    outcomes = pd.DataFrame({"clip": range(rows), "eps": 0.0, "is_correct": [i < accuracy * rows for i in range(rows)]})
    guessing = Model(**{**vars_of(model), "outcomes": outcomes})
    assert is_guesser(guessing, chance=0.1) == guesses


def vars_of(model: Model) -> dict[str, object]:
    return {name: getattr(model, name) for name in Model.__dataclass_fields__}


def test_guessers_are_marked_in_the_table(split: SplitEvidence) -> None:
    table = models_table(split)
    assert int(table["is_guesser"].sum()) == GUESSERS
    assert table.loc[table["is_guesser"], "adversarial_eps"].eq(0.1).all()


@pytest.mark.parametrize(
    ("configurations", "needed"), [(40, 25), (39, 25), (20, 13), (8, 5), (7, 5), (3, 2), (2, 2), (1, 1), (0, 0)]
)
def test_fewer_configurations_need_the_same_share_rounded_up(
    configurations: int, needed: int, split: SplitEvidence
) -> None:
    fields = {name: getattr(split, name) for name in SplitEvidence.__dataclass_fields__}
    models = split.models[:configurations]
    judgement = judge(SplitEvidence(**{**fields, "models": models}))
    assert judgement.needed == needed
    assert ("rounded up" in judgement.words) == (configurations not in (0, 40))


@pytest.mark.parametrize(("recognisers", "is_failed"), [(24, True), (25, False), (40, False)])
def test_twenty_four_of_forty_models_are_a_failed_study(recognisers: int, is_failed: bool) -> None:
    judgement = Judgement(configurations=40, recognisers=recognisers, needed=25, **NOTHING_MISSING)
    assert judgement.is_failed == is_failed
    assert judgement.verdict == ("FAILED" if is_failed else "result")


@pytest.mark.parametrize(
    ("missing", "verdict"),
    [
        ({"unfinished": 1}, "unfinished"),
        ({"parts_unfinished": 1}, "unfinished"),
        ({"parts_unfinished": 1, "parts_failed": 1}, "unfinished"),
        ({"parts_failed": 1}, "incomplete"),
    ],
)
def test_a_study_that_lacks_any_part_is_no_result_yet(missing: dict[str, int], verdict: str) -> None:
    judgement = Judgement(configurations=40, recognisers=40, needed=25, **{**NOTHING_MISSING, **missing})
    assert judgement.verdict == verdict


def test_a_configuration_that_failed_counts_as_one_that_guesses(split: SplitEvidence) -> None:
    fields = {name: getattr(split, name) for name in SplitEvidence.__dataclass_fields__}
    one = next(model for model in split.models if model.clean_accuracy > 0.5)
    failed = MissingPart("m5-small_at0.1_noise0", "failed", "NaN", is_configuration=True)
    torn = SplitEvidence(**{**fields, "models": (one,), "missing": (failed,)})
    assert (judge(torn).configurations, judge(torn).recognisers, judge(torn).needed) == (2, 1, 2)
    assert judge(torn).is_failed


# Groups and defense parity


@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize("attribute", ATTRIBUTES)
def test_groups_and_defense_parity_are_those_of_a_slow_loop(
    folder: Path, split: SplitEvidence, key: str, attribute: str
) -> None:
    slow = slow_groups(folder, key, attribute)
    model = model_of(split, key)
    groups = group_auc(split, [model])
    own = groups[groups["attribute"] == attribute].set_index("group")
    assert own["mean"].to_dict() == pytest.approx(slow)
    declared = [mean for group, mean in slow.items() if group != "undeclared"]
    parity = defense_parity(split, [model], seed=0).set_index("attribute")
    assert parity.loc[attribute, "gap"] == pytest.approx(max(declared) - min(declared))
    assert parity.loc[attribute, "groups"] == len(declared)


def test_undeclared_is_shown_and_in_no_gap(split: SplitEvidence) -> None:
    groups = group_auc(split, [model_of(split, KEYS[0])])
    undeclared = groups[groups["group"] == "undeclared"]
    assert set(undeclared["attribute"]) == {"gender", "age", "accent"}
    assert set(undeclared["note"]) == {"in no gap"}


def test_small_groups_are_marked_and_have_no_interval_of_a_gap(split: SplitEvidence) -> None:
    groups = group_auc(split, [model_of(split, KEYS[0])]).set_index(["attribute", "group"])
    assert groups.loc[("gender", "nonbinary"), "note"] == "under 10 speakers"
    assert groups.loc[("gender", "male"), "note"] == ""
    parity = defense_parity(split, [model_of(split, KEYS[0])], seed=0).set_index("attribute")
    assert parity.loc["accent", "note"] == "too few speakers"  # of 5 accents one has 10 speakers
    assert parity.loc["accent", ["gap_compared", "lower", "upper"]].isna().all()
    assert parity.loc["gender", "note"] == "groups under 10 speakers: 1"
    assert parity.loc["gender", "lower"] <= parity.loc["gender", "gap_compared"] <= parity.loc["gender", "upper"]


def test_a_speaker_in_two_groups_is_a_clear_error(split: SplitEvidence) -> None:
    fields = {name: getattr(split, name) for name in SplitEvidence.__dataclass_fields__}
    torn = split.clips.copy()
    torn.loc[torn.index[torn["is_attacked"]][0], "age"] = "sixties"
    with pytest.raises(StudyError, match=r"groups of 'age' .* is in two groups"):
        group_auc(SplitEvidence(**{**fields, "clips": torn}), [model_of(split, KEYS[0])])


def test_sizes_count_speakers_and_clips_of_every_part(folder: Path, split: SplitEvidence) -> None:
    sizes = group_sizes(split).set_index(["attribute", "group"])
    clips = pd.read_parquet(folder / "closed" / "clips.parquet")
    women = clips[clips["gender"] == "female"]
    test = women[women["split"] == "test"]
    expected = {
        "training_clips": len(women[women["split"] == "train"]),
        "test_clips": len(test),
        "attacked_clips": int(test["is_attacked"].sum()),
        "attacked_speakers": len({s for s, a in zip(test["speaker"], test["is_attacked"], strict=True) if a}),
    }
    assert {name: sizes.loc[("gender", "female"), name] for name in expected} == expected


def test_speakers_unheard_in_training_and_groups_untested_are_found(split: SplitEvidence) -> None:
    assert speakers_unheard(split) == []
    assert groups_untested(split) == {}
    is_train = split.clips["split"] == "train"
    clips = split.clips[~(is_train & split.clips["speaker"].isin(["s03", "s04"]))].copy()
    clips.loc[clips["split"] == "train", "accent"] = clips.loc[clips["split"] == "train", "accent"].replace("us", "nz")
    fields = {name: getattr(split, name) for name in SplitEvidence.__dataclass_fields__}
    torn = SplitEvidence(**{**fields, "clips": clips})
    assert speakers_unheard(torn) == ["s03", "s04"]
    assert groups_untested(torn) == {"accent": ["nz"]}


# Means and distributions


def test_tricks_mean_and_spread_are_those_the_paper_prints() -> None:
    models = pd.DataFrame({"tricks": True, "clean_accuracy": PAPER_TABLE_1, "auc_acc": 0.01})
    row = tricks_accuracy(models).iloc[0]
    assert (row["tricks"], row["models"]) == ("with", 8)
    assert f"{row['mean_clean_accuracy']:.3f} ± {row['sd_clean_accuracy']:.3f}" == "0.937 ± 0.042"  # section 5.1.1


def test_every_model_is_in_one_bin_of_every_histogram(split: SplitEvidence) -> None:
    curves = accuracy_over_eps(split.models)
    guessers = [m.key for m in split.models if is_guesser(m, split.chance)]
    histogram = accuracy_histogram(curves, guessers)
    counted = histogram.groupby("eps")[["models", "guessers"]].sum()
    assert set(counted["models"]) == {40 - GUESSERS}
    assert set(counted["guessers"]) == {GUESSERS}
    perfect = curves.assign(accuracy=1.0)
    assert accuracy_histogram(perfect, [])["models"].sum() == len(curves)


def test_curves_are_over_the_same_clips_at_every_budget(folder: Path, split: SplitEvidence) -> None:
    key = KEYS[1]
    curve = accuracy_over_eps([model_of(split, key)]).set_index("eps")
    outcomes = pd.read_parquet(folder / "closed" / "networks" / key / "outcomes.parquet")
    attacked = set(outcomes.loc[outcomes["eps"] > 0, "clip"])
    for eps in (0.0, 0.001, 0.3):
        here = [
            line["is_correct"] for _, line in outcomes.iterrows() if line["eps"] == eps and line["clip"] in attacked
        ]
        assert (curve.loc[eps, "accuracy"], curve.loc[eps, "clips"]) == (sum(here) / len(here), len(attacked))
