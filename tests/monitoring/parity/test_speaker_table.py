"""One row per speaker, whatever the order of the clips."""

from dataclasses import replace
from math import fsum

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from simulated_speakers import table_of

from monitoring.parity import GroupMean, SpeakerTable, gap, group_means


def test_clips_are_summed_by_speaker() -> None:
    table = SpeakerTable.from_clips(
        speaker=["b", "a", "b", "c"], group=["x", "y", "x", "x"], score=[0.5, 1.0, 0.25, 0.0]
    )
    assert table.speaker.tolist() == ["a", "b", "c"]
    assert table.group.tolist() == ["y", "x", "x"]
    assert table.clips.tolist() == [1, 2, 1]
    assert table.score.tolist() == [1.0, 0.75, 0.0]


def test_a_speaker_has_one_group() -> None:
    with pytest.raises(ValueError, match="speaker 'a' is in two groups, 'x' and 'y'"):
        SpeakerTable.from_clips(speaker=["a", "b", "a"], group=["x", "x", "y"], score=[0.1, 0.2, 0.3])


def test_of_two_groups_the_one_of_the_first_clip_is_named_first() -> None:
    with pytest.raises(ValueError, match="speaker 'b' is in two groups, 'y' and 'x'"):
        SpeakerTable.from_clips(speaker=["a", "b", "b", "a"], group=["x", "y", "x", "y"], score=[0.9, 0.8, 0.1, 0.2])


@pytest.mark.parametrize("kind", ["zero or one", "continuous", "all the same"])
def test_a_speakers_score_is_the_exact_sum_rounded(kind: str) -> None:
    rng = np.random.default_rng(1)
    score = {
        "zero or one": rng.integers(0, 2, 3_000).astype(float),
        "continuous": rng.beta(1, 3, 3_000),
        "all the same": np.full(3_000, 0.1),
    }[kind]
    speaker = rng.integers(100, size=3_000)
    table = SpeakerTable.from_clips(speaker=speaker.astype(str), group=np.full(3_000, "x"), score=score)
    assert table.speaker.tolist() == sorted(set(speaker.astype(str)))
    for name, clips, total in zip(table.speaker, table.clips, table.score, strict=True):
        own = score[speaker == int(name)]
        assert clips == own.size
        assert total == pytest.approx(fsum(own), rel=0 if kind == "zero or one" else 1e-14)


@pytest.mark.parametrize("bad", [float("nan"), -0.1, 1.1])
def test_a_score_outside_the_unit_interval_is_refused(bad: float) -> None:
    with pytest.raises(ValueError, match=r"1 of 2 scores are NaN or outside \[0, 1\]"):
        SpeakerTable.from_clips(speaker=["a", "b"], group=["x", "y"], score=[0.1, bad])


def test_columns_must_match_and_hold_something() -> None:
    with pytest.raises(ValueError, match="flat columns of one length"):
        SpeakerTable.from_clips(speaker=["a", "b"], group=["x", "x"], score=[0.1])
    with pytest.raises(ValueError, match="no clip to measure"):
        SpeakerTable.from_clips(speaker=[], group=[], score=[])


def test_a_missing_group_is_not_taken_for_a_group_called_nan() -> None:
    with pytest.raises(ValueError, match="group holds values that are no strings"):
        SpeakerTable.from_clips(speaker=["a", "b"], group=np.array(["x", np.nan], dtype=object), score=[0, 0])


def test_a_speaker_is_listed_once_and_has_clips() -> None:
    table = table_of(x=np.array([0.1, 0.2]))
    with pytest.raises(ValueError, match="listed twice"):
        replace(table, speaker=np.array(["a", "a"]))
    with pytest.raises(ValueError, match="listed twice"):
        replace(table_of(x=np.array([0.1, 0.2, 0.3])), speaker=np.array(["b", "a", "b"]))
    with pytest.raises(ValueError, match="no clips"):
        replace(table, clips=np.array([0, 14]))
    with pytest.raises(ValueError, match="NaN or outside"):
        replace(table, score=np.array([15.0, 1.0]))


@settings(max_examples=40)
@given(st.integers(0, 2**32), st.sampled_from([(12, 15), (25, 10, 40), (30, 11, 12, 13)]))
def test_the_order_of_the_clips_changes_nothing(seed: int, sizes: tuple[int, ...]) -> None:
    rng = np.random.default_rng(seed)
    group_of = np.repeat([f"g{k}" for k in range(len(sizes))], sizes)
    speaker = rng.integers(group_of.size, size=500)
    score = rng.beta(1, 3, 500)
    names, groups, order = speaker.astype(str), group_of[speaker], rng.permutation(500)

    def measure(rows: NDArray[np.int64]) -> tuple[tuple[GroupMean, ...], str]:
        table = SpeakerTable.from_clips(speaker=names[rows], group=groups[rows], score=score[rows])
        return group_means(table), repr(gap(table, tolerance=0.1, min_speakers=10, replicates=100, seed=seed))

    assert measure(order) == measure(np.arange(500))
