"""The rejectors' scores and what they let through, against draws taken one by one and the defenses themselves."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.stats import binomtest
from torch import Tensor, nn

from recognizer.decision import Decision, Reason, conclude
from recognizer.manifest import Manifest
from recognizer.network import M5, Architecture
from recognizer.neural_rejection import NeuralRejection
from recognizer.smoothing import RandomizedSmoothing, noise
from training.dataset import ClipSet
from training.rejection import fit_rejection
from training.study.configuration import SMOOTHING_SIGMA
from training.study.rejection import (
    REJECTION_ATTACKS,
    RejectionAttack,
    attack_rejector,
    outcome_of,
    score_neural_rejection,
    score_smoothing,
    smoothing_of,
)
from training.study.settings import StudySettings

LABELS = ("go", "left", "right")
SETTINGS = StudySettings(eps_grid=(0.001, 0.05), steps=3, draws=(4, 12, 40), eot_draws=12, seed=2)


@pytest.fixture(scope="module")
def network() -> M5:
    torch.manual_seed(0)
    return M5(Architecture(labels=3, width=4, last_width=8, stride=16)).eval()


@pytest.fixture(scope="module")
def clips() -> ClipSet:
    """Twelve noises of six speakers, labelled in turn."""
    waveforms = 0.2 * torch.randn(12, 8000, generator=torch.Generator().manual_seed(5)).clamp(-4, 4)
    targets = torch.arange(12) % 3
    rows = [
        {"path": f"/c/s{i // 2}/{i}.wav", "command": LABELS[t], "speaker": f"s{i // 2}"}
        for i, t in enumerate(targets.tolist())
    ]
    return ClipSet(waveforms, targets, Manifest(pd.DataFrame(rows), ()))


@pytest.fixture(scope="module")
def rejection(network: M5) -> NeuralRejection:
    many = torch.randn(90, 8000, generator=torch.Generator().manual_seed(1))
    many[::3] *= 0.1
    targets = torch.arange(90) % 3
    table = pd.DataFrame({"speaker": [f"s{i // 9}" for i in range(90)]})
    machine = fit_rejection(network, ClipSet(many, targets, Manifest(table, ())))
    return NeuralRejection(network, machine, LABELS, confidence_threshold=0.5)


def test_smaller_n_are_the_first_draws_of_one_stream(network: M5, clips: ClipSet) -> None:
    table = score_smoothing(smoothing_of(network, LABELS, SETTINGS), clips, SETTINGS)
    assert table.groupby("clip")["draws"].apply(list).tolist() == [[4, 12, 40]] * 12
    for i in (0, 7):
        name = clips.manifest.clip_ids[i]
        votes: list[int] = []
        for draw in range(40):
            noisy = clips.waveforms[i] + SMOOTHING_SIGMA * noise(2, name, draw, 1, 8000)[0]
            with torch.inference_mode():
                votes.append(int(network(noisy[None]).argmax()))
        for row in table[table["clip"] == name].itertuples():
            counts = np.bincount(votes[: row.draws], minlength=3)
            n_a, n_b = sorted(counts)[::-1][:2]
            expected = binomtest(n_a, n_a + n_b, 0.5).pvalue
            assert row.p_value == pytest.approx(expected, rel=1e-9)
            assert row.score == pytest.approx(max(expected - 0.001, 0), abs=1e-12)
            assert row.is_right == (counts.argmax() == clips.targets[i])


def test_the_seconds_of_more_draws_include_those_of_fewer(network: M5, clips: ClipSet) -> None:
    table = score_smoothing(smoothing_of(network, LABELS, SETTINGS), clips, SETTINGS)
    assert (table.groupby("clip")["seconds"].diff().dropna() > 0).all()


def test_n_that_can_never_decide_have_p_values_too(network: M5, clips: ClipSet) -> None:
    settings = StudySettings(draws=(2,))
    table = score_smoothing(smoothing_of(network, LABELS, settings), clips, settings)
    assert set(table["p_value"]) <= {0.5, 1.0}  # two votes for one label, or a tie


def test_neural_rejections_score_is_one_minus_its_confidence_on_every_clip(
    rejection: NeuralRejection, clips: ClipSet
) -> None:
    table = score_neural_rejection(rejection, clips)
    with torch.inference_mode():
        shares = rejection.machine.probabilities(rejection.network.features(clips.waveforms))
    assert table["clip"].tolist() == clips.manifest.clip_ids
    assert (table["draws"] == 0).all()
    np.testing.assert_allclose(table["confidence"], shares.amax(dim=1), atol=1e-9)
    np.testing.assert_allclose(table["score"], 1 - shares.amax(dim=1).numpy(), atol=1e-9)
    assert table["is_right"].tolist() == (shares.argmax(dim=1) == clips.targets).tolist()


@pytest.mark.parametrize(
    ("decision", "outcome"),
    [
        (conclude(LABELS, [0.9, 0.05, 0.05]), "right_accepted"),
        (conclude(LABELS, [0.1, 0.8, 0.1]), "wrong_accepted"),
        (conclude(LABELS, [0.4, 0.3, 0.3], hold=(Reason.LOW_CONFIDENCE, "unsure")), "rejected"),
        (conclude(LABELS, [0.3, 0.4, 0.3], hold=(Reason.SMOOTHING_TIE, "a tie")), "rejected"),
    ],
)
def test_an_outcome_is_the_defenses_own_verdict(decision: Decision, outcome: str) -> None:
    assert outcome_of(decision, "go") == outcome


def of(table: pd.DataFrame, eps: float) -> Counter[str]:
    return Counter(table.loc[table["eps"] == eps, "outcome"])


@pytest.mark.parametrize("attack", REJECTION_ATTACKS)
def test_at_eps_0_both_defenses_decide_on_the_clean_clips(
    network: M5, rejection: NeuralRejection, clips: ClipSet, attack: RejectionAttack
) -> None:
    for defense in (rejection, smoothing_of(network, LABELS, SETTINGS)):
        table = attack_rejector(defense, attack, clips, SETTINGS)
        assert list(table) == ["defense", "attack", "eps", "clip", "outcome"]
        assert table.groupby("eps").size().to_dict() == {0.0: 12, 0.001: 12, 0.05: 12}
        assert set(table["defense"]) == {defense.name.value}
        decided = defense.decide(clips.waveforms, clip_ids=clips.manifest.clip_ids, seed=2)
        expected = [outcome_of(d, LABELS[t]) for d, t in zip(decided, clips.targets.tolist(), strict=True)]
        assert table.loc[table["eps"] == 0, "outcome"].tolist() == expected


def test_evading_neural_rejection_only_ever_gains(rejection: NeuralRejection, clips: ClipSet) -> None:
    rejection = NeuralRejection(rejection.network, rejection.machine, LABELS, confidence_threshold=0.35)
    table = attack_rejector(rejection, "evade", clips, SETTINGS)
    wrong = [of(table, eps)["wrong_accepted"] for eps in (0.0, 0.001, 0.05)]
    assert wrong == sorted(wrong)
    assert wrong[-1] > wrong[0]


def test_causing_rejection_turns_clips_away(rejection: NeuralRejection, clips: ClipSet) -> None:
    rejection = NeuralRejection(rejection.network, rejection.machine, LABELS, confidence_threshold=0.4)
    table = attack_rejector(rejection, "cause_rejection", clips, SETTINGS)
    rejected = [of(table, eps)["rejected"] for eps in (0.0, 0.001, 0.05)]
    assert rejected == sorted(rejected)
    assert rejected[-1] > rejected[0]


def test_the_verdict_on_an_attacked_clip_is_smoothings_on_all_its_draws(network: M5, clips: ClipSet) -> None:
    """A defense that notes whom it decides on is asked again about changed clips only, each time with all its draws."""
    heard: list[str] = []
    draws: list[int | None] = []

    class Noting(RandomizedSmoothing):
        def decide(self, waveforms, *, clip_ids, seed, deadline=None):  # type: ignore[no-untyped-def]
            decisions = super().decide(waveforms, clip_ids=clip_ids, seed=seed, deadline=deadline)
            for clip_id, decision in zip(clip_ids, decisions, strict=True):
                if clip_id in clips.manifest.clip_ids:  # the attacker's rehearsals bear other names
                    heard.append(clip_id)
                    draws.append(decision.certificate.draws if decision.certificate else None)
            return decisions

    defense = Noting(network, LABELS, sigma=SMOOTHING_SIGMA, error_alpha=0.001, draws=SETTINGS.verdict_draws)
    attack_rejector(defense, "evade", clips, SETTINGS)
    assert set(draws) == {40}
    assert 12 <= len(heard) <= 36


class Level(nn.Module):
    """`go` or `left` by the mean of the first 16 samples, over which smoothing's noise has a deviation of 0.025."""

    def __init__(self) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.tensor(40.0))

    def forward(self, waveforms: Tensor) -> Tensor:
        level = self.gain * waveforms[:, :16].mean(dim=1)
        return torch.stack((level, -level, torch.full_like(level, -10.0)), dim=1)


@pytest.mark.parametrize(("attack", "wanted"), [("evade", "wrong_accepted"), ("cause_rejection", "rejected")])
def test_smoothing_under_attack_gives_the_attacker_what_it_is_after(attack: RejectionAttack, wanted: str) -> None:
    """Clips 4 deviations from the border, which an eps of 0.2 can carry to as far on the other side."""
    targets = torch.arange(8) % 2
    waveforms = torch.zeros(8, 400)
    waveforms[:, :16] = 0.1 * (1 - 2 * targets[:, None])
    rows = [{"path": f"/c/s/{i}.wav", "command": LABELS[t], "speaker": "s"} for i, t in enumerate(targets.tolist())]
    clips = ClipSet(waveforms, targets, Manifest(pd.DataFrame(rows), ()))
    settings = SETTINGS.model_copy(update={"eps_grid": (0.01, 0.2), "steps": 16})
    table = attack_rejector(smoothing_of(Level().eval(), LABELS, settings), attack, clips, settings)
    assert of(table, 0.0) == of(table, 0.01) == {"right_accepted": 8}
    assert of(table, 0.2)[wanted] > 4
