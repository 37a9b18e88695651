"""The one interface of every rejection defense, and the defense that is none."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import Protocol

import torch
from torch import Tensor

from recognizer.cores import cores, over_cores
from recognizer.decision import Certificate, Decision, conclude
from recognizer.hearing import AtOnce, Case, Hearing, waveforms_of
from recognizer.network import Network, predict_logits


class DefenseName(StrEnum):
    """The single defenses; `recognizer.steps` names those that are made of them."""

    NONE = "none"
    NEURAL_REJECTION = "neural_rejection"
    SMOOTHING = "smoothing"


class NetworkError(RuntimeError):
    """The network gave no finite output; nothing is decided on it."""


class Defense(Protocol):
    """Decides on clips: accepts the leading command, or abstains."""

    @property
    def name(self) -> str:
        """See `recognizer.steps`."""
        ...

    def decide(
        self, waveforms: Tensor, *, clip_ids: Sequence[str], seed: int, deadline: float | None = None
    ) -> list[Decision]:
        """One decision a clip.

        Args:
            waveforms: float32 [clips, window], raw amplitude in [-1, 1].
            clip_ids: [clips] names that key the random numbers, with `seed`; a defense without any ignores both.
            deadline: `time.perf_counter()` at which what is undecided becomes an abstention; None = whatever it takes.
                A defense of a single pass through a network does not look at it.

        Raises:
            NetworkError: the network gave NaN or infinity.
        """
        ...

    def hearing(self) -> Hearing:
        """The same on clips that come and go; each decided as `decide` would."""
        ...

    def promises(self) -> tuple[Certificate, ...]:
        """What its certificates say of any clip: the settings of each rejector in it, in order."""
        ...


class Undefended:
    """The plain network: accepts its arg max, whatever its confidence."""

    name = DefenseName.NONE

    def __init__(self, network: Network, labels: Sequence[str]) -> None:
        self.network = network.eval()
        self.labels = tuple(labels)

    def decide(
        self, waveforms: Tensor, *, clip_ids: Sequence[str], seed: int, deadline: float | None = None
    ) -> list[Decision]:
        """See `Defense.decide`; `confidence` is the soft-max probability."""
        del clip_ids, seed, deadline
        logits = finite(predict_logits(self.network, waveforms))
        return [conclude(self.labels, shares) for shares in logits.softmax(dim=1).tolist()]

    def hearing(self) -> Hearing:
        """See `Defense.hearing`."""
        return one_pass(self, next(self.network.parameters()).device)

    def promises(self) -> tuple[Certificate, ...]:
        """None: it accepts everything."""
        return ()


def one_pass(defense: Defense, device: torch.device) -> Hearing:
    """The hearing of a defense without random numbers that needs one pass through its network.

    On a processor the clips are shared out among its cores, one thread each: several threads on one small batch cost
    more than they save, and where anything else runs on the machine they wait for each other.

    Args:
        device: where the network is.
    """

    def decide(cases: Sequence[Case]) -> list[Decision]:
        return defense.decide(waveforms_of(cases), clip_ids=[case.clip_id for case in cases], seed=0)

    def share(cases: Sequence[Case]) -> list[Decision]:
        size = -(-len(cases) // cores())
        pieces = [cases[start : start + size] for start in range(0, len(cases), size)]
        return [decision for piece in over_cores(decide, pieces) for decision in piece]

    return AtOnce(share if device.type == "cpu" else decide)


def finite(outputs: Tensor) -> Tensor:
    """The outputs again, [clips, ...].

    Raises:
        NetworkError: one of them is NaN or infinite.
    """
    if not bool(outputs.isfinite().all()):
        raise NetworkError("the network's output holds NaN or infinity")
    return outputs
