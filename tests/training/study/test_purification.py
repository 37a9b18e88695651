"""Purifiers under both attackers: the adaptive one is never the weaker, and BPDA undoes quantisation."""

from __future__ import annotations

import pandas as pd
import pytest
import torch

from recognizer.manifest import Manifest
from recognizer.network import M5, Architecture
from recognizer.purification import purifier
from training.dataset import ClipSet
from training.study.purification import attack_purified
from training.study.settings import StudySettings

SETTINGS = StudySettings(purification_eps=(0.005, 0.05), steps=8)


@pytest.fixture(scope="module")
def network() -> M5:
    torch.manual_seed(0)
    return M5(Architecture(labels=3, width=4, last_width=8, stride=16)).eval()


@pytest.fixture(scope="module")
def clips(network: M5) -> ClipSet:
    """Noise labelled as the network hears it."""
    waveforms = 0.2 * torch.randn(16, 8000, generator=torch.Generator().manual_seed(0)).clamp(-4, 4)
    with torch.inference_mode():
        targets = network(waveforms).argmax(dim=1)
    table = pd.DataFrame({"path": [f"/c/s/{i}.wav" for i in range(16)]})
    return ClipSet(waveforms, targets.clone(), Manifest(table, ()))


def share(table: pd.DataFrame) -> dict[tuple[str, float], float]:
    return table.groupby(["attack", "eps"])["is_correct"].mean().to_dict()


@pytest.mark.parametrize("name", ["quantisation", "low_pass", "spectral_gate", "vorbis"])
def test_who_knows_of_the_purifier_breaks_at_least_what_who_does_not(network: M5, clips: ClipSet, name: str) -> None:
    table = attack_purified(network, purifier(name), clips, SETTINGS)
    assert list(table) == ["purifier", "attack", "eps", "clip", "is_correct"]
    assert set(table["purifier"]) == {name}
    wide = table.pivot(index=["eps", "clip"], columns="attack", values="is_correct")
    assert len(wide) == 3 * 16
    assert (wide["adaptive"] <= wide["oblivious"]).all()


def test_who_knows_of_a_low_pass_breaks_clips_that_who_does_not_can_not(network: M5, clips: ClipSet) -> None:
    shares = share(attack_purified(network, purifier("low_pass"), clips, SETTINGS))
    assert shares["oblivious", 0.05] > 0.5
    assert shares["adaptive", 0.05] < 0.5 * shares["oblivious", 0.05]


def test_clean_clips_are_judged_behind_the_purifier(network: M5, clips: ClipSet) -> None:
    coarse = purifier("quantisation", bits=2)
    table = attack_purified(network, coarse, clips, SETTINGS)
    with torch.inference_mode():
        expected = network(coarse(clips.waveforms)).argmax(dim=1) == clips.targets
    for attack in ("oblivious", "adaptive"):
        clean = table[(table["eps"] == 0) & (table["attack"] == attack)]
        assert clean["is_correct"].tolist() == expected.tolist()


def test_quantisation_without_a_gradient_is_broken_by_one_who_knows(network: M5, clips: ClipSet) -> None:
    shares = share(attack_purified(network, purifier("quantisation", bits=5), clips, SETTINGS))
    assert shares["adaptive", 0.05] < 0.5 * shares["adaptive", 0.0]


def test_the_network_stays_in_evaluation_mode(network: M5, clips: ClipSet) -> None:
    attack_purified(network, purifier("quantisation"), clips, SETTINGS)
    assert not any(module.training for module in network.modules())
