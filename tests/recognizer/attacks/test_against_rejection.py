"""Attacks on recognisers that abstain: they succeed exactly where the defense itself says so."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from recognizer.attacks import CauseRejection, EvadeNeuralRejection, EvadeSmoothing, Misclassify, nested_sweep, pgd
from recognizer.attacks import against_rejection as module
from recognizer.decision import UNKNOWN, Outcome
from recognizer.network import M5, Architecture
from recognizer.neural_rejection import NeuralRejection, Score, SupportVectorMachine
from recognizer.smoothing import RandomizedSmoothing, noise

FEATURES = 8
SAMPLES = 2000
COMMANDS = ("go", "left", "right", "stop")


def clips(count: int, seed: int = 0) -> Tensor:
    return (0.2 * torch.randn(count, SAMPLES, generator=torch.Generator().manual_seed(seed))).clamp(-1, 1)


def ids(count: int) -> list[str]:
    return [f"clip {i}" for i in range(count)]


def untrained(labels: int = 4) -> M5:
    torch.manual_seed(3)
    return M5(Architecture(labels=labels, width=4, last_width=FEATURES, stride=4)).eval()


def rejection(
    labels: tuple[str, ...] = COMMANDS, threshold: float = 0.55, score: Score = Score.PROBABILITY
) -> NeuralRejection:
    """Neural rejection around the features of a few clips, each label's own."""
    network = untrained()
    with torch.inference_mode():
        features = network.features(clips(40, seed=9)).double()
    mean, scale = features.mean(dim=0), features.std(dim=0) + 1e-9
    dual = torch.nn.functional.one_hot(torch.arange(40) % len(labels), len(labels)).T.double() * 2 - 0.5
    machine = SupportVectorMachine(
        mean=mean,
        scale=scale,
        support=(features - mean) / scale,
        dual=dual,
        intercept=torch.linspace(-0.2, 0.2, len(labels), dtype=torch.float64),
        gamma=torch.tensor(1.0 / FEATURES, dtype=torch.float64),
        slope=-3 * torch.ones(len(labels), dtype=torch.float64),
        offset=torch.ones(len(labels), dtype=torch.float64),
    )
    return NeuralRejection(network, machine, labels, confidence_threshold=threshold, score=score)


class HalfSpace(nn.Module):
    """Label 1 where the first sample is above 0, else label 0; never label 2."""

    def __init__(self) -> None:
        super().__init__()
        self.slope = nn.Parameter(torch.tensor(40.0))

    def forward(self, waveforms: Tensor) -> Tensor:
        gap = self.slope * waveforms[:, 0]
        return torch.stack((-gap, gap, torch.full_like(gap, -99.0)), dim=1)


# Neural rejection


@pytest.mark.parametrize("labels", [COMMANDS, ("go", "left", UNKNOWN, "stop")])
@pytest.mark.parametrize("threshold", [0.0, 0.5, 0.55, 0.6, 1.0])
@pytest.mark.parametrize("score", Score)
def test_success_is_the_defenses_own_decision(labels: tuple[str, ...], threshold: float, score: Score) -> None:
    defense = rejection(labels, threshold, score)
    waveforms, truth = clips(60), torch.arange(60) % 4
    rows = torch.arange(60)
    decisions = defense.decide(waveforms, clip_ids=ids(60), seed=0)
    evaded = [d.command is not None and d.command != labels[k] for d, k in zip(decisions, truth, strict=True)]
    assert EvadeNeuralRejection(defense)(waveforms, truth, rows).is_broken.tolist() == evaded
    turned_away = [decision.outcome is Outcome.REJECTED for decision in decisions]
    assert CauseRejection(defense, clip_ids=ids(60), seed=0)(waveforms, truth, rows).is_broken.tolist() == turned_away
    if 0 < threshold < 1:
        assert any(evaded)
        assert any(turned_away)


@pytest.mark.parametrize("labels", [COMMANDS, ("go", "left", UNKNOWN, "stop")])
def test_the_loss_is_secmls_rule_until_it_succeeds(labels: tuple[str, ...]) -> None:
    """Climb s_c - s_k: k is the true label, or the reject class, whose score is the threshold, while rejected."""
    defense = rejection(labels, 0.55)
    waveforms, truth = clips(60), torch.arange(60) % 4
    loss, is_broken = EvadeNeuralRejection(defense)(waveforms, truth, truth)
    with torch.inference_mode():
        shares = defense.machine.probabilities(defense.network.features(waveforms)).tolist()
    kinds = set()
    for row, k, value, broken in zip(shares, truth.tolist(), loss.tolist(), is_broken.tolist(), strict=True):
        assert (value >= 0) == broken
        if not broken:
            rejects = max(row) < 0.55
            kinds.add(rejects)
            unknown = labels.index(UNKNOWN) if UNKNOWN in labels else None
            best = max(s for c, s in enumerate(row) if c not in (k, unknown))
            held_by = 0.55 if rejects else max(row[k], 0.0 if unknown is None else row[unknown])
            assert value == pytest.approx(best - held_by, abs=1e-6)
    assert kinds == {True, False}


def test_the_gradient_points_as_the_losss_own_does() -> None:
    """Against finite differences: only its length a clip is set."""
    defense = rejection()
    defense.network.double()
    here = clips(3).double().requires_grad_()
    truth = torch.tensor([0, 1, 2])
    (gradient,) = torch.autograd.grad(EvadeNeuralRejection(defense)(here, truth, truth).loss.sum(), here)

    def margin(waveforms: Tensor) -> Tensor:
        shares = defense.machine.probabilities(defense.network.features(waveforms))
        own = shares.gather(1, truth[:, None])[:, 0].clamp(min=0.55)
        return shares.scatter(1, truth[:, None], 0.0).amax(dim=1) - own

    (plain,) = torch.autograd.grad(margin(here).sum(), here)
    cosine = nn.functional.cosine_similarity(gradient, plain, dim=1)
    torch.testing.assert_close(cosine, torch.ones(3, dtype=torch.float64))


def test_far_from_the_training_data_the_direction_outlasts_float32() -> None:
    defense = rejection()
    machine = defense.machine
    with torch.inference_mode():
        features = defense.network.features(clips(1)).double()[0]
    away = math.sqrt(200 / float(machine.gamma))  # kernels of exp(-200), below any float32
    moved = SupportVectorMachine(**machine.tensors() | {"mean": features - away * machine.scale / math.sqrt(FEATURES)})
    far = NeuralRejection(defense.network, moved, COMMANDS, confidence_threshold=0.9)
    here = clips(1).requires_grad_()
    plain = moved.probabilities(far.network.features(here))[:, 1].sum()
    assert not torch.autograd.grad(plain, here)[0].any()
    loss = EvadeNeuralRejection(far)(here, torch.tensor([0]), torch.tensor([0])).loss
    (gradient,) = torch.autograd.grad(loss.sum(), here)
    assert bool(gradient.isfinite().all())
    assert gradient.any()


def test_an_attack_on_margins_climbs_even_where_all_of_them_are_negative() -> None:
    defense = rejection(score=Score.MARGIN)
    lowered = defense.machine.tensors() | {"intercept": defense.machine.intercept - 50}
    far = NeuralRejection(
        defense.network, SupportVectorMachine(**lowered), COMMANDS, confidence_threshold=0.5, score=Score.MARGIN
    )
    here = clips(3).requires_grad_()
    truth = torch.tensor([0, 1, 2])
    loss, is_broken = EvadeNeuralRejection(far)(here, truth, truth)
    with torch.no_grad():
        margins = far.machine.scores(far.network.features(here)).tolist()
    expected = [max(m for c, m in enumerate(row) if c != k) - 0.5 for row, k in zip(margins, [0, 1, 2], strict=True)]
    assert max(expected) < -40
    assert loss.tolist() == pytest.approx(expected, rel=1e-6)
    assert not is_broken.any()
    assert torch.autograd.grad(loss.sum(), here)[0].any(dim=1).all()


@pytest.mark.parametrize(("score", "threshold"), [(Score.PROBABILITY, 0.55), (Score.MARGIN, 0.9)])
def test_both_attackers_of_neural_rejection_get_what_they_want(score: Score, threshold: float) -> None:
    defense = rejection(threshold=threshold, score=score)
    waveforms, truth = clips(20), torch.arange(20) % 4
    evading = pgd(EvadeNeuralRejection(defense), waveforms, truth, eps=0.1, steps=20)
    decisions = defense.decide(evading.waveforms, clip_ids=ids(20), seed=0)
    wrong = [d.command is not None and d.command != COMMANDS[k] for d, k in zip(decisions, truth, strict=True)]
    assert wrong == evading.is_broken.tolist()
    assert sum(wrong) > int(EvadeNeuralRejection(defense)(waveforms, truth, truth).is_broken.sum())
    causing = pgd(CauseRejection(defense, clip_ids=ids(20), seed=0), waveforms, truth, eps=0.1, steps=20)
    decisions = defense.decide(causing.waveforms, clip_ids=ids(20), seed=0)
    assert [decision.outcome is Outcome.REJECTED for decision in decisions] == causing.is_broken.tolist()
    assert int(causing.is_broken.sum()) == 20


# Smoothing


def test_the_loss_is_that_of_the_mean_soft_max_over_the_draws() -> None:
    network, waveforms, truth = untrained(), clips(3), torch.tensor([0, 1, 3])
    objective = EvadeSmoothing(network, sigma=0.3, clip_ids=ids(9), seed=5, draws=6)
    rows = torch.tensor([4, 0, 8])
    for call in range(2):  # the second call's draws follow the first's
        aim = objective(waveforms, truth, rows)
        for clip, row in enumerate(rows.tolist()):
            drawn = noise(5, f"attacker\x00clip {row}", 6 * call, 6, SAMPLES)
            each = network(waveforms[clip] + 0.3 * drawn).double().softmax(dim=1)
            p = float(each.detach().mean(dim=0)[truth[clip]])
            assert float(aim.loss[clip].detach()) == pytest.approx(math.log((1 - p) / p), abs=1e-4)
            votes = np.bincount(each.argmax(dim=1).numpy(), minlength=4)
            assert bool(aim.is_broken[clip]) == (votes.argmax() != int(truth[clip]))


def test_draws_are_fresh_at_each_step_and_the_same_in_each_attack_whatever_the_batch() -> None:
    waveforms, truth = clips(5), torch.zeros(5, dtype=torch.long)

    def attack(seed: int, batch: int) -> Tensor:
        objective = EvadeSmoothing(untrained(), sigma=0.1, clip_ids=ids(5), seed=seed, draws=4)
        return pgd(objective, waveforms, truth, eps=0.01, steps=3, batch=batch, stop_when_broken=False).loss

    torch.testing.assert_close(attack(0, 5), attack(0, 2), rtol=1e-3, atol=1e-3)
    assert not torch.allclose(attack(0, 5), attack(1, 5), rtol=1e-3, atol=1e-3)
    objective = EvadeSmoothing(untrained(), sigma=0.1, clip_ids=ids(5), seed=0, draws=4)
    rows = torch.arange(5)
    assert not torch.equal(objective(waveforms, truth, rows).loss, objective(waveforms, truth, rows).loss)


def test_the_attacker_never_sees_the_defenses_draws() -> None:
    heard: list[Tensor] = []

    class Listens(HalfSpace):
        def forward(self, waveforms: Tensor) -> Tensor:
            heard.append(waveforms.detach().clone())
            return super().forward(waveforms)

    network, silence = Listens(), torch.zeros(1, 4)
    EvadeSmoothing(network, sigma=1.0, clip_ids=["clip"], seed=0)(silence, torch.tensor([0]), torch.tensor([0]))
    defense = RandomizedSmoothing(network, COMMANDS[:3], sigma=1.0)  # type: ignore[arg-type]
    defense.decide(silence, clip_ids=["clip"], seed=0)
    assert len(torch.cat(heard).unique(dim=0)) == 32 + 112  # the defense draws whole blocks of 16


def test_draws_in_parts_give_the_same_gradient(monkeypatch: pytest.MonkeyPatch) -> None:
    gradients = []
    for copies in (1024, 7):
        monkeypatch.setattr(module, "_COPIES", copies)
        objective = EvadeSmoothing(untrained(), sigma=0.1, clip_ids=ids(3), seed=0, draws=5)
        here = clips(3).requires_grad_()
        loss = objective(here, torch.tensor([0, 1, 2]), torch.arange(3)).loss
        gradients.append(torch.autograd.grad(loss.sum(), here)[0])
    torch.testing.assert_close(gradients[0], gradients[1], rtol=1e-3, atol=1e-6)


def test_expectation_over_noise_moves_the_vote_and_the_defense_accepts_a_wrong_command() -> None:
    """The vote's leader changes at 0; the stricter attacker goes on until the defense, too, would accept."""
    network = HalfSpace()
    defense = RandomizedSmoothing(network, COMMANDS[:3], sigma=0.1, draws=200)  # type: ignore[arg-type]
    waveforms, truth = torch.zeros(10, 4), torch.zeros(10, dtype=torch.long)
    waveforms[:, 0] = -0.1
    accepted = {}
    for error_alpha in (1.0, 1e-6):
        objective = EvadeSmoothing(network, sigma=0.1, clip_ids=ids(10), seed=0, error_alpha=error_alpha)
        found = pgd(objective, waveforms, truth, eps=0.25, steps=60, step_size=0.01)
        assert found.is_broken.all()
        decisions = defense.decide(found.waveforms, clip_ids=ids(10), seed=1)
        accepted[error_alpha] = sum(decision.command == "left" for decision in decisions)
    assert accepted[1.0] < accepted[1e-6] == 10


def test_being_taken_for_no_command_is_no_success() -> None:
    waveforms = torch.tensor([[0.5, 0.0], [-0.5, 0.0]])
    truth = torch.tensor([0, 2])
    for labels, expected in (
        (None, [True, True]),
        (("go", UNKNOWN, "left"), [False, True]),
        ((UNKNOWN, "go", "left"), [True, False]),
    ):
        objective = EvadeSmoothing(HalfSpace(), sigma=0.01, clip_ids=ids(2), seed=0, labels=labels)
        assert objective(waveforms, truth, torch.arange(2)).is_broken.tolist() == expected


@pytest.mark.parametrize("truth", [0, 1])
def test_a_tie_of_the_votes_is_no_plurality_whichever_label_stands_first(truth: int) -> None:
    class Alternates(HalfSpace):
        def forward(self, waveforms: Tensor) -> Tensor:
            signs = torch.where(torch.arange(len(waveforms)) % 2 == 0, 1.0, -1.0)
            return super().forward(signs[:, None].expand(-1, 1))

    objective = EvadeSmoothing(Alternates(), sigma=0.1, clip_ids=ids(1), seed=0, draws=8)
    assert not objective(torch.zeros(1, 4), torch.tensor([truth]), torch.tensor([0])).is_broken.any()
    objective = EvadeSmoothing(Alternates(), sigma=0.1, clip_ids=ids(1), seed=0, draws=9)  # five votes for label 1
    is_broken = objective(torch.zeros(1, 4), torch.tensor([truth]), torch.tensor([0])).is_broken
    assert is_broken.tolist() == [truth == 0]


@pytest.mark.parametrize("labels", [("go", UNKNOWN), (UNKNOWN, "go"), ("go",)])
def test_evasion_is_refused_where_no_wrong_command_exists(labels: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match="needs at least 2 commands"):
        EvadeSmoothing(HalfSpace(), sigma=0.1, clip_ids=ids(1), seed=0, labels=labels)
    with pytest.raises(ValueError, match="needs at least 2 commands"):
        EvadeNeuralRejection(rejection(labels))


def test_a_confirmed_sweep_goes_on_where_a_few_lucky_draws_end_the_attack() -> None:
    """Each clip can be rejected: at the largest eps the ball reaches the border, where the defense's votes tie."""
    defense = RandomizedSmoothing(HalfSpace(), COMMANDS[:3], sigma=0.1, draws=1000)  # type: ignore[arg-type]
    waveforms, truth = torch.zeros(12, 4), torch.zeros(12, dtype=torch.long)
    waveforms[:, 0] = torch.linspace(-0.28, 0.28, 12)

    def really_rejected(attacked: Tensor, names: list[str]) -> Tensor:
        decisions = defense.decide(attacked, clip_ids=names, seed=0)
        return torch.tensor([decision.outcome is Outcome.REJECTED for decision in decisions])

    def rehearse(attacked: Tensor, labels: Tensor, rows: Tensor) -> Tensor:
        assert torch.equal(labels, truth[rows])
        return really_rejected(attacked, [f"rehearsal {row}" for row in rows.tolist()])

    levels = {}
    for confirm in (None, rehearse):
        objective = CauseRejection(defense, clip_ids=ids(12), seed=0, draws=16)
        sweep = nested_sweep(objective, waveforms, truth, eps_grid=(0.1, 0.2, 0.3), steps=40, confirm=confirm)
        levels[confirm] = list(sweep)
    hoped, found = (really_rejected(levels[c][-1].adversarial.waveforms, ids(12)) for c in (None, rehearse))
    assert int(levels[None][-1].adversarial.is_broken.sum()) >= 10  # or so the lucky draws say
    assert int(hoped.sum()) <= 4
    assert int(found.sum()) >= 9
    for before, after in pairwise(levels[rehearse]):
        broken = before.adversarial.is_broken
        assert torch.equal(after.adversarial.waveforms[broken], before.adversarial.waveforms[broken])
        assert not after.adversarial.steps[broken].any()
        assert (after.adversarial.steps[~broken] == 40).all()
        assert bool(rehearse(after.adversarial.waveforms, truth, torch.arange(12))[after.adversarial.is_broken].all())


def test_causing_rejection_ties_the_vote_of_the_defense() -> None:
    network = HalfSpace()
    defense = RandomizedSmoothing(network, COMMANDS[:3], sigma=0.1, draws=100)  # type: ignore[arg-type]
    waveforms, truth = torch.zeros(12, 4), torch.zeros(12, dtype=torch.long)
    waveforms[:, 0] = torch.linspace(-0.3, 0.3, 12)
    objective = CauseRejection(defense, clip_ids=ids(12), seed=0, draws=64)
    before = defense.decide(waveforms, clip_ids=ids(12), seed=1)
    found = pgd(objective, waveforms, truth, eps=0.35, steps=80, step_size=0.01, stop_when_broken=False)
    after = defense.decide(found.waveforms, clip_ids=ids(12), seed=1)
    assert sum(decision.is_accepted for decision in before) == 12 - sum(d.outcome is Outcome.REJECTED for d in before)
    assert sum(decision.is_accepted for decision in before) >= 8
    assert found.is_broken.all()
    assert sum(decision.outcome is Outcome.REJECTED for decision in after) >= 10


def test_causing_rejection_of_smoothing_succeeds_where_no_command_leads() -> None:
    defense = RandomizedSmoothing(HalfSpace(), ("go", UNKNOWN, "left"), sigma=0.01, draws=50)  # type: ignore[arg-type]
    waveforms = torch.tensor([[0.5, 0.0], [-0.5, 0.0]])
    aim = CauseRejection(defense, clip_ids=ids(2), seed=0)(waveforms, torch.zeros(2), torch.arange(2))
    assert aim.is_broken.tolist() == [True, False]
    assert aim.loss[0] > 0 > aim.loss[1]
    assert [d.outcome is Outcome.REJECTED for d in defense.decide(waveforms, clip_ids=ids(2), seed=1)] == [True, False]


def test_refuses_to_attack_without_draws() -> None:
    with pytest.raises(ValueError, match="draws is 0"):
        EvadeSmoothing(HalfSpace(), sigma=0.1, clip_ids=ids(1), seed=0, draws=0)


def test_a_purifier_stands_before_the_network_and_is_attacked_through() -> None:
    network = HalfSpace()
    objective = Misclassify(network, purify=lambda waveforms: -waveforms)
    found = pgd(objective, torch.full((1, 3), -0.05), torch.tensor([1]), eps=0.1)
    assert bool(found.is_broken)
    assert int(network(-found.waveforms).argmax()) == 0
