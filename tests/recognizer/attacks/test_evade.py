"""Evasion of any defense of a bundle succeeds where that defense itself accepts a wrong command."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
from scipy.stats import binomtest
from tiny_defenses import COMMANDS, clips, ids, network, neural_rejection, singles, smoothing, spread
from torch import Tensor

from recognizer.attacks import (
    EvadeCombined,
    EvadeNeuralRejection,
    EvadeSmoothing,
    Misclassify,
    ThroughPurifiers,
    evade,
    pgd,
)
from recognizer.attacks.against_rejection import NoisyCopies
from recognizer.attacks.health import check_health
from recognizer.attacks.pitfalls import Pitfall
from recognizer.attacks.sweep import nested_sweep
from recognizer.combined import Combined, PurifiedInput, assemble
from recognizer.decision import UNKNOWN, Reason
from recognizer.defense import Defense, Undefended
from recognizer.purification import purifier
from recognizer.smoothing import RandomizedSmoothing
from recognizer.steps import steps_of

WITH_UNKNOWN = ("go", "left", UNKNOWN, "stop")


def unanimous(labels: tuple[str, ...]) -> RandomizedSmoothing:
    """Smoothing under so little noise that its vote is its network's arg max, whoever draws."""
    return RandomizedSmoothing(spread(network(seed=5)), labels, sigma=1e-6, error_alpha=0.01, draws=40)


def defense_of(name: str, labels: tuple[str, ...]) -> Defense:
    parts = {**singles(labels), "smoothing": unanimous(labels)}
    purifiers = {step: purifier(step) for step in ("low_pass", "quantisation")}
    return assemble(steps_of(name), singles=parts, purifiers=purifiers, ask_all=True)


def is_evaded(defense: Defense, waveforms: Tensor, truth: Tensor, labels: Sequence[str]) -> list[bool]:
    """The defense's own word: it accepts, and not what was said."""
    decisions = defense.decide(waveforms, clip_ids=ids(len(waveforms)), seed=7)
    return [d.command is not None and d.command != labels[k] for d, k in zip(decisions, truth.tolist(), strict=True)]


@pytest.mark.parametrize("labels", [COMMANDS, WITH_UNKNOWN])
@pytest.mark.parametrize(
    "name",
    [
        "none",
        "neural_rejection",
        "smoothing",
        "neural_rejection.smoothing",
        "quantisation",
        "low_pass.neural_rejection",
        "low_pass.quantisation.smoothing",
        "quantisation.neural_rejection.smoothing",
    ],
)
def test_success_is_the_defenses_own_decision(name: str, labels: tuple[str, ...]) -> None:
    defense = defense_of(name, labels)
    waveforms, truth = clips(80), torch.arange(80) % 4
    objective = evade(defense, clip_ids=ids(80), seed=0, draws=8)
    aim = objective(waveforms, truth, torch.arange(80))
    evaded = is_evaded(defense, waveforms, truth, labels)
    assert aim.is_broken.tolist() == evaded
    assert 0 < sum(evaded) < 80


def test_an_attack_on_smoothing_is_not_content_with_where_smoothing_abstains() -> None:
    """It goes on until its own votes pass the defense's test or, where they are too few for that, are unanimous."""
    voting, waveforms = smoothing(sigma=0.05), clips(80)
    truth, rows = torch.arange(80) % 4, torch.arange(80)
    for draws, level in ((30, voting.error_alpha), (4, 2.0**-3)):
        aim = evade(voting, clip_ids=ids(80), seed=0, draws=draws)(waveforms, truth, rows)
        copies = NoisyCopies(voting.network, sigma=voting.sigma, clip_ids=ids(80), seed=0, draws=draws)
        with torch.no_grad():
            leaders = copies(waveforms, rows).argmax(dim=2)
        broken, plurality = [], []
        for votes, label in zip(leaders.tolist(), truth.tolist(), strict=True):
            counts = [votes.count(k) for k in range(4)]
            second, first = sorted(counts)[-2:]
            plurality.append(first > second and counts.index(first) != label)
            broken.append(plurality[-1] and binomtest(first, first + second).pvalue <= level)
        assert aim.is_broken.tolist() == broken
        assert 0 < sum(broken) < sum(plurality)


def test_each_defense_has_its_attack() -> None:
    wanted = {
        "none": Misclassify,
        "neural_rejection": EvadeNeuralRejection,
        "smoothing": EvadeSmoothing,
        "neural_rejection.smoothing": EvadeCombined,
        "low_pass": ThroughPurifiers,
    }
    for name, kind in wanted.items():
        assert type(evade(defense_of(name, COMMANDS), clip_ids=ids(1), seed=0)) is kind

    class Stranger(Undefended):
        """One more, of nobody's bundle."""

    strange = Combined([Stranger(network(), COMMANDS), smoothing()], ask_all=True)
    with pytest.raises(TypeError, match="no attack on a Stranger"):
        evade(strange, clip_ids=ids(1), seed=0)


@pytest.mark.parametrize("labels", [COMMANDS, WITH_UNKNOWN])
def test_the_loss_on_a_combination_is_of_the_command_that_is_nearest_to_being_done_by_both(
    labels: tuple[str, ...],
) -> None:
    """Literally, command by command; with votes that all draws share."""
    rejecting, voting = neural_rejection(labels), unanimous(labels)
    waveforms, truth = clips(30), torch.arange(30) % 4
    objective = evade(Combined([rejecting, voting], ask_all=True), clip_ids=ids(30), seed=0, draws=2)
    loss, is_broken = (tensor.detach() for tensor in objective(waveforms, truth, torch.arange(30)))
    with torch.inference_mode():
        shares = rejecting.machine.probabilities(rejecting.network.features(waveforms)).tolist()
        logs = voting.network(waveforms).double().log_softmax(dim=1).tolist()
    for clip in range(30):
        leads = []
        for command in range(4):
            if command != int(truth[clip]) and labels[command] != UNKNOWN:
                others = [k for k in range(4) if k != command]
                by_rejection = shares[clip][command] - max(0.5, *(shares[clip][k] for k in others))
                by_vote = logs[clip][command] - max(logs[clip][k] for k in others)
                leads.append(min(by_rejection, by_vote))
        assert float(loss[clip]) == pytest.approx(max(leads), abs=1e-3)
        assert bool(is_broken[clip]) == (max(leads) >= 0)


def test_parts_that_fall_for_different_commands_are_not_evaded() -> None:
    rejecting, voting = neural_rejection(), unanimous(COMMANDS)
    both = Combined([rejecting, voting], ask_all=True)
    waveforms = clips(80)
    decisions = both.decide(waveforms, clip_ids=ids(80), seed=0)
    torn = [i for i, decision in enumerate(decisions) if decision.reason is Reason.DISAGREEMENT]
    heard = [{part.decision.command for part in decisions[i].parts} for i in torn]
    truth = torch.tensor([next(k for k, c in enumerate(COMMANDS) if c not in said) for said in heard])
    rows = torch.arange(len(torn))
    each = [evade(part, clip_ids=ids(80), seed=0)(waveforms[torn], truth, rows) for part in both.parts]
    together = evade(both, clip_ids=ids(80), seed=0)(waveforms[torn], truth, rows)
    assert len(torn) > 5
    assert all(bool(aim.is_broken.all()) for aim in each)  # each part by itself is
    assert not together.is_broken.any()
    assert (together.loss < 0).all()


def test_an_attack_on_both_parts_gets_past_both_and_one_on_a_single_part_does_not() -> None:
    rejecting, voting = neural_rejection(), smoothing()
    both = Combined([rejecting, voting], ask_all=True)
    waveforms, truth = clips(24, seed=2), torch.arange(24) % 4
    past: dict[str, int] = {}
    for target in (both, rejecting, voting):
        objective = evade(target, clip_ids=ids(24), seed=0, draws=16, error_alpha=0.01)
        found = pgd(objective, waveforms, truth, eps=0.15, steps=30, stop_when_broken=False)
        past[target.name] = sum(is_evaded(both, found.waveforms, truth, COMMANDS))
    clean = sum(is_evaded(both, waveforms, truth, COMMANDS))
    assert past[both.name] > max(past["neural_rejection"], past["smoothing"], clean)


@pytest.mark.parametrize("name", ["quantisation", "low_pass"])
def test_a_purified_defense_is_attacked_through_its_purifiers(name: str) -> None:
    """Rounding has no gradient of its own; the attack moves all the same, and the low-pass by its own gradient."""
    settings = {"quantisation": {"bits": 5}, "low_pass": {"cutoff": 6000}}[name]
    g = purifier(name, **settings)
    defense = PurifiedInput([g], neural_rejection())
    waveforms, truth = clips(16, seed=4), torch.arange(16) % 4
    objective = evade(defense, clip_ids=ids(16), seed=0)
    rows = torch.arange(16)
    behind = EvadeNeuralRejection(neural_rejection())(g(waveforms), truth, rows)
    assert torch.equal(objective(waveforms, truth, rows).loss, behind.loss)
    here = waveforms.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(objective(here, truth, rows).loss.sum(), here)
    assert gradient.any(dim=1).all()
    if not g.is_differentiable:
        bare = EvadeNeuralRejection(neural_rejection())
        assert not torch.autograd.grad(bare(g(here), truth, rows).loss.sum(), here)[0].any()
    found = pgd(objective, waveforms, truth, eps=0.1, steps=20)
    assert is_evaded(defense, found.waveforms, truth, COMMANDS) == found.is_broken.tolist()
    assert sum(found.is_broken.tolist()) > sum(is_evaded(defense, waveforms, truth, COMMANDS))


def test_only_a_recogniser_that_always_answers_should_survive_no_eps() -> None:
    """A network that hears nothing survives; where it may abstain that proves no failure of the attack."""
    deaf = network()
    torch.nn.init.zeros_(deaf.head.weight)
    with torch.no_grad():
        deaf.head.bias.copy_(torch.tensor([0.0, 0.0, 9.0, 0.0]))
    waveforms, truth = clips(4), torch.full((4,), 2)
    found = {}
    for labels in (COMMANDS, WITH_UNKNOWN):
        for purified in (False, True):
            plain = Undefended(deaf, labels)
            defense = PurifiedInput([purifier("quantisation")], plain) if purified else plain
            objective = evade(defense, clip_ids=ids(4), seed=0)
            levels = list(nested_sweep(objective, waveforms, truth, eps_grid=(0.3,), steps=2))
            pitfalls = {f.pitfall for f in check_health(objective, waveforms, truth, levels, steps=2, queries=4)}
            found[labels, purified] = Pitfall.SURVIVORS in pitfalls
    assert found == {(labels, p): labels == COMMANDS for labels in (COMMANDS, WITH_UNKNOWN) for p in (False, True)}
