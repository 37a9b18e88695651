"""M5 against its published sizes and an independent forward pass written with numpy."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from pydantic import ValidationError
from torch import Tensor, nn

from benchmarks.cohen import published
from recognizer.network import (
    ARCHITECTURES,
    M5,
    Architecture,
    ArchitectureName,
    architecture,
    parameters_of,
    predict_logits,
    standardise,
)

Array = NDArray[np.float64]
TINY = Architecture(labels=3, width=4, last_width=6, stride=1)
TINY_SAMPLES = 640


def randomised(config: Architecture, seed: int = 0) -> M5:
    """A network whose batch norms have statistics of their own, as trained ones do."""
    torch.manual_seed(seed)
    network = M5(config)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.running_mean)
            nn.init.uniform_(module.running_var, 0.5, 2.0)
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias)
    return network.eval()


def clips(count: int, samples: int = TINY_SAMPLES, seed: int = 0) -> Tensor:
    return 0.3 * torch.randn(count, samples, generator=torch.Generator().manual_seed(seed))


def numpy_m5(network: M5, waveforms: Array) -> tuple[Array, Array]:
    """Features and logits by the definition: standardise; 4 x (convolve, normalise, activate, pool); mean; linear."""
    weights = {name: tensor.double().numpy() for name, tensor in network.state_dict().items()}
    config = network.config
    step = 3 if config.tricks else 4
    x = (waveforms - waveforms.mean(axis=1, keepdims=True)) / (waveforms.std(axis=1, keepdims=True) + 1e-5)
    x = x[:, None, :]
    for block in range(4):
        name = "frames" if block == 0 else f"blocks.{step * block - 1}"
        kernel, bias = weights[f"{name}.weight"], weights[f"{name}.bias"]
        kernel = kernel.reshape(len(kernel), x.shape[1], -1)
        windows = sliding_window_view(x, kernel.shape[2], axis=2)[:, :, :: config.stride if block == 0 else 1]
        x = np.einsum("bilk,oik->bol", windows, kernel, optimize=True) + bias[:, None]
        if config.tricks:
            x = x / (1 + np.exp(-x))
        else:
            mean, variance, weight, shift = (
                weights[f"blocks.{step * block}.{name}"][:, None]
                for name in ("running_mean", "running_var", "weight", "bias")
            )
            x = np.maximum((x - mean) / np.sqrt(variance + 1e-5) * weight + shift, 0)
        whole = x.shape[2] // 4 * 4
        x = x[:, :, :whole].reshape(*x.shape[:2], -1, 4).max(axis=3)
    features = x.mean(axis=2)
    return features, features @ weights["head.weight"].T + weights["head.bias"]


@pytest.mark.parametrize(
    ("name", "parameters"),
    [("m5", 559_114), ("m5-small", 25_290), ("m5-tricks", 557_066), ("m5-small-tricks", 24_906)],
)
def test_parameters_are_as_published_at_ten_classes(name: ArchitectureName, parameters: int) -> None:
    assert parameters_of(M5(architecture(name, 10))) == parameters


@pytest.mark.parametrize(("name", "expected"), [("m5", 136_961_024), ("m5-small", 3_819_136)])
def test_multiply_adds_of_one_second_are_as_published(name: ArchitectureName, expected: int) -> None:
    network = M5(architecture(name, 10)).eval()
    counted = []

    def count(module: nn.Module, _: tuple[Tensor, ...], output: Tensor) -> None:
        assert isinstance(module, (nn.Conv2d, nn.Linear))
        counted.append(output[0].numel() * module.weight[0].numel())

    for module in network.modules():
        if isinstance(module, (nn.Conv2d, nn.Linear)):
            module.register_forward_hook(count)
    with torch.inference_mode():
        network(torch.zeros(1, 16_000))
    assert sum(counted) == expected


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_every_named_architecture_equals_the_numpy_forward(name: ArchitectureName) -> None:
    network = randomised(architecture(name, 5))
    waveforms = clips(2, 2048 if network.config.stride == 4 else 8000)
    features, logits = numpy_m5(network, waveforms.double().numpy())
    with torch.inference_mode():
        np.testing.assert_allclose(network.features(waveforms), features, rtol=1e-4, atol=1e-4)
        np.testing.assert_allclose(network(waveforms), logits, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_gradients_equal_those_of_one_dimensional_convolutions(name: ArchitectureName) -> None:
    network = randomised(architecture(name, 5))
    waveforms = clips(3, 8000)
    mine, theirs = waveforms.clone().requires_grad_(), waveforms.clone().requires_grad_()
    network(mine).square().sum().backward()
    published(network)(theirs).square().sum().backward()
    assert mine.grad is not None
    assert theirs.grad is not None
    scale = float(theirs.grad.abs().max())
    torch.testing.assert_close(mine.grad, theirs.grad, rtol=1e-4, atol=1e-4 * scale)


def test_tricks_have_no_batch_norm_and_silu() -> None:
    kinds = {type(m) for m in M5(architecture("m5-tricks", 4)).modules()}
    assert nn.SiLU in kinds
    assert not kinds & {nn.ReLU, nn.BatchNorm2d}


@pytest.mark.parametrize("gain", [0.05, 0.5, 3.0])
@pytest.mark.parametrize("offset", [-0.2, 0.4])
def test_logits_ignore_gain_and_offset(gain: float, offset: float) -> None:
    network, waveforms = randomised(TINY), clips(4)
    expected = predict_logits(network, waveforms)
    torch.testing.assert_close(predict_logits(network, gain * waveforms + offset), expected, rtol=1e-2, atol=1e-2)


def test_standardised_clips_have_mean_0_and_deviation_1() -> None:
    out = standardise(clips(5) * 0.1 + 0.5).double().numpy()
    np.testing.assert_allclose(out.mean(axis=1), 0, atol=1e-5)
    np.testing.assert_allclose(out.std(axis=1), 1, atol=1e-3)


@pytest.mark.parametrize("value", [0.0, 1e-6, 0.3, 1.0])
def test_a_constant_clip_gives_the_logits_of_silence(value: float) -> None:
    network = randomised(TINY)
    logits = predict_logits(network, torch.full((1, TINY_SAMPLES), value))
    assert logits.isfinite().all()
    torch.testing.assert_close(logits, predict_logits(network, torch.zeros(1, TINY_SAMPLES)), rtol=0.05, atol=0.05)


def test_a_clip_of_its_own_gets_the_logits_it_gets_in_a_batch() -> None:
    network, waveforms = randomised(TINY), clips(7)
    together = predict_logits(network, waveforms)
    assert predict_logits(network, waveforms[:1]).shape == (1, 3)
    for batch in (1, 2, 7, 100):
        torch.testing.assert_close(predict_logits(network, waveforms, batch=batch), together, rtol=1e-4, atol=1e-5)


def test_no_clips_give_no_logits() -> None:
    assert predict_logits(randomised(TINY), torch.empty(0, TINY_SAMPLES)).shape == (0, 3)


@pytest.mark.parametrize("training", [True, False])
def test_predicting_uses_evaluation_mode_and_restores_the_mode(training: bool) -> None:
    network, waveforms = randomised(TINY), clips(4)
    expected = predict_logits(network, waveforms)
    statistics = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    network.train(training)
    torch.testing.assert_close(predict_logits(network, waveforms), expected)
    assert network.training is training
    for name, tensor in network.state_dict().items():
        torch.testing.assert_close(tensor, statistics[name], rtol=0, atol=0)


def test_the_mode_is_restored_when_the_network_fails() -> None:
    network = randomised(TINY).train()
    with pytest.raises(RuntimeError):
        predict_logits(network, torch.zeros(1, 10))  # shorter than the first kernel
    assert network.training


@pytest.mark.parametrize("wrong", [{"labels": 1}, {"labels": 3, "stride": 0}, {"labels": 3, "depth": 9}])
def test_refuses_an_architecture_that_can_not_be(wrong: dict[str, int]) -> None:
    with pytest.raises(ValidationError):
        Architecture(**wrong)
