"""Plans against the estimators that they are made for: planned audits find what they were planned to find."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from monitoring.audit_plan import NoPilot, Pilot, needed_for_equivalence, pilot_of, shown_by, speakers_needed
from monitoring.parity import Aim, SpeakerTable, Verdict, gap
from recognizer.manifest import Manifest

ICC, CLIPS = 0.25, 8


def right(rng: np.random.Generator, speakers: int, share: float) -> np.ndarray:
    """bool [speakers, CLIPS]: beta-binomial with an intraclass correlation of ICC."""
    a = share * (1 / ICC - 1)
    return rng.uniform(size=(speakers, CLIPS)) < rng.beta(a, a * (1 - share) / share, size=(speakers, 1))


def outcomes_of(is_rejected: np.ndarray) -> pd.DataFrame:
    speakers, clips = is_rejected.shape
    rejected = is_rejected.ravel()
    return pd.DataFrame(
        {
            "clip": np.arange(rejected.size).astype(str),
            "speaker": np.repeat([f"s{i}" for i in range(speakers)], clips),
            "command": "go",
            "defense": "none",
            "outcome": np.where(rejected, "rejected", "accepted"),
            "correct": ~rejected,
            "score": np.nan,
        }
    )


def test_a_pilot_finds_what_its_clips_were_made_of() -> None:
    found = pilot_of(outcomes_of(right(np.random.default_rng(0), 4000, 0.2)), defense="none", metric="rejection")
    assert found.clip_sd == pytest.approx(0.4, abs=0.01)
    assert found.icc == pytest.approx(ICC, abs=0.02)
    assert found.clips_a_speaker == CLIPS
    assert found.speaker_sd() == pytest.approx(
        Pilot.of_share(0.2, icc=ICC, clips_a_speaker=CLIPS).speaker_sd(), abs=0.01
    )


def test_the_spread_of_speakers_is_that_of_simulated_ones_with_any_number_of_clips() -> None:
    rng, pilot = np.random.default_rng(1), Pilot.of_share(0.3, icc=ICC, clips_a_speaker=CLIPS)
    means = right(rng, 40_000, 0.3)
    for clips in (1, 3, 8):
        assert pilot.speaker_sd(clips) == pytest.approx(means[:, :clips].mean(axis=1).std(), rel=0.02)


def test_clips_of_no_command_and_other_defenses_are_no_pilot() -> None:
    outcomes = outcomes_of(right(np.random.default_rng(2), 50, 0.3))
    noise = outcomes.assign(command="unknown", outcome="rejected")
    other = outcomes.assign(defense="smoothing", outcome="rejected")
    everything = pd.concat([outcomes, noise, other], ignore_index=True)
    assert pilot_of(everything, defense="none", metric="rejection") == pilot_of(
        outcomes, defense="none", metric="rejection"
    )


def test_a_pilot_of_one_clip_a_speaker_is_careful() -> None:
    """It can't tell speakers from clips; more clips of each may bring nothing."""
    found = pilot_of(outcomes_of(right(np.random.default_rng(3), 100, 0.3)[:, :1]), defense="none", metric="rejection")
    assert found.icc == 1.0
    assert found.speaker_sd(50) == found.speaker_sd(1)


@pytest.mark.parametrize(
    ("defense", "metric", "rows", "words"),
    [
        ("smoothing", "rejection", 40, "no outcome of 'smoothing'; it has none"),
        ("none", "auc_fpr", 40, "no auc_fpr of 'none'; it has accuracy, rejection"),
        ("none", "accuracy", CLIPS, "one speaker"),
    ],
)
def test_a_pilot_that_is_none_is_said_to_be(defense: str, metric: str, rows: int, words: str) -> None:
    outcomes = outcomes_of(right(np.random.default_rng(4), 5, 0.3)).head(rows)
    with pytest.raises(NoPilot, match=words):
        pilot_of(outcomes, defense=defense, metric=metric)  # type: ignore[arg-type]


def test_audits_of_the_planned_size_find_the_gap_as_often_as_planned_and_smaller_ones_do_not() -> None:
    """400 audits each of groups at 40 % and 60 %, whose speakers spread alike. The audit's own estimator decides."""
    aim = Aim(tolerance=0.05, power=0.8, min_speakers=10)
    (needed,) = speakers_needed(Pilot.of_share(0.4, icc=ICC, clips_a_speaker=CLIPS), [0.2], aim)
    assert needed.speakers is not None

    def found(speakers: int) -> float:
        rng, times = np.random.default_rng(5), 0
        for seed in range(400):
            scores = np.concatenate([right(rng, speakers, 0.4), right(rng, speakers, 0.6)])
            table = SpeakerTable(
                speaker=np.arange(2 * speakers).astype(str),
                group=np.repeat(["a", "b"], speakers),
                clips=np.full(2 * speakers, CLIPS),
                score=scores.sum(axis=1).astype(float),
            )
            times += gap(table, tolerance=0.05, min_speakers=10, replicates=200, seed=seed).verdict is Verdict.DISPARITY
        return times / 400

    assert found(needed.speakers) == pytest.approx(0.8, abs=0.08)
    assert found(needed.speakers // 2) < 0.65


def test_more_groups_smaller_gaps_and_more_alike_clips_take_more_speakers() -> None:
    pilot = Pilot.of_share(0.1, icc=0.2, clips_a_speaker=10)
    small, large = speakers_needed(pilot, [0.1, 0.2], Aim(tolerance=0.05))
    many = next(iter(speakers_needed(pilot, [0.1], Aim(groups=8, tolerance=0.05))))
    alike = next(iter(speakers_needed(Pilot(pilot.clip_sd, 0.8, 10), [0.1], Aim(tolerance=0.05))))
    assert large.speakers < small.speakers < min(many.speakers, alike.speakers)  # type: ignore[operator, type-var]


def test_a_gap_that_is_acceptable_takes_no_number_of_speakers() -> None:
    (needed,) = speakers_needed(Pilot(0.3, 0.2, 10), [0.05], Aim(tolerance=0.05))
    assert needed.speakers is None
    assert needed_for_equivalence(Pilot(0.3, 0.2, 10), Aim(tolerance=0.0)) is None


def test_a_manifest_shows_what_its_compared_groups_can() -> None:
    speakers = [("a", 30), ("b", 25), ("c", 5), ("undeclared", 40)]
    rows = [
        {"path": f"{g}{i}{k}", "command": "unknown" if k == 3 else "go", "speaker": f"{g}{i}", "split": "test"}
        | {"accent": g}
        for g, count in speakers
        for i in range(count)
        for k in range(4)
    ]
    manifest = Manifest(pd.DataFrame(rows), ("accent",))
    found = {shown.group: shown for shown in shown_by(manifest, Pilot(0.3, 0.2, 99), Aim(tolerance=0.05))}
    assert {g: (s.speakers, s.clips) for g, s in found.items()} == {g: (n, 3 * n) for g, n in speakers}
    assert found["c"].detectable is None
    assert found["undeclared"].detectable is None
    assert 0.05 < found["a"].detectable < found["b"].detectable < 1  # type: ignore[operator]
