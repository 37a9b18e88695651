"""Randomized smoothing (RS): decide by the vote of many noisy copies of a clip, and abstain when it is no clear one.

Source: Cohen, Rosenfeld, Kolter 2019, "Certified adversarial robustness via randomized smoothing": Predict and Certify.
Noise is added to the raw waveform and never clipped: clipping would break the Gaussian.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.special import ndtri
from torch import Tensor

from recognizer.decision import Certificate, Decision, Reason, Replay, conclude
from recognizer.defense import DefenseName
from recognizer.hearing import Case, Hearing, heard_out
from recognizer.network import Network
from recognizer.smoothing.hearing import VoteHearing
from recognizer.smoothing.noise import BLOCK
from recognizer.smoothing.vote import Counts, InfeasibleSmoothing, VoteRule, VoteTest, lower_bound
from recognizer.smoothing.voting import Block, KeyedVoting, Voting


def check_settings(
    *, sigma: float, error_alpha: float, draws: int, test: VoteTest = VoteTest.FIXED, labels: int = 2
) -> None:
    """Refuse settings that can't decide.

    Raises:
        InfeasibleSmoothing: sigma is not above 0, or see `VoteRule`.
    """
    if not 0 < sigma < np.inf:
        raise InfeasibleSmoothing(f"sigma is {sigma}; it must be above 0")
    VoteRule(labels=labels, draws=draws, error_alpha=error_alpha, test=test)


@dataclass(frozen=True)
class CertifiedRadius:
    """The outcome of Certify on one clip."""

    label: int | None
    """Index of the certified label; None where it abstains."""
    radius_l2: float
    """L2 radius in raw amplitude; 0 where it abstains."""
    p_lower: float
    """Lower confidence bound of the label's probability under noise."""
    draws: int


class RandomizedSmoothing:
    """A network smoothed by Gaussian noise of standard deviation sigma.

    Predict returns the smoothed classifier's arg max, or abstains, and is wrong about that arg max with probability at
    most error_alpha (Cohen et al., Proposition 2; sequentially, by the union bound over the two tests of `VoteRule`).
    """

    name = DefenseName.SMOOTHING

    def __init__(
        self,
        network: Network,
        labels: Sequence[str],
        *,
        sigma: float,
        error_alpha: float = 0.001,
        draws: int = 100,
        test: VoteTest = VoteTest.FIXED,
        voting: Voting[Any] | None = None,
    ) -> None:
        """
        Args:
            network: should have been trained under noise of about this sigma.
            labels: [K].
            sigma: raw amplitude.
            error_alpha: RS abstains when p > error_alpha (smaller is stricter).
            draws: N, of every clip or at most.
            test: at fixed N, or sequential.
            voting: where votes come from: exact ones by default.

        Raises:
            InfeasibleSmoothing: see `check_settings`.
            ValueError: votes under noise of another sigma.
        """
        check_settings(sigma=sigma, error_alpha=error_alpha, draws=draws, test=test, labels=len(labels))
        if voting is not None and voting.sigma != sigma:
            raise ValueError(
                f"the votes are under noise of sigma = {voting.sigma:g}, and sigma = {sigma:g} is asked for"
            )
        self.network = network.eval()
        self.labels = tuple(labels)
        self.sigma = sigma
        self.rule = VoteRule(labels=len(labels), draws=draws, error_alpha=error_alpha, test=test)
        self.exact = KeyedVoting(self.network, sigma=sigma)
        self.voting: Voting[Any] = voting or self.exact

    @property
    def error_alpha(self) -> float:
        return self.rule.error_alpha

    @property
    def draws(self) -> int:
        """N."""
        return self.rule.draws

    def votes(self, waveform: Tensor, *, clip_id: str, seed: int, draws: int, first: int = 0) -> Counts:
        """Exact arg-max counts, int64 [K], over the draws `first` ... `first + draws - 1` of a clip, [samples]."""
        (ballot,) = self.exact.ballots(waveform[None], clip_ids=[clip_id], seeds=[seed])
        counts = np.zeros(len(self.labels), dtype=np.int64)
        end, at_once = first + draws, self.exact.at_a_time
        for start in range(first // BLOCK, -(-end // BLOCK), at_once):
            blocks = [Block(ballot, index) for index in range(start, min(start + at_once, -(-end // BLOCK)))]
            leaders = self.exact.leaders(blocks).ravel()
            place = np.arange(len(leaders)) + BLOCK * start
            counts += np.bincount(leaders[(place >= first) & (place < end)], minlength=len(counts))
        return counts

    def decide(
        self, waveforms: Tensor, *, clip_ids: Sequence[str], seed: int, deadline: float | None = None
    ) -> list[Decision]:
        """Predict; see `Defense.decide`. `confidence` is the leader's share of the votes.

        The draws of undecided clips share the processor, and settled clips leave. A clip whose vote is not settled at
        the deadline is accepted if the votes so far suffice (sequential test), and else an abstention.
        """
        if len(waveforms) != len(clip_ids):
            raise ValueError(f"there are {len(waveforms)} waveforms and {len(clip_ids)} clip ids; one each is needed")
        cases = [Case(x, clip_id, seed, deadline) for x, clip_id in zip(waveforms, clip_ids, strict=True)]
        return heard_out(self.hearing(), cases)

    def hearing(self) -> Hearing:
        """See `Defense.hearing`."""
        return VoteHearing(self.voting, self.rule, self._conclude)

    def promises(self) -> tuple[Certificate, ...]:
        """See `Defense.promises`; `draws` is N."""
        return (Certificate(self.name, sigma=self.sigma, error_alpha=self.error_alpha, draws=self.draws),)

    def certify(
        self, waveform: Tensor, *, clip_id: str, seed: int, selection_draws: int = 100, draws: int = 1000
    ) -> CertifiedRadius:
        """Certify one clip: n0 draws choose the label, n fresh ones bound its probability p_A.

        radius = sigma * Phi^-1(p_A); abstains where the bound is below 1/2. Holds with probability 1 - error_alpha.

        Args:
            waveform: float32 [samples].
            clip_id: keys the noise, with `seed`.
            selection_draws: n0.
            draws: n.

        Raises:
            InfeasibleSmoothing: error_alpha is 1, at which anything at all could be certified.
        """
        if self.error_alpha == 1:
            raise InfeasibleSmoothing("error_alpha is 1, which bounds nothing; a certificate needs a smaller one")
        chosen = int(self.votes(waveform, clip_id=clip_id, seed=seed, draws=selection_draws).argmax())
        counts = self.votes(waveform, clip_id=clip_id, seed=seed, draws=draws, first=selection_draws)
        p_lower = lower_bound(int(counts[chosen]), draws, self.error_alpha)
        if p_lower < 0.5:
            return CertifiedRadius(None, 0.0, p_lower, selection_draws + draws)
        return CertifiedRadius(chosen, self.sigma * float(ndtri(p_lower)), p_lower, selection_draws + draws)

    def _conclude(self, counts: Counts, p: float, is_over: bool, replay: Replay) -> Decision:
        total = int(counts.sum())
        is_decided = is_over or (self.rule.test is VoteTest.SEQUENTIAL and total > 0 and p <= self.error_alpha)
        hold = None
        if not is_decided:
            hold = (Reason.DEADLINE, f"the vote was not settled after {total} draws, when time was up")
        elif p > self.error_alpha:
            detail = f"p = {p:.2g} > error_alpha = {self.error_alpha:g} after {total} draws"
            hold = (Reason.SMOOTHING_TIE, detail)
        return conclude(
            self.labels,
            (counts / max(total, 1)).tolist(),
            hold=hold,
            detail=f"p = {p:.2g} <= error_alpha = {self.error_alpha:g} after {total} draws",
            certificate=Certificate(
                defense=self.name,
                sigma=self.sigma,
                error_alpha=self.error_alpha,
                draws=total,
                p_value=p,
                replay=replay,
            ),
        )
