"""PGD against closed forms on linear networks, a slow loop, and objectives written to mislead it."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from toy_networks import Linear, noise_clips, tone_clips

from recognizer.attacks import Adversarial, Aim, Misclassify, frozen, pgd
from recognizer.defense import NetworkError
from recognizer.network import M5, Architecture

SAMPLES = 40


@pytest.fixture
def linear() -> Linear:
    return Linear(torch.randn(SAMPLES, generator=torch.Generator().manual_seed(1)), bias=0.1)


class Scripted:
    """An objective of the waveforms only, written for one test."""

    def __init__(self, loss: Callable[[Tensor], Tensor], is_broken: Callable[[Tensor], Tensor]) -> None:
        self.network = nn.Identity()
        self.loss, self.is_broken = loss, is_broken

    def __call__(self, waveforms: Tensor, labels: Tensor, rows: Tensor) -> Aim:
        del labels, rows
        return Aim(self.loss(waveforms), self.is_broken(waveforms.detach()))

    def scores(self, waveforms: Tensor, rows: Tensor) -> Tensor:
        raise NotImplementedError


def never(waveforms: Tensor) -> Tensor:
    return torch.zeros(len(waveforms), dtype=torch.bool)


def untrained() -> M5:
    torch.manual_seed(0)
    return M5(Architecture(labels=3, width=4, last_width=8, stride=4))


# Closed forms


@pytest.mark.parametrize("keep", ["best", "last"])
def test_on_a_linear_network_the_loss_grows_by_eps_times_the_weights_l1_norm(linear: Linear, keep: str) -> None:
    waveforms = noise_clips(10)
    labels = torch.arange(10) % 2
    found = pgd(Misclassify(linear), waveforms, labels, eps=0.05, steps=6, keep=keep, stop_when_broken=False)  # type: ignore[arg-type]
    towards = torch.where(labels == 1, -1.0, 1.0)
    most = 0.05 * linear.weight.detach().abs().sum()
    torch.testing.assert_close(found.loss, (towards * linear.gap(waveforms) + most).detach())
    expected = waveforms + 0.05 * towards[:, None] * linear.weight.detach().sign()
    torch.testing.assert_close(found.waveforms, expected)


def test_at_the_edge_of_the_range_only_the_way_inwards_counts(linear: Linear) -> None:
    waveforms = torch.where(noise_clips(6) > 0, 0.98, -0.98)
    found = pgd(Misclassify(linear), waveforms, torch.zeros(6, dtype=torch.long), eps=0.1, stop_when_broken=False)
    expected = (waveforms + 0.1 * linear.weight.detach().sign()).clamp(-1, 1)
    torch.testing.assert_close(found.waveforms, expected)


def test_breaks_the_clips_that_can_be_broken_and_no_other(linear: Linear) -> None:
    waveforms = noise_clips(200)
    labels = (linear.gap(waveforms) > 0).long()
    reach = 0.05 * float(linear.weight.detach().abs().sum())
    found = pgd(Misclassify(linear), waveforms, labels, eps=0.05)
    expected = linear.gap(waveforms).abs() < reach
    assert 20 < int(expected.sum()) < 180
    assert torch.equal(found.is_broken, expected)
    assert torch.equal((linear(found.waveforms).argmax(dim=1) != labels), expected)


def test_takes_the_fewest_steps_that_break_a_clip_and_all_of_them_otherwise(linear: Linear) -> None:
    waveforms = noise_clips(60)
    labels = (linear.gap(waveforms) > 0).long()
    found = pgd(Misclassify(linear), waveforms, labels, eps=0.05, steps=9, batch=7)
    stride = 0.01 * float(linear.weight.detach().abs().sum())
    for gap, steps, is_broken in zip(linear.gap(waveforms).tolist(), found.steps, found.is_broken, strict=True):
        assert int(steps) == (math.floor(abs(gap) / stride) + 1 if is_broken else 9)


def test_a_random_start_ends_at_the_same_optimum_and_follows_its_generator(linear: Linear) -> None:
    waveforms, labels = noise_clips(8), torch.ones(8, dtype=torch.long)

    def attack(steps: int, seed: int) -> Adversarial:
        generator = torch.Generator().manual_seed(seed)
        objective = Misclassify(linear)
        return pgd(objective, waveforms, labels, eps=0.05, steps=steps, random_start=generator, stop_when_broken=False)

    assert torch.equal(attack(0, 3).waveforms, attack(0, 3).waveforms)
    offset = attack(0, 3).waveforms - waveforms
    assert not torch.equal(attack(0, 4).waveforms - waveforms, offset)
    assert float(offset.abs().max()) <= 0.05 + 1e-7
    assert float(offset.std()) == pytest.approx(0.05 / math.sqrt(3), rel=0.1)  # that of the uniform distribution
    torch.testing.assert_close(attack(12, 3).waveforms, waveforms - 0.05 * linear.weight.detach().sign())


def test_a_saturated_soft_max_hides_nothing() -> None:
    """At logits of thousands cross-entropy has no gradient in float32; the log-odds that PGD climbs have."""
    linear = Linear(torch.randn(SAMPLES, generator=torch.Generator().manual_seed(1)), bias=3.0, scale=1e4)
    waveforms, labels = noise_clips(5), torch.ones(5, dtype=torch.long)
    here = waveforms.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(nn.functional.cross_entropy(linear(here), labels), here)
    assert not gradient.any()
    found = pgd(Misclassify(linear), waveforms, labels, eps=0.2)
    assert found.is_broken.all()
    assert not found.zero_gradients.any()


def test_the_loss_orders_as_cross_entropy_does() -> None:
    network, waveforms = untrained().eval(), noise_clips(9, 2000)
    labels = torch.arange(9) % 3
    loss = Misclassify(network)(waveforms, labels, labels).loss
    entropy = nn.functional.cross_entropy(network(waveforms), labels, reduction="none")
    torch.testing.assert_close(nn.functional.softplus(loss), entropy)


# The iterate that is kept


def test_the_last_update_is_scored_too() -> None:
    objective = Scripted(lambda x: x[:, 0], lambda x: x[:, 0] > 0.095)
    found = pgd(objective, torch.zeros(1, 3), torch.zeros(1, dtype=torch.long), eps=0.1, steps=5)
    assert (bool(found.is_broken), int(found.steps)) == (True, 5)
    assert float(found.loss) == pytest.approx(0.1)


def test_the_best_iterate_is_kept_and_the_last_if_asked_for() -> None:
    """The gradient always leads up, and the value falls beyond 0.05: steps of 0.02 pass the top at 0.04."""
    objective = Scripted(lambda x: x[:, 0] - (4 * x[:, 0] - 0.2).clamp(min=0).detach(), never)
    start, labels = torch.zeros(1, 3), torch.zeros(1, dtype=torch.long)
    best = pgd(objective, start, labels, eps=0.1, steps=5)
    last = pgd(objective, start, labels, eps=0.1, steps=5, keep="last")
    assert float(best.waveforms[0, 0]) == pytest.approx(0.04)
    assert float(last.waveforms[0, 0]) == pytest.approx(0.1)
    assert float(best.loss) == pytest.approx(0.04)
    assert float(last.loss) == pytest.approx(-0.1)


def test_a_broken_iterate_is_kept_before_an_unbroken_one_of_higher_loss() -> None:
    objective = Scripted(lambda x: x[:, 0], lambda x: (x[:, 0] - 0.04).abs() < 0.005)
    start, labels = torch.zeros(1, 3), torch.zeros(1, dtype=torch.long)
    best = pgd(objective, start, labels, eps=0.1, steps=5, stop_when_broken=False)
    assert bool(best.is_broken)
    assert float(best.waveforms[0, 0]) == pytest.approx(0.04)
    last = pgd(objective, start, labels, eps=0.1, steps=5, stop_when_broken=False, keep="last")
    assert not bool(last.is_broken)


def test_agrees_with_a_slow_loop_over_clips_whatever_the_batch(hears_tones: M5) -> None:
    waveforms, labels = tone_clips(9)
    expected = [slow_pgd(hears_tones, w, y, eps=0.05, steps=8) for w, y in zip(waveforms, labels, strict=True)]
    broken = [is_broken for is_broken, _ in expected]
    assert 0 < sum(broken) < 9
    for batch in (1, 4, 64):
        found = pgd(Misclassify(hears_tones), waveforms, labels, eps=0.05, steps=8, batch=batch)
        assert found.is_broken.tolist() == broken
        torch.testing.assert_close(found.loss, torch.tensor([loss for _, loss in expected]), rtol=0.02, atol=0.02)


def slow_pgd(network: nn.Module, waveform: Tensor, label: Tensor, *, eps: float, steps: int) -> tuple[bool, float]:
    """Whether one clip was broken, and the log-odds of an error at its best iterate."""
    here, best = waveform.clone(), (False, -math.inf)
    for step in range(steps + 1):
        here.requires_grad_()
        log_p = network(here[None]).log_softmax(dim=1)[0]
        wrong = torch.cat((log_p[:label], log_p[label + 1 :]))
        loss = wrong.exp().sum().log() - log_p[label]
        best = max(best, (bool(log_p.argmax() != label), float(loss.detach())))
        if best[0] or step == steps:
            break
        (gradient,) = torch.autograd.grad(nn.functional.cross_entropy(log_p[None], label[None]), here)
        here = here.detach() + eps / 5 * gradient.sign()
        here = torch.min(torch.max(here, waveform - eps), waveform + eps).clamp(-1, 1)
    return best


@pytest.mark.parametrize("eps", [0.0, 0.0001, 0.01, 0.3])
def test_stays_in_the_ball_and_in_the_range(eps: float) -> None:
    waveforms = noise_clips(5, 2000).mul(5).clamp(-1, 1)
    found = pgd(Misclassify(untrained()), waveforms, torch.zeros(5, dtype=torch.long), eps=eps, steps=7)
    assert (found.waveforms.shape, found.waveforms.dtype) == (waveforms.shape, torch.float32)
    assert float(found.waveforms.abs().max()) <= 1
    assert float((found.waveforms - waveforms).abs().max()) <= eps + 1e-7


def test_a_start_outside_the_ball_is_projected_into_it(linear: Linear) -> None:
    waveforms, labels = noise_clips(3), torch.zeros(3, dtype=torch.long)
    found = pgd(Misclassify(linear), waveforms, labels, eps=0.01, steps=0, start=waveforms + 0.5)
    torch.testing.assert_close(found.waveforms, waveforms + 0.01)


def test_no_steps_score_the_clean_clips(linear: Linear) -> None:
    waveforms = noise_clips(6)
    labels = torch.arange(6) % 2
    found = pgd(Misclassify(linear), waveforms, labels, eps=0, steps=0)
    assert torch.equal(found.waveforms, waveforms)
    assert torch.equal(found.is_broken, linear(waveforms).argmax(dim=1) != labels)
    assert not found.steps.any()


def test_no_clips_give_no_examples(linear: Linear) -> None:
    found = pgd(Misclassify(linear), torch.empty(0, SAMPLES), torch.empty(0, dtype=torch.long), eps=0.1)
    assert (found.waveforms.shape, found.is_broken.shape) == ((0, SAMPLES), (0,))


def test_steps_that_shrink_fall_geometrically_to_their_share() -> None:
    objective = Scripted(lambda x: (2 * x).sum(dim=1), never)

    def reach(steps: int, shrink_to: float) -> float:
        one, labels = torch.zeros(3, 2), torch.zeros(3, dtype=torch.long)
        found = pgd(objective, one, labels, eps=1, steps=steps, step_size=0.1, shrink_to=shrink_to, batch=2)
        assert bool((found.waveforms == found.waveforms[0, 0]).all())
        return float(found.waveforms[0, 0])

    assert reach(1, 0.01) == pytest.approx(0.1)
    assert reach(3, 0.01) == pytest.approx(0.1 + 0.01 + 0.001)
    assert reach(3, 1.0) == pytest.approx(0.3)


def test_steps_that_shrink_come_to_rest_on_a_ridge_that_others_swing_about() -> None:
    objective = Scripted(lambda x: -(x[:, 0] - 0.05).abs(), never)
    for shrink_to, least, most in ((1.0, 0.009, 0.04), (0.02, 0.0, 0.002)):
        found = pgd(
            objective,
            torch.zeros(1, 2),
            torch.zeros(1, dtype=torch.long),
            eps=0.2,
            steps=20,
            shrink_to=shrink_to,
            keep="last",
        )
        assert least <= abs(float(found.waveforms[0, 0]) - 0.05) <= most


# Gradients that lead nowhere


def test_counts_the_steps_without_a_gradient() -> None:
    """The loss stops growing at 0.05: of ten steps of 0.02, the first three move and the others find no gradient."""
    objective = Scripted(lambda x: x[:, 0].clamp(max=0.05), never)
    found = pgd(objective, torch.zeros(2, 3), torch.zeros(2, dtype=torch.long), eps=0.1, steps=10)
    assert found.zero_gradients.tolist() == pytest.approx([0.7, 0.7])
    assert found.steps.tolist() == [10, 10]


def test_a_silent_clip_has_no_finite_gradient_and_stays() -> None:
    waveforms = torch.stack((torch.zeros(2000), noise_clips(1, 2000)[0]))
    network = untrained().eval()
    labels = network(waveforms).argmax(dim=1)
    found = pgd(Misclassify(network), waveforms, labels, eps=1e-4, steps=5, stop_when_broken=False)
    assert found.zero_gradients.tolist() == [1, 0]
    assert torch.equal(found.waveforms[0], waveforms[0])
    assert bool(found.waveforms.isfinite().all())


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_loss_that_is_no_number_is_an_error(value: float) -> None:
    objective = Scripted(lambda x: x[:, 0] + value, never)
    with pytest.raises(NetworkError):
        pgd(objective, torch.zeros(2, 3), torch.zeros(2, dtype=torch.long), eps=0.1)


# The network is as it was


def state_of(network: nn.Module) -> tuple[list[bool], list[bool], dict[str, Tensor]]:
    modes = [module.training for module in network.modules()]
    flags = [parameter.requires_grad for parameter in network.parameters()]
    return modes, flags, {name: tensor.clone() for name, tensor in network.state_dict().items()}


@pytest.mark.parametrize("fails", [False, True])
def test_modes_flags_and_statistics_come_back_also_on_an_error(fails: bool) -> None:
    network = untrained().train()
    network.blocks[0].eval()
    network.head.bias.requires_grad_(False)
    before = state_of(network)

    def purify(waveforms: Tensor) -> Tensor:
        assert not any(module.training for module in network.modules())
        assert not any(parameter.requires_grad for parameter in network.parameters())
        return waveforms * (math.nan if fails else 1)

    def attack() -> None:
        objective = Misclassify(network, purify=purify)
        pgd(objective, noise_clips(4, 2000), torch.zeros(4, dtype=torch.long), eps=0.01, steps=2)

    if fails:
        with pytest.raises(NetworkError):
            attack()
    else:
        attack()
    after = state_of(network)
    assert after[:2] == before[:2]
    for name, tensor in before[2].items():
        assert torch.equal(after[2][name], tensor), name
    assert all(parameter.grad is None for parameter in network.parameters())


def test_frozen_may_be_nested() -> None:
    network = untrained().train()
    with frozen(network):
        with frozen(network):
            assert not network.training
        assert not network.training
    assert network.training


def test_a_network_in_training_mode_is_attacked_as_in_evaluation_mode() -> None:
    waveforms, labels = noise_clips(6, 2000), torch.zeros(6, dtype=torch.long)
    results = [
        pgd(Misclassify(untrained().train(mode)), waveforms, labels, eps=0.01, steps=3) for mode in (True, False)
    ]
    assert torch.equal(results[0].waveforms, results[1].waveforms)


def test_attacks_where_gradients_are_switched_off(linear: Linear) -> None:
    waveforms, labels = noise_clips(4), torch.ones(4, dtype=torch.long)
    with torch.no_grad():
        found = pgd(Misclassify(linear), waveforms, labels, eps=0.05, steps=5, stop_when_broken=False)
    torch.testing.assert_close(found.waveforms, waveforms - 0.05 * linear.weight.detach().sign())


# Bad input


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"waveforms": torch.full((2, SAMPLES), 1.01)}, r"leave \[-1, 1\]"),
        ({"waveforms": torch.full((2, SAMPLES), math.nan)}, "hold NaN"),
        ({"waveforms": torch.zeros(SAMPLES)}, "shapes"),
        ({"labels": torch.zeros(3, dtype=torch.long)}, "shapes"),
        ({"rows": torch.zeros(3, dtype=torch.long)}, "shapes"),
        ({"eps": -0.1}, "eps is -0.1"),
        ({"eps": math.nan}, "eps is nan"),
        ({"batch": 0}, "batch is 0"),
        ({"shrink_to": 0.0}, "shrink_to is 0.0"),
        ({"shrink_to": 1.5}, "shrink_to is 1.5"),
        ({"start": torch.zeros(2, SAMPLES), "random_start": torch.Generator()}, "starts at one place"),
    ],
)
def test_refuses_what_it_cannot_attack(linear: Linear, change: dict[str, object], words: str) -> None:
    arguments = {"waveforms": noise_clips(2), "labels": torch.zeros(2, dtype=torch.long), "eps": 0.1} | change
    with pytest.raises(ValueError, match=words):
        pgd(Misclassify(linear), **arguments)  # type: ignore[arg-type]
