"""What an attacker wants of a recogniser that may abstain: a wrong command accepted, or every command refused."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from recognizer.attacks.objectives import Aim, all_but, at, log_odds, unknown_of_two_commands
from recognizer.decision import UNKNOWN
from recognizer.neural_rejection import NeuralRejection
from recognizer.smoothing import RandomizedSmoothing, noise, p_value

_COPIES = 1024  # noisy clips whose activations are held at once


class NoisyCopies:
    """A network's log-probabilities under Gaussian noise that is fresh at each call.

    It counts the draws that each clip has had: a new one, with the same seed, gives the same numbers again.
    """

    def __init__(self, network: nn.Module, *, sigma: float, clip_ids: Sequence[str], seed: int, draws: int) -> None:
        """
        Args:
            network: waveforms to logits.
            sigma: raw amplitude.
            clip_ids: [all clips] names that key the noise, with `seed`; `rows` are places in them.
            seed: the same as the defense's is no leak: the attacker's draws are never the defense's.
            draws: a call.

        Raises:
            ValueError: no draws.
        """
        if draws < 1:
            raise ValueError(f"draws is {draws}; an attack through noise needs at least 1 a step")
        self.network = network
        self.sigma = sigma
        self.clip_ids = tuple(clip_ids)
        self.seed = seed
        self.draws = draws
        self._heard = [0] * len(self.clip_ids)

    def __call__(self, waveforms: Tensor, rows: Tensor) -> Tensor:
        """float32 [clips, draws, K] of waveforms, [clips, samples]."""
        noisy = (waveforms[:, None] + self._noise(waveforms, rows.tolist())).flatten(0, 1)
        parts = torch.split(noisy, _COPIES)
        if len(parts) == 1 or not torch.is_grad_enabled():
            logits = [self.network(part) for part in parts]
        else:  # computed again in the backward pass, so that memory holds one part's activations at a time
            logits = [checkpoint(self.network, part, use_reentrant=False) for part in parts]
        return torch.cat(logits).log_softmax(dim=1).view(len(waveforms), self.draws, -1)

    def _noise(self, waveforms: Tensor, rows: Sequence[int]) -> Tensor:
        """sigma times standard normal, float32 [clips, draws, samples]."""
        samples = waveforms.shape[1]
        drawn = []
        for row in rows:
            drawn.append(noise(self.seed, f"attacker\x00{self.clip_ids[row]}", self._heard[row], self.draws, samples))
            self._heard[row] += self.draws
        return torch.stack(drawn).to(waveforms.device).mul_(self.sigma)


class Claim(NamedTuple):
    """What a rejector makes of clips, label by label; what a combination of several is attacked by."""

    lead: Tensor
    """float32 [clips, K]: how far it is from accepting a label, on its own scale; it does from about 0 on."""
    accepted: Tensor
    """int64 [clips]: the label it accepts, be it `unknown`; -1 where it abstains."""


class EvadeSmoothing:
    """Make the vote under noise wrong, by expectation over transformation (EoT).

    The loss is log (1 - p) / p, p the mean soft-max of the true label over fresh draws; it orders clips as -log p does
    (Salman et al. 2019, "Provably robust deep learning via adversarially trained smoothed classifiers"). `is_broken`
    is a proxy by these draws, more wrong than right or unknown votes: the verdict is RandomizedSmoothing's own, with
    other draws.
    """

    def __init__(
        self,
        network: nn.Module,
        *,
        sigma: float,
        clip_ids: Sequence[str],
        seed: int,
        draws: int = 32,
        error_alpha: float = 1.0,
        labels: Sequence[str] | None = None,
    ) -> None:
        """
        Args:
            network, sigma, clip_ids, seed, draws: see NoisyCopies.
            error_alpha: a clip is broken when the wrong label passes the test of the top two at this level, too. 1 asks
                for the plurality only, and an attack that stops there stops where smoothing abstains.
            labels: [K]; `unknown` among them is no command, and so no success. By default all are commands.

        Raises:
            ValueError: no draws, or labels of fewer than two commands.
        """
        self.network = network
        self.error_alpha = error_alpha
        self.unknown = None if labels is None else unknown_of_two_commands(labels)
        self._copies = NoisyCopies(network, sigma=sigma, clip_ids=clip_ids, seed=seed, draws=draws)

    def __call__(self, waveforms: Tensor, labels: Tensor, rows: Tensor) -> Aim:
        log_probabilities = self._copies(waveforms, rows)
        votes = _votes(log_probabilities)
        is_wanted = all_but(labels, votes.shape[1], self.unknown)
        is_clear = torch.from_numpy(p_value(votes.cpu().numpy()) <= self.error_alpha).to(labels.device)
        leads = votes.masked_fill(~is_wanted, 0).amax(dim=1) > votes.masked_fill(is_wanted, 0).amax(dim=1)
        return Aim(log_odds(log_probabilities.logsumexp(dim=1), is_wanted), leads & is_clear)

    def scores(self, waveforms: Tensor, rows: Tensor) -> Tensor:
        """Logarithms of the soft-max summed over the draws; see `Objective.scores`."""
        return self._copies(waveforms, rows).logsumexp(dim=1)

    def claim(self, waveforms: Tensor, rows: Tensor) -> Claim:
        """See `Claim`: each label's lead in the mean soft-max, and what the votes of these draws accept."""
        log_probabilities = self._copies(waveforms, rows)
        votes = _votes(log_probabilities)
        first, second = votes.topk(2, dim=1).values.unbind(dim=1)
        is_clear = torch.from_numpy(p_value(votes.cpu().numpy()) <= self.error_alpha).to(votes.device)
        accepted = votes.argmax(dim=1).masked_fill(~is_clear | (first == second), -1)
        return Claim(_lead(log_probabilities.logsumexp(dim=1)), accepted)


class EvadeNeuralRejection:
    """Be accepted as a wrong command.

    The loss is max_{c wrong command} s_c - max(s_true, s_unknown, threshold), s the probabilities or margins that the
    defense thresholds. Until the attack succeeds that is secml's rule: climb s_c - s_k, k the true label or, while the
    clip is rejected, the reject class, whose score is the threshold (Melis et al. 2017). `is_broken` is the defense's
    own verdict: wrong *and* accepted.
    """

    def __init__(self, rejection: NeuralRejection) -> None:
        """
        Raises:
            ValueError: labels of fewer than two commands.
        """
        self.rejection = rejection
        self.network: nn.Module = rejection.network
        self.unknown = unknown_of_two_commands(rejection.labels)

    def __call__(self, waveforms: Tensor, labels: Tensor, rows: Tensor) -> Aim:
        del rows
        shares = _shares(self.rejection, waveforms)
        is_wanted = all_but(labels, shares.shape[1], self.unknown)
        threshold = self.rejection.confidence_threshold
        obstacle = shares.masked_fill(is_wanted, -torch.inf).amax(dim=1).clamp(min=threshold)
        loss = shares.masked_fill(~is_wanted, -torch.inf).amax(dim=1) - obstacle
        confidence, leader = shares.detach().max(dim=1)
        return Aim(loss.float(), at(is_wanted, leader) & (confidence >= threshold))

    def scores(self, waveforms: Tensor, rows: Tensor) -> Tensor:
        """The machine's probabilities or margins; see `Objective.scores`."""
        del rows
        return _shares(self.rejection, waveforms)

    def claim(self, waveforms: Tensor, rows: Tensor) -> Claim:
        """See `Claim`: each label's lead over the others and the threshold, and what the defense accepts."""
        del rows
        shares, threshold = _shares(self.rejection, waveforms), self.rejection.confidence_threshold
        confidence, leader = shares.detach().max(dim=1)
        lead = torch.minimum(_lead(shares), shares - threshold)
        return Claim(lead.float(), leader.masked_fill(confidence < threshold, -1))


class CauseRejection:
    """Have a clip turned away, whatever its label: denial of service.

    Neural rejection: the loss is max(threshold, s_unknown) - max_{c command} s_c, and `is_broken` the defense's own
    verdict. Smoothing: by EoT, the log-ratio of the strongest rival's mean soft-max to the leading command's; broken
    where no command leads, or where Cohen's test abstains on votes in these draws' proportions and of the defense's
    number. That is a proxy by few draws, and often just luck: let an attack go on after it (`stop_when_broken=False`)
    and ask the defense, with other draws (`confirm` of nested_sweep).
    """

    def __init__(
        self, defense: NeuralRejection | RandomizedSmoothing, *, clip_ids: Sequence[str], seed: int, draws: int = 32
    ) -> None:
        """
        Args:
            defense: who is to reject.
            clip_ids, seed, draws: see NoisyCopies; neural rejection has no use for them.
        """
        self.defense = defense
        self.network: nn.Module = defense.network
        self.unknown = _unknown_of(defense.labels)
        if isinstance(defense, RandomizedSmoothing):
            self._copies = NoisyCopies(defense.network, sigma=defense.sigma, clip_ids=clip_ids, seed=seed, draws=draws)

    def __call__(self, waveforms: Tensor, labels: Tensor, rows: Tensor) -> Aim:
        del labels
        if isinstance(self.defense, NeuralRejection):
            return self._of_neural_rejection(self.defense, waveforms)
        return self._of_smoothing(self.defense, waveforms, rows)

    def scores(self, waveforms: Tensor, rows: Tensor) -> Tensor:
        """Those of neural rejection's machine, or of the noisy copies; see `Objective.scores`."""
        if isinstance(self.defense, NeuralRejection):
            return _shares(self.defense, waveforms)
        return self._copies(waveforms, rows).logsumexp(dim=1)

    def _of_neural_rejection(self, defense: NeuralRejection, waveforms: Tensor) -> Aim:
        shares = _shares(defense, waveforms)
        is_command = self._is_command(shares)
        threshold = defense.confidence_threshold
        obstacle = shares.masked_fill(is_command, -torch.inf).amax(dim=1).clamp(min=threshold)
        loss = obstacle - shares.masked_fill(~is_command, -torch.inf).amax(dim=1)
        confidence, leader = shares.detach().max(dim=1)
        return Aim(loss.float(), ~at(is_command, leader) | (confidence < threshold))

    def _of_smoothing(self, defense: RandomizedSmoothing, waveforms: Tensor, rows: Tensor) -> Aim:
        log_probabilities = self._copies(waveforms, rows)
        log_shares = log_probabilities.logsumexp(dim=1)
        is_command = self._is_command(log_shares)
        leading = log_shares.masked_fill(~is_command, -torch.inf).max(dim=1)
        rival = log_shares.masked_fill(~all_but(leading.indices, log_shares.shape[1]), -torch.inf).amax(dim=1)
        votes = _votes(log_probabilities)
        proportional = np.rint(votes.cpu().numpy() * (defense.draws / self._copies.draws)).astype(np.int64)
        abstains = torch.from_numpy(p_value(proportional) > defense.error_alpha).to(votes.device)
        return Aim(rival - leading.values, ~at(is_command, votes.argmax(dim=1)) | abstains)

    def _is_command(self, shares: Tensor) -> Tensor:
        """bool [clips, K]: every label but `unknown`."""
        places = torch.arange(shares.shape[1], device=shares.device)
        return (places != (-1 if self.unknown is None else self.unknown)).expand_as(shares)


def _unknown_of(labels: Sequence[str]) -> int | None:
    return labels.index(UNKNOWN) if UNKNOWN in labels else None


def _lead(scores: Tensor) -> Tensor:
    """Each of [clips, K] less the best of the other labels'."""
    best = scores.topk(2, dim=1).values
    return scores - torch.where(scores == best[:, :1], best[:, 1:], best[:, :1])


def _votes(log_probabilities: Tensor) -> Tensor:
    """int64 [clips, K]: arg-max counts of [clips, draws, K]."""
    leaders = log_probabilities.detach().argmax(dim=2)
    return nn.functional.one_hot(leaders, log_probabilities.shape[2]).sum(dim=1)


def _shares(rejection: NeuralRejection, waveforms: Tensor) -> Tensor:
    """The scores that the defense thresholds, float64 [clips, K]; of each clip's gradient in the features the largest
    entry is scaled to 1, the direction kept.

    Far from the training data each kernel, and the gradient with it, dies away like exp(-gamma d^2), and float32 ends
    at d^2 = 100 / gamma. Scaled while still in float64, the direction lasts to about d^2 = 700 / gamma; farther out
    the gradient is 0, and an attack has to start from another clip.
    """
    features = rejection.network.features(waveforms).double()
    if features.requires_grad:
        features.register_hook(_at_unit_length)  # type: ignore[no-untyped-call]
    return rejection.scores(features)


def _at_unit_length(gradient: Tensor) -> Tensor:
    """Each row of [clips, F] over its largest entry."""
    return gradient / gradient.abs().amax(dim=1, keepdim=True).clamp(min=1e-300)
