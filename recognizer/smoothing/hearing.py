"""Votes on clips that come and go: each round draws for all that are not settled."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from recognizer.decision import Decision, Replay
from recognizer.hearing import Case, Verdict, each, waveforms_of
from recognizer.smoothing.noise import BLOCK
from recognizer.smoothing.vote import Counts, VoteRule, Votes
from recognizer.smoothing.voting import Ballot, Block, Voting

Conclude = Callable[[Counts, float, bool, Replay], Decision]
"""Counts, int64 [K], p-value, whether the vote is over, and how it can be had again -> the decision."""


class VoteHearing:
    """The hearing of randomized smoothing; see `recognizer.hearing.Hearing`.

    A clip whose vote is not settled at its deadline leaves with the votes that it has.
    """

    def __init__(self, voting: Voting[Any], rule: VoteRule, conclude: Conclude) -> None:
        self._voting, self._conclude = voting, conclude
        self._waiting: list[Case] = []
        self._voted: list[tuple[Case, Ballot]] = []
        self._votes = Votes(0, rule)

    @property
    def is_idle(self) -> bool:
        return not self._waiting and not self._voted

    def join(self, cases: Sequence[Case]) -> None:
        """See `Hearing`."""
        self._waiting += cases

    def step(self) -> list[tuple[Case, Verdict]]:
        """See `Hearing`: one round of draws."""
        left = self._open()
        is_late = np.array([_is_late(case) for case, _ in self._voted], dtype=np.bool_)
        failed = self._draw(np.flatnonzero(~is_late))
        left += [(self._voted[place][0], error) for place, error in failed.items()]
        is_done = self._votes.is_settled | is_late
        is_done[list(failed)] = False
        left += self._concluded(is_done)
        is_done[list(failed)] = True
        self._votes = self._votes.of(~is_done)
        self._voted = [voted for voted, is_gone in zip(self._voted, is_done, strict=True) if not is_gone]
        return left

    def _open(self) -> list[tuple[Case, Verdict]]:
        """Begin the votes of those that wait; those that have none leave."""
        cases, self._waiting = self._waiting, []
        ballots = each(self._ballots, cases)
        opened = [(case, b) for case, b in zip(cases, ballots, strict=True) if not isinstance(b, Exception)]
        self._voted += opened
        self._votes.join(len(opened))
        return [(case, b) for case, b in zip(cases, ballots, strict=True) if isinstance(b, Exception)]

    def _ballots(self, cases: Sequence[Case]) -> list[Ballot]:
        return self._voting.ballots(
            waveforms_of(cases), clip_ids=[case.clip_id for case in cases], seeds=[case.seed for case in cases]
        )

    def _draw(self, places: npt.NDArray[np.int64]) -> dict[int, Exception]:
        """A round for those in these places; gives the places for which it failed."""
        if not len(places):
            return {}
        first = self._votes.draws[places] // BLOCK  # whole blocks so far: a vote that took part of one is over
        fewest = int((-(-self._votes.rule.draws // BLOCK) - first).min())
        rounds = min(max(1, self._voting.at_a_time // len(places)), fewest)

        def drawn(some: Sequence[int]) -> list[npt.NDArray[np.int64]]:
            blocks = [Block(self._voted[places[i]][1], int(first[i]) + r) for i in some for r in range(rounds)]
            return list(self._voting.leaders(blocks).reshape(len(some), rounds * BLOCK))

        found = each(drawn, range(len(places)))
        failed = {int(p): error for p, error in zip(places, found, strict=True) if isinstance(error, Exception)}
        if len(failed) < len(places):
            heard = [leaders for leaders in found if not isinstance(leaders, Exception)]
            self._votes.add(np.array([p for p in places if p not in failed]), np.stack(heard))
        return failed

    def _concluded(self, is_done: npt.NDArray[np.bool_]) -> list[tuple[Case, Verdict]]:
        if not is_done.any():
            return []
        votes = self._votes.of(is_done)
        done = [voted for voted, is_gone in zip(self._voted, is_done, strict=True) if is_gone]
        return [
            (case, self._conclude(counts, float(p), bool(is_over), ballot.replay))
            for (case, ballot), counts, p, is_over in zip(
                done, votes.counts, votes.p_values(), votes.is_settled, strict=True
            )
        ]


def _is_late(case: Case) -> bool:
    return case.deadline is not None and time.perf_counter() >= case.deadline
