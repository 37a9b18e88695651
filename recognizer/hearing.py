"""Clips that come and go while a defense decides on them: what lets concurrent requests share batches and draws.

A hearing is one thread's. Clips join between its steps, and each leaves with the step that settles it: none waits for
another's draws past its own settling, and one whose waveform breaks a defense breaks it for nobody else.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

import torch
from torch import Tensor

from recognizer.decision import Decision

T = TypeVar("T")
R = TypeVar("R")


@dataclass(frozen=True, eq=False)
class Case:
    """One clip to be decided on; two with the same values are two."""

    waveform: Tensor
    """float32 [window], raw amplitude in [-1, 1]."""
    clip_id: str
    """Keys the random numbers, with `seed`."""
    seed: int
    deadline: float | None = None
    """`time.perf_counter()` at which what is undecided becomes an abstention; None = whatever it takes."""


Verdict = Decision | Exception
"""What became of a case; an exception where the defense could not decide."""


class Hearing(Protocol):
    """A defense at work on the cases that have joined and are not settled."""

    @property
    def is_idle(self) -> bool:
        """Whether there is nothing to do."""
        ...

    def join(self, cases: Sequence[Case]) -> None:
        """Take cases in. Computes nothing, and never raises."""
        ...

    def step(self) -> list[tuple[Case, Verdict]]:
        """Compute for as long as the shortest sensible batch takes.

        Returns:
            The cases that this settled; they have left.
        """
        ...


class AtOnce:
    """The hearing of a defense that needs one pass: everything that waits is decided by the next step."""

    def __init__(self, decide: Callable[[Sequence[Case]], Sequence[Verdict]]) -> None:
        """
        Args:
            decide: one verdict a case; may raise, which is then laid to the cases one by one.
        """
        self._decide = decide
        self._waiting: list[Case] = []

    @property
    def is_idle(self) -> bool:
        return not self._waiting

    def join(self, cases: Sequence[Case]) -> None:
        """See `Hearing`."""
        self._waiting += cases

    def step(self) -> list[tuple[Case, Verdict]]:
        """See `Hearing`."""
        heard, self._waiting = self._waiting, []
        return list(zip(heard, each(self._decide, heard), strict=True))


def each(work: Callable[[Sequence[T]], Sequence[R]], items: Sequence[T]) -> list[R | Exception]:
    """The results of work on items together; where that fails, of each by itself: the fault of one is not its
    neighbours'."""
    if not items:
        return []
    try:
        return list(work(items))
    except Exception as error:  # whatever a network, a codec or a device raises is laid to whom it belongs
        if len(items) == 1:
            return [error]
        return [found for item in items for found in each(work, [item])]


def waveforms_of(cases: Sequence[Case]) -> Tensor:
    """float32 [cases, window]."""
    return torch.stack([case.waveform for case in cases])


def heard_out(hearing: Hearing, cases: Sequence[Case]) -> list[Decision]:
    """One decision a case, in order; the first that could not be decided raises what stood in its way."""
    hearing.join(cases)
    found: dict[Case, Verdict] = {}
    while not hearing.is_idle:
        found.update(hearing.step())
    return [_decided(found[case]) for case in cases]


def _decided(verdict: Verdict) -> Decision:
    if isinstance(verdict, Exception):
        raise verdict
    return verdict
