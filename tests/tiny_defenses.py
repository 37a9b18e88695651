"""Tiny networks and the defenses on them, which disagree on some clips and abstain on others."""

from __future__ import annotations

import torch
from torch import Tensor

from recognizer.defense import DefenseName, Undefended
from recognizer.network import M5, Architecture
from recognizer.neural_rejection import NeuralRejection, SupportVectorMachine
from recognizer.smoothing import RandomizedSmoothing

FEATURES, SAMPLES = 8, 2000
COMMANDS = ("go", "left", "right", "stop")


def clips(count: int, seed: int = 0) -> Tensor:
    return (0.2 * torch.randn(count, SAMPLES, generator=torch.Generator().manual_seed(seed))).clamp(-1, 1)


def ids(count: int) -> list[str]:
    return [f"clip {i}" for i in range(count)]


def network(labels: int = 4, seed: int = 3) -> M5:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return M5(Architecture(labels=labels, width=4, last_width=FEATURES, stride=4)).eval()


def neural_rejection(labels: tuple[str, ...] = COMMANDS, threshold: float = 0.5) -> NeuralRejection:
    """Around the features of a few clips, each label's own."""
    heard = network()
    with torch.inference_mode():
        features = heard.features(clips(40, seed=9)).double()
    mean, scale = features.mean(dim=0), features.std(dim=0) + 1e-9
    machine = SupportVectorMachine(
        mean=mean,
        scale=scale,
        support=(features - mean) / scale,
        dual=torch.nn.functional.one_hot(torch.arange(40) % len(labels), len(labels)).T.double() * 2 - 0.5,
        intercept=torch.linspace(-0.2, 0.2, len(labels), dtype=torch.float64),
        gamma=torch.tensor(1.0 / FEATURES, dtype=torch.float64),
        slope=-3 * torch.ones(len(labels), dtype=torch.float64),
        offset=torch.ones(len(labels), dtype=torch.float64),
    )
    return NeuralRejection(heard, machine, labels, confidence_threshold=threshold)


def spread(heard: M5) -> M5:
    """The network with its logits centred over some clips, so that it gives every label to some of them."""
    with torch.no_grad():
        heard.head.bias -= heard(clips(40, seed=8)).mean(dim=0)
    return heard


def smoothing(labels: tuple[str, ...] = COMMANDS, sigma: float = 0.02, draws: int = 40) -> RandomizedSmoothing:
    """On a network of its own."""
    return RandomizedSmoothing(spread(network(seed=5)), labels, sigma=sigma, error_alpha=0.01, draws=draws)


def singles(
    labels: tuple[str, ...] = COMMANDS,
) -> dict[DefenseName, Undefended | NeuralRejection | RandomizedSmoothing]:
    return {
        DefenseName.NONE: Undefended(network(), labels),
        DefenseName.NEURAL_REJECTION: neural_rejection(labels),
        DefenseName.SMOOTHING: smoothing(labels),
    }
