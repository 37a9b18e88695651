"""Who trains, validates and tests."""

from __future__ import annotations

import math
from collections import Counter

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recognizer.manifest import ManifestError
from training.corpora.splits import (
    Fold,
    Shares,
    SplitKind,
    closed_split,
    hold_out,
    hold_out_fold,
    open_split,
    split_clips,
)

SHARE = {"train": 0.7, "validation": 0.1, "test": 0.2}


def clips(speakers: int, commands: int, takes: int) -> pd.DataFrame:
    """Every second speaker is a woman; every tenth has a rare accent."""
    return pd.DataFrame(
        {
            "path": f"/c/{s:03d}/{c}_{t:02d}.wav",
            "speaker": f"s{s:03d}",
            "command": f"c{c}",
            "gender": "female" if s % 2 else "male",
            "accent": "rare" if s % 10 == 0 else "usual",
        }
        for s in range(speakers)
        for c in range(commands)
        for t in range(takes)
    )


def speakers_in(table: pd.DataFrame, splits: list[str], name: str) -> set[str]:
    return {speaker for speaker, split in zip(table["speaker"], splits, strict=True) if split == name}


def test_closed_split_is_exactly_7_1_2_in_every_cell_of_fifty_takes() -> None:
    table = clips(4, 3, 50)
    cells = table.assign(split=closed_split(table, seed=3)).groupby(["speaker", "command", "split"]).size().unstack()
    assert cells["train"].tolist() == [35] * 12
    assert cells["validation"].tolist() == [5] * 12
    assert cells["test"].tolist() == [10] * 12


@settings(max_examples=25)
@given(takes=st.integers(1, 30), seed=st.integers(0, 10**6))
def test_closed_split_rounds_each_quota_down_or_up(takes: int, seed: int) -> None:
    table = clips(3, 10, takes)
    split = closed_split(table, seed=seed)
    for _, cell in table.assign(split=split).groupby(["speaker", "command"]):
        counts = Counter(cell["split"])
        for name, share in SHARE.items():
            quota = round(share * takes, 9)
            assert math.floor(quota) <= counts[name] <= math.ceil(quota)


@pytest.mark.parametrize("takes", [1, 2, 3, 7])
def test_closed_split_holds_over_each_speaker_within_one_clip(takes: int) -> None:
    table = clips(30, 10, takes)
    for _, own in table.assign(split=closed_split(table, seed=1)).groupby("speaker"):
        counts = Counter(own["split"])
        assert all(abs(counts[name] - share * 10 * takes) < 1 + 1e-9 for name, share in SHARE.items())


def test_single_clips_of_a_command_do_not_all_train() -> None:
    table = clips(200, 1, 1)
    counts = Counter(closed_split(table, seed=0))
    # 200 independent draws: five standard deviations of a binomial count.
    for name, share in SHARE.items():
        assert abs(counts[name] - 200 * share) < 5 * math.sqrt(200 * share * (1 - share))


def test_closed_split_of_a_speaker_does_not_depend_on_the_others() -> None:
    table = clips(5, 4, 3)
    alone = table[table["speaker"] == "s002"]
    together = pd.Series(closed_split(table, seed=7))[(table["speaker"] == "s002").to_numpy()]
    assert closed_split(alone, seed=7) == together.tolist()


@pytest.mark.parametrize("kind", ["closed", "open"])
def test_splits_depend_on_the_seed_and_not_on_the_order_of_rows(kind: SplitKind) -> None:
    table = clips(20, 4, 3)
    shuffled = table.sample(frac=1, random_state=5)
    first = dict(zip(table["path"], split_clips(table, kind, seed=1), strict=True))
    again = dict(zip(shuffled["path"], split_clips(shuffled, kind, seed=1), strict=True))
    other = dict(zip(table["path"], split_clips(table, kind, seed=2), strict=True))
    assert first == again
    assert first != other


@settings(max_examples=40)
@given(speakers=st.integers(3, 60), seed=st.integers(0, 10**6))
def test_open_split_keeps_speakers_apart_and_the_shares_within_one(speakers: int, seed: int) -> None:
    table = clips(speakers, 2, 1)
    splits = open_split(table, seed=seed)
    parts = {name: speakers_in(table, splits, name) for name in SHARE}
    assert sum(len(p) for p in parts.values()) == len(set.union(*parts.values())) == speakers
    assert all(parts.values())
    if speakers >= 10:
        assert all(abs(len(parts[name]) - share * speakers) <= 1 for name, share in SHARE.items())


def test_open_split_spreads_the_strata() -> None:
    table = clips(60, 1, 1)
    for seed in range(20):
        test = table.assign(split=open_split(table, seed=seed, stratify=["gender"])).query("split == 'test'")
        assert Counter(test["gender"]) == {"female": 6, "male": 6}


def test_open_split_spreads_a_rare_group_over_train_and_test() -> None:
    table = clips(100, 1, 1)
    for seed in range(20):
        rare = table.assign(split=open_split(table, seed=seed, stratify=["accent"])).query("accent == 'rare'")
        assert Counter(rare["split"])["test"] == 2
        assert Counter(rare["split"])["train"] >= 6


@pytest.mark.parametrize("speakers", [1, 2])
def test_open_split_refuses_fewer_speakers_than_splits(speakers: int) -> None:
    with pytest.raises(ManifestError, match=f"{speakers} speakers? can't be divided into train, validation, test"):
        open_split(clips(speakers, 2, 5), seed=0)


def test_open_split_without_a_validation_share_needs_two_speakers_only() -> None:
    table = clips(2, 1, 1)
    assert set(open_split(table, seed=0, shares=Shares(0.8, 0.0, 0.2))) == {"train", "test"}


def test_closed_split_refuses_too_few_clips() -> None:
    with pytest.raises(ManifestError, match="closed split of 1 clips leaves"):
        closed_split(clips(1, 1, 1), seed=0)


@pytest.mark.parametrize("shares", [(0.7, 0.1, 0.1), (1.2, -0.4, 0.2)])
def test_shares_must_be_shares(shares: tuple[float, float, float]) -> None:
    with pytest.raises(ManifestError, match="must add up to 1"):
        Shares(*shares)


def test_an_unknown_stratum_is_named() -> None:
    with pytest.raises(ManifestError, match="can't stratify by height"):
        open_split(clips(9, 1, 1), seed=0, stratify=["height"])


def test_hold_out_tests_on_a_share_of_the_given_speakers_only() -> None:
    table = clips(40, 2, 2)
    given_speakers = [f"s{i:03d}" for i in range(10)]
    splits = hold_out(table, given_speakers, share=0.5, validation_share=0.2, seed=4, stratify=["gender"])
    test = speakers_in(table, splits, "test")
    assert len(test) == 5
    assert test < set(given_speakers)
    assert len(speakers_in(table, splits, "validation")) == 7  # 0.2 of the other 35
    assert len(speakers_in(table, splits, "train")) == 28
    assert splits == hold_out(table, given_speakers[::-1], share=0.5, validation_share=0.2, seed=4, stratify=["gender"])


def test_hold_out_can_leave_no_validation() -> None:
    table = clips(4, 1, 1)
    assert set(hold_out(table, ["s001"], share=0.1, validation_share=0.0, seed=0)) == {"train", "test"}


@pytest.mark.parametrize(
    ("speakers", "share", "message"),
    [
        (["nobody"], 0.5, "none of the speakers to hold out"),
        (["s000", "s001"], 1.0, "nobody is left to train on"),
        (["s000"], 0.0, "more than 0 and at most 1"),
    ],
)
def test_hold_out_says_why_it_is_impossible(speakers: list[str], share: float, message: str) -> None:
    with pytest.raises(ManifestError, match=message):
        hold_out(clips(2, 1, 1), speakers, share=share, seed=0)


@settings(max_examples=25)  # up to eight splits an example
@given(speakers=st.integers(2, 40), others=st.integers(3, 30), folds=st.integers(2, 8), seed=st.integers(0, 10**6))
def test_folds_are_a_partition_that_spreads_the_strata(speakers: int, others: int, folds: int, seed: int) -> None:
    folds = min(folds, speakers)
    table = clips(speakers + others, 2, 1)
    own = [f"s{i:03d}" for i in range(speakers)]
    parts = [
        speakers_in(
            table,
            hold_out_fold(table, own, fold=Fold(number, folds), seed=seed, stratify=["gender", "accent"]),
            "test",
        )
        for number in range(1, folds + 1)
    ]
    assert sorted(s for part in parts for s in part) == own  # each of them once, and nobody else
    sizes = [len(part) for part in parts]
    assert max(sizes) - min(sizes) <= 1
    gender = table.drop_duplicates("speaker").set_index("speaker")["gender"]
    for value in ("female", "male"):
        in_each = [sum(gender[s] == value for s in part) for part in parts]
        assert max(in_each) - min(in_each) <= 1


def test_folds_depend_on_the_seed_and_not_on_the_order_of_rows_or_speakers() -> None:
    table = clips(30, 2, 2)
    own = [f"s{i:03d}" for i in range(20)]

    def held(rows: pd.DataFrame, given: list[str], seed: int) -> set[str]:
        return speakers_in(rows, hold_out_fold(rows, given, fold=Fold(2, 5), seed=seed, stratify=["gender"]), "test")

    first = held(table, own, 1)
    assert len(first) == 4
    assert first == held(table.sample(frac=1, random_state=5), own[::-1], 1)
    assert any(first != held(table, own, seed) for seed in range(2, 6))


def test_everybody_outside_the_fold_trains_or_validates() -> None:
    table = clips(40, 2, 2)
    splits = hold_out_fold(table, [f"s{i:03d}" for i in range(10)], fold=Fold(1, 5), validation_share=0.2, seed=4)
    assert [len(speakers_in(table, splits, name)) for name in ("test", "validation", "train")] == [2, 8, 30]
    assert sum(split == "test" for split in splits) == 2 * 2 * 2  # all their clips


@pytest.mark.parametrize(("number", "of"), [(0, 5), (6, 5), (1, 1)])
def test_a_fold_that_there_is_not_is_refused(number: int, of: int) -> None:
    with pytest.raises(ManifestError, match=f"{number}/{of}; 1/K to K/K are accepted, with K of 2 or more"):
        Fold(number, of)


def test_more_folds_than_speakers_are_refused() -> None:
    with pytest.raises(ManifestError, match="2 speakers can't be divided into 3 folds"):
        hold_out_fold(clips(9, 1, 1), ["s001", "s002"], fold=Fold(1, 3), seed=0)
