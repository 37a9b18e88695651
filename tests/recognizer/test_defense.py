"""The plain network accepts its arg max, and nothing is decided on outputs that are no numbers."""

from __future__ import annotations

import math

import pytest
import torch
from scipy.special import softmax

from recognizer.decision import UNKNOWN, Reason
from recognizer.defense import DefenseName, NetworkError, Undefended, finite
from recognizer.network import M5, Architecture, predict_logits

LABELS = ("go", "left", UNKNOWN)


@pytest.fixture
def network() -> M5:
    torch.manual_seed(0)
    return M5(Architecture(labels=3, width=4, last_width=6, stride=1))


@pytest.fixture
def waveforms() -> torch.Tensor:
    return 0.1 * torch.randn(40, 600, generator=torch.Generator().manual_seed(0))


def test_accepts_the_arg_max_with_its_soft_max_probability(network: M5, waveforms: torch.Tensor) -> None:
    decisions = Undefended(network, LABELS).decide(waveforms, clip_ids=[""] * 40, seed=0)
    for logits, decision in zip(predict_logits(network, waveforms).numpy(), decisions, strict=True):
        leader = LABELS[int(logits.argmax())]
        assert decision.confidence == pytest.approx(softmax(logits).max(), rel=1e-5)
        assert decision.command == (None if leader == UNKNOWN else leader)
        assert decision.reason is (Reason.NOT_A_COMMAND if leader == UNKNOWN else Reason.OK)
        assert decision.certificate is None


def test_holds_the_network_in_evaluation_mode(network: M5) -> None:
    network.train()
    assert not Undefended(network, LABELS).network.training


def test_the_plain_network_ignores_seed_and_clip_ids(network: M5, waveforms: torch.Tensor) -> None:
    plain = Undefended(network, LABELS)
    assert plain.decide(waveforms, clip_ids=["a"] * 40, seed=0) == plain.decide(waveforms, clip_ids=["b"] * 40, seed=1)


def test_no_clips_give_no_decisions(network: M5) -> None:
    assert Undefended(network, LABELS).decide(torch.empty(0, 600), clip_ids=[], seed=0) == []


def test_a_network_with_nan_decides_nothing(network: M5, waveforms: torch.Tensor) -> None:
    torch.nn.init.constant_(network.head.bias, math.nan)
    with pytest.raises(NetworkError, match="NaN or infinity"):
        Undefended(network, LABELS).decide(waveforms, clip_ids=[""] * 40, seed=0)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_one_output_that_is_no_number_is_enough(value: float) -> None:
    outputs = torch.zeros(5, 3)
    assert finite(outputs) is outputs
    outputs[4, 2] = value
    with pytest.raises(NetworkError):
        finite(outputs)


def test_a_request_names_a_defense_by_these_words() -> None:
    assert [str(name) for name in DefenseName] == ["none", "neural_rejection", "smoothing"]
