"""A network's outcomes: against the network itself, the attack itself, and eq. 1 by a literal slow loop."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch

from monitoring.scores import auc_acc
from recognizer.attacks import Misclassify, Pitfall, paper_sweep
from recognizer.defense import NetworkError
from recognizer.manifest import Manifest
from recognizer.network import M5, Architecture
from training.dataset import ClipSet
from training.study.clips import part_of
from training.study.evaluation import Evaluation, evaluate_network
from training.study.settings import AttackPreset, StudySettings

SAMPLES, CLIPS, ATTACKED = 8000, 30, 12
EPS = (0.0005, 0.01, 0.2)


@pytest.fixture(scope="module")
def network() -> M5:
    torch.manual_seed(3)
    return M5(Architecture(labels=3, width=4, last_width=8, stride=16)).eval()


@pytest.fixture(scope="module")
def clips(network: M5) -> ClipSet:
    """Noise that the network is right about, but for every fifth."""
    waveforms = 0.1 * torch.randn(CLIPS, SAMPLES, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        targets = network(waveforms).argmax(dim=1).numpy()
    targets[::5] = (targets[::5] + 1) % 3
    table = pd.DataFrame({"path": [f"/c/s{i % 4}/{i}.wav" for i in range(CLIPS)], "command": [str(t) for t in targets]})
    return ClipSet(waveforms, torch.from_numpy(targets), Manifest(table, ()))


def evaluate(network: M5, clips: ClipSet, attack: AttackPreset = "nested") -> Evaluation:
    settings = StudySettings(eps_grid=EPS, steps=4, attack=attack)
    return evaluate_network(network, clips, part_of(clips, torch.arange(CLIPS) < ATTACKED), settings)


@pytest.fixture(scope="module")
def nested(network: M5, clips: ClipSet) -> Evaluation:
    return evaluate(network, clips)


@pytest.fixture(scope="module")
def paper(network: M5, clips: ClipSet) -> Evaluation:
    return evaluate(network, clips, "paper")


def test_all_test_clips_are_heard_clean_and_the_chosen_are_attacked(nested: Evaluation, clips: ClipSet) -> None:
    outcomes = nested.outcomes
    assert list(outcomes) == ["clip", "eps", "is_correct", "snr_db"]
    assert outcomes.groupby("eps").size().to_dict() == {0.0: CLIPS} | dict.fromkeys(EPS, ATTACKED)
    assert set(outcomes.loc[outcomes["eps"] > 0, "clip"]) == set(clips.manifest.clip_ids[:ATTACKED])
    assert outcomes["is_correct"].dtype == bool


def test_clean_clips_are_right_where_the_networks_arg_max_is(nested: Evaluation) -> None:
    clean = nested.outcomes[nested.outcomes["eps"] == 0]
    assert clean["is_correct"].tolist() == [i % 5 != 0 for i in range(CLIPS)]
    assert np.isposinf(clean["snr_db"]).all()
    assert nested.clean_accuracy == 24 / 30


def test_a_nested_attack_never_lets_a_clip_recover_and_breaks_some(nested: Evaluation) -> None:
    curve = nested.outcomes.pivot(index="clip", columns="eps", values="is_correct").dropna().astype(bool).to_numpy()
    assert (curve[:, 1:] <= curve[:, :-1]).all()
    assert not curve[:, -1].all()


def test_an_attack_of_eps_leaves_at_least_the_snr_of_eps(paper: Evaluation, clips: ClipSet) -> None:
    outcomes = paper.outcomes
    rms = clips.waveforms[:ATTACKED].square().mean(dim=1).sqrt().numpy()
    for eps in EPS:
        snr_db = outcomes.loc[outcomes["eps"] == eps, "snr_db"].to_numpy()
        assert (snr_db >= 20 * np.log10(rms / eps) - 0.01).all()
        assert (snr_db < 20 * np.log10(rms / eps) + 20).all()


def test_the_papers_preset_is_its_independent_runs(paper: Evaluation, network: M5, clips: ClipSet) -> None:
    outcomes = paper.outcomes
    waveforms, targets = clips.waveforms[:ATTACKED], clips.targets[:ATTACKED]
    for level in paper_sweep(Misclassify(network), waveforms, targets, eps_grid=EPS, steps=4):
        found = outcomes[(outcomes["eps"] == level.eps) & outcomes["clip"].isin(clips.manifest.clip_ids[:ATTACKED])]
        with torch.inference_mode():
            leaders = network(level.adversarial.waveforms).argmax(dim=1)
        assert found["is_correct"].tolist() == (leaders == targets).tolist()


def test_auc_acc_of_the_outcomes_is_eq_1_by_hand(nested: Evaluation, clips: ClipSet) -> None:
    outcomes = nested.outcomes
    grid = [0.0, *EPS]
    area = 0.0
    accuracy = []
    for eps in grid:
        right = [
            row.is_correct
            for row in outcomes.itertuples()
            if row.eps == eps and row.clip in clips.manifest.clip_ids[:ATTACKED]
        ]
        accuracy.append(sum(right) / ATTACKED)
    for k in range(3):
        area += (grid[k + 1] - grid[k]) * (accuracy[k] + accuracy[k + 1]) / 2
    curve = outcomes.pivot(index="eps", columns="clip", values="is_correct").dropna(axis="columns").astype(bool)
    assert float(auc_acc(curve.to_numpy(), grid).mean()) == pytest.approx(area, abs=1e-12)


def test_a_network_that_says_one_thing_only_is_found_out(clips: ClipSet) -> None:
    constant = M5(Architecture(labels=3, width=4, last_width=8, stride=16)).eval()
    with torch.no_grad():
        constant.head.weight.zero_()
        constant.head.bias.copy_(torch.tensor([0.0, 1.0, 0.0]))
    pitfalls = {finding.pitfall for finding in evaluate(constant, clips).findings}
    assert Pitfall.CONSTANT in pitfalls


def test_a_network_without_finite_logits_gives_no_outcomes(clips: ClipSet) -> None:
    broken = M5(Architecture(labels=3, width=4, last_width=8, stride=16)).eval()
    with torch.no_grad():
        broken.head.bias.fill_(torch.nan)
    with pytest.raises(NetworkError):
        evaluate(broken, clips)
