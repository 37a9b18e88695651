"""What an attacker wants of a clip: a loss to climb, and when it has won.

Every loss here is finite where probabilities saturate: in float32 a soft-max of exactly 1 has a cross-entropy whose
gradient is exactly 0, which looks like robustness. So the attacker climbs log-odds, a strictly increasing function of
the cross-entropy: the same direction and the same order of iterates, at every confidence.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple, Protocol

import torch
from torch import Tensor, nn

from recognizer.decision import UNKNOWN


class Aim(NamedTuple):
    """How far the attacker is at some waveforms."""

    loss: Tensor
    """float32 [clips]; the attacker climbs it."""
    is_broken: Tensor
    """bool [clips]; the attack has succeeded at this very input."""


class Objective(Protocol):
    """What an attack asks of waveforms, step by step."""

    @property
    def network(self) -> nn.Module:
        """What is put in eval mode, without gradients of parameters, while it is attacked."""
        ...

    def __call__(self, waveforms: Tensor, labels: Tensor, rows: Tensor) -> Aim:
        """
        Args:
            waveforms: float32 [clips, samples]; the loss is differentiable in them.
            labels: int64 [clips], the true labels.
            rows: int64 [clips], places in the whole set, the key of random draws.
        """
        ...

    def scores(self, waveforms: Tensor, rows: Tensor) -> Tensor:
        """The evidence for each label, [clips, K], as the attacked recogniser sees it; its arg max is the prediction.

        Args:
            waveforms, rows: as above.
        """
        ...


@contextmanager
def frozen(network: nn.Module) -> Iterator[None]:
    """Eval mode and no gradients of parameters; each module's mode and each parameter's flag come back, also on error.

    Batch norm must not learn from adversarial clips, nor judge a clip by its neighbours.
    """
    modes = [(module, module.training) for module in network.modules()]
    flags = [(parameter, parameter.requires_grad) for parameter in network.parameters()]
    try:
        network.eval().requires_grad_(False)
        yield
    finally:
        for module, mode in modes:
            module.training = mode
        for parameter, flag in flags:
            parameter.requires_grad_(flag)


def log_odds(log_shares: Tensor, is_wanted: Tensor) -> Tensor:
    """log sum_{wanted} exp s_c - log sum_{others} exp s_c, [clips]: of probability P, log P / (1 - P).

    Args:
        log_shares: [clips, K] logits, or any logarithms of shares.
        is_wanted: bool [clips, K]; neither none nor all of a row.
    """
    wanted = log_shares.masked_fill(~is_wanted, -torch.inf).logsumexp(dim=1)
    return wanted - log_shares.masked_fill(is_wanted, -torch.inf).logsumexp(dim=1)


def all_but(labels: Tensor, count: int, also: int | None = None) -> Tensor:
    """bool [clips, count]: every label but the clip's own, and but `also`."""
    places = torch.arange(count, device=labels.device)
    others = places != labels[:, None]
    return others if also is None else others & (places != also)


def unknown_of_two_commands(labels: Sequence[str]) -> int | None:
    """The place of `unknown` among labels of which evasion can make a wrong command; None where it is not there.

    Raises:
        ValueError: labels of fewer than two commands.
    """
    if len(set(labels) - {UNKNOWN}) < 2:
        raise ValueError(
            f"the labels are {', '.join(labels)}: of a clip of the only command no wrong one can be accepted; evasion "
            "needs at least 2 commands"
        )
    return labels.index(UNKNOWN) if UNKNOWN in labels else None


def at(table: Tensor, places: Tensor) -> Tensor:
    """[clips]: of each row of [clips, K] the entry at its place, int64 [clips]."""
    return table.gather(1, places[:, None])[:, 0]


class Misclassify:
    """Make the arg max wrong.

    The loss is log (1 - p) / p, p the soft-max of the true label and, where it is no success, of `unknown`;
    cross-entropy = log(1 + exp(loss)).
    """

    def __init__(
        self,
        network: nn.Module,
        *,
        purify: Callable[[Tensor], Tensor] | None = None,
        labels: Sequence[str] | None = None,
    ) -> None:
        """
        Args:
            network: float32 [clips, samples] to logits, [clips, K].
            purify: what stands before the network, [clips, samples] to the same shape, differentiable.
            labels: [K]; `unknown` among them is no command, and so no success. By default all are commands.

        Raises:
            ValueError: labels of fewer than two commands.
        """
        self.network = network
        self.purify = purify
        self.unknown = None if labels is None else unknown_of_two_commands(labels)

    def __call__(self, waveforms: Tensor, labels: Tensor, rows: Tensor) -> Aim:
        logits = self.scores(waveforms, rows)
        is_wanted = all_but(labels, logits.shape[1], self.unknown)
        return Aim(log_odds(logits, is_wanted), at(is_wanted, logits.detach().argmax(dim=1)))

    def scores(self, waveforms: Tensor, rows: Tensor) -> Tensor:
        """Logits, through what stands before the network; see `Objective.scores`."""
        del rows
        logits: Tensor = self.network(waveforms if self.purify is None else self.purify(waveforms))
        return logits
