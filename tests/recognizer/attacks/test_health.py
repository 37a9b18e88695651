"""Each pitfall one step before its threshold and one step after; whole networks that are healthy, and that are not."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from toy_networks import Constant, Quantised, tone_clips

from recognizer.attacks import (
    EPS_GRID,
    EvadeSmoothing,
    Level,
    Misclassify,
    Pitfall,
    check_health,
    nested_sweep,
    paper_sweep,
)
from recognizer.attacks.pitfalls import (
    Finding,
    check_black_box,
    check_chance,
    check_constant,
    check_convergence,
    check_monotone,
    check_survivors,
    check_zero_gradients,
)
from recognizer.network import M5


def first(true: int, of: int = 100) -> Tensor:
    return torch.arange(of) < true


def assert_finds(finding: Finding | None, pitfall: Pitfall, *numbers: str) -> None:
    """The finding is of that pitfall, and its words name what was seen and what is allowed."""
    assert finding is not None
    assert finding.pitfall is pitfall
    for number in numbers:
        assert number in finding.detail


# One step before, one step after


def test_zero_gradients() -> None:
    nobody, steps = first(0), torch.full((100,), 20)
    assert check_zero_gradients(first(5).float(), steps, nobody) is None
    assert_finds(check_zero_gradients(first(6).float(), steps, nobody), Pitfall.ZERO_GRADIENTS, "6.0%", "5%")


def test_zero_gradients_of_broken_clips_and_of_clips_without_steps_do_not_count() -> None:
    steps = torch.full((100,), 20)
    assert check_zero_gradients(first(50).float(), steps, first(50)) is None
    assert check_zero_gradients(torch.ones(100), torch.zeros(100, dtype=torch.long), first(0)) is None


def test_monotone() -> None:
    eps = (0.0, 0.1, 0.2)
    assert check_monotone(torch.stack((first(10), first(80), first(78))), eps) is None
    falls = check_monotone(torch.stack((first(10), first(80), first(77))), eps)
    assert_finds(falls, Pitfall.NOT_MONOTONE, "3.0%", "2%", "eps = 0.1 to 0.2")
    assert check_monotone(first(10)[None], (0.0,)) is None


def test_survivors() -> None:
    assert check_survivors(first(99), 0.3) is None
    assert_finds(check_survivors(first(98), 0.3), Pitfall.SURVIVORS, "2.0%", "1%", "0.3")
    assert check_survivors(first(0), 0.2) is None  # such an eps may well be survived


def test_convergence() -> None:
    assert check_convergence(first(50), first(55), 0.1) is None
    assert_finds(check_convergence(first(50), first(56), 0.1), Pitfall.NOT_CONVERGED, "6.0%", "5%", "0.1")
    assert check_convergence(first(50), first(0), 0.1) is None


def test_black_box() -> None:
    assert check_black_box(first(50), first(55), 0.1) is None
    assert_finds(check_black_box(first(50), first(56), 0.1), Pitfall.BLACK_BOX_STRONGER, "6.0%", "5%", "0.1")
    assert check_black_box(first(60), ~first(60) & first(65), 0.1) is None


def test_chance() -> None:
    labels = torch.zeros(100, dtype=torch.long)
    assert check_chance((~first(12)).long(), labels, 10) is None
    assert_finds(check_chance((~first(11)).long(), labels, 10), Pitfall.CHANCE_LEVEL, "0.1100", "1.1 x chance")


def test_constant() -> None:
    labels = torch.arange(100) % 4
    assert check_constant(first(94).long(), labels) is None
    assert_finds(check_constant(first(95).long(), labels), Pitfall.CONSTANT, "95.0%", "95%")
    assert check_constant(first(100).long(), torch.ones(100, dtype=torch.long)) is None  # right of clips of one label


# Whole networks


def swept(network: nn.Module, *, steps: int = 20) -> tuple[Misclassify, Tensor, Tensor, list[Level]]:
    waveforms, labels = tone_clips(18)
    objective = Misclassify(network)
    return objective, waveforms, labels, list(nested_sweep(objective, waveforms, labels, steps=steps))


def found_in(network: nn.Module) -> set[Pitfall]:
    objective, waveforms, labels, levels = swept(network)
    findings = check_health(objective, waveforms, labels, levels, steps=20, sample=12, queries=100)
    return {finding.pitfall for finding in findings}


def test_a_healthy_network_gives_no_finding(hears_tones: M5) -> None:
    assert found_in(hears_tones) == set()


def test_a_network_that_masks_its_gradients_is_found_out(hears_tones: M5) -> None:
    """Rounding defends nothing, and PGD breaks nothing: clean accuracy 1, and 1 at each eps.

    A table of accuracies alone would rank such a network above every hardened one.
    """
    objective, waveforms, labels, levels = swept(Quantised(hears_tones, 256))
    assert not levels[-1].adversarial.is_broken.any()
    findings = check_health(objective, waveforms, labels, levels, steps=20, sample=12, queries=100)
    assert {finding.pitfall for finding in findings} == {
        Pitfall.ZERO_GRADIENTS,
        Pitfall.SURVIVORS,
        Pitfall.BLACK_BOX_STRONGER,
    }


def test_a_constant_network_is_at_chance_and_constant() -> None:
    """No attack changes its accuracy, so its AUC of 0.3 / K outranks networks that work."""
    assert {Pitfall.CHANCE_LEVEL, Pitfall.CONSTANT, Pitfall.SURVIVORS} <= found_in(Constant(3))


@pytest.mark.parametrize("defended", [False, True])
def test_a_purifier_that_gives_a_constant_is_as_bad_as_a_constant_network(hears_tones: M5, defended: bool) -> None:
    """Behind it a good network is right of one label's clips, and no attack changes that."""
    waveforms, labels = tone_clips(18)
    objective = Misclassify(hears_tones, purify=(lambda heard: 0 * heard + waveforms[:1]) if defended else None)
    levels = list(nested_sweep(objective, waveforms, labels, eps_grid=(0.3,), steps=5))
    findings = check_health(objective, waveforms, labels, levels, steps=5, sample=6, queries=5)
    expected = {Pitfall.CHANCE_LEVEL, Pitfall.CONSTANT}
    assert {finding.pitfall for finding in findings} & expected == (expected if defended else set())


def test_smoothings_predictions_are_judged_under_its_noise(hears_tones: M5) -> None:
    """Noise that drowns the tones leaves one label, though the network alone is right of all."""
    waveforms, labels = tone_clips(9)
    found = {}
    for sigma in (0.001, 1e3):
        objective = EvadeSmoothing(hears_tones, sigma=sigma, clip_ids=[str(i) for i in range(9)], seed=0, draws=16)
        levels = list(nested_sweep(objective, waveforms, labels, eps_grid=(0.0001,), steps=1))
        findings = check_health(objective, waveforms, labels, levels, steps=1, sample=3, queries=1)
        found[sigma] = {finding.pitfall for finding in findings} & {Pitfall.CHANCE_LEVEL, Pitfall.CONSTANT}
    assert found == {0.001: set(), 1e3: {Pitfall.CHANCE_LEVEL, Pitfall.CONSTANT}}


def test_collapse_to_one_label_under_attack_is_found_by_its_survivors() -> None:
    """A made-up curve that ends at chance and not at 0, with the area that the paper reports of its undefended M5-T.

    The paper prints no curve: whether its network collapsed like this, or masks its gradients, can't be known.
    """
    accuracy = (0.9738, 0.97, 0.89, 0.09, 0.0664, 0.055, 0.05)
    grid = (0.0, *EPS_GRID)
    area = sum((b - a) * (f + g) / 2 for a, b, f, g in zip(grid, grid[1:], accuracy, accuracy[1:], strict=False))
    assert area == pytest.approx(0.0237, abs=1e-4)
    clips = 1000
    assert_finds(check_survivors(first(clips - round(clips * accuracy[-1]), clips), grid[-1]), Pitfall.SURVIVORS)


def test_an_attack_with_too_few_steps_has_not_converged(hears_tones: M5) -> None:
    waveforms, labels = tone_clips(18)
    objective = Misclassify(hears_tones)
    levels = list(nested_sweep(objective, waveforms, labels, eps_grid=(0.07,), steps=3))
    findings = check_health(objective, waveforms, labels, levels, steps=3, sample=18, queries=1)
    assert Pitfall.NOT_CONVERGED in {finding.pitfall for finding in findings}


def test_takes_the_papers_sweep_too(hears_tones: M5) -> None:
    waveforms, labels = tone_clips(9)
    objective = Misclassify(hears_tones)
    levels = list(paper_sweep(objective, waveforms, labels, steps=10))
    check_health(objective, waveforms, labels, levels, steps=10, sample=6, queries=20)


def test_costs_a_fraction_of_the_sweep(hears_tones: M5) -> None:
    """In clips that pass through the network; a way back costs about two ways there."""
    passed = 0

    class Counts(Misclassify):
        def __call__(self, waveforms: Tensor, labels: Tensor, rows: Tensor):  # type: ignore[no-untyped-def]
            nonlocal passed
            passed += len(waveforms) * (3 if torch.is_grad_enabled() else 1)
            return super().__call__(waveforms, labels, rows)

    waveforms, labels = tone_clips(48)
    objective = Counts(hears_tones)
    levels = list(nested_sweep(objective, waveforms, labels, steps=30))
    sweep, passed = passed, 0
    check_health(objective, waveforms, labels, levels, steps=30, sample=12, queries=30)
    assert 0 < passed < sweep / 2


def test_asks_for_the_clips_of_the_sweep(hears_tones: M5) -> None:
    objective, waveforms, labels, levels = swept(hears_tones, steps=1)
    with pytest.raises(ValueError, match="give the sweep of these 9 clips"):
        check_health(objective, waveforms[:9], labels[:9], levels)
    for wrong in ({"levels": []}, {"levels": levels, "sample": 0}):
        with pytest.raises(ValueError, match="give the sweep"):
            check_health(objective, waveforms, labels, **wrong)  # type: ignore[arg-type]
