"""Randomized smoothing (RS): decide by the vote of many noisy copies of a clip, and abstain when it is no clear one.

Source: Cohen, Rosenfeld, Kolter 2019, "Certified adversarial robustness via randomized smoothing": Predict and Certify.
The test of the top two counts is Hung & Fithian 2019. Noise is added to the raw waveform and never clipped: clipping
would break the Gaussian.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from scipy.stats import beta, binom, norm
from torch import Tensor

from recognizer.decision import Certificate, Decision, Reason, conclude
from recognizer.defense import DefenseName, finite
from recognizer.network import Network

Counts = npt.NDArray[np.int64]
"""int64 [..., K]: votes a label."""

_BATCH = 100  # draws a forward pass; bounds memory whatever N is
_THREADS = os.cpu_count() or 1
_POOL: ThreadPoolExecutor


def _start_pool() -> None:
    global _POOL
    _POOL = ThreadPoolExecutor(_THREADS, thread_name_prefix="noise")  # numpy draws outside the interpreter's lock


_start_pool()
if hasattr(os, "register_at_fork"):  # a fork takes the pool along but not its threads, and would wait for ever
    os.register_at_fork(after_in_child=_start_pool)


class InfeasibleSmoothing(ValueError):
    """Settings under which no clip could ever be accepted, or that mean nothing."""


def p_value(counts: Counts) -> npt.NDArray[np.float64]:
    """Two-sided binomial p-value that the top two labels are equally likely.

    p = min(1, 2 P[Bin(n_A + n_B, 1/2) >= n_A]), n_A >= n_B the two largest counts; a tie gives 1. One p-value serves
    every error_alpha: RS abstains iff p > error_alpha.

    Args:
        counts: int64 [..., K], K >= 2.

    Returns:
        float64 [...].
    """
    top = np.sort(np.asarray(counts), axis=-1)
    n_a, n_b = top[..., -1], top[..., -2]
    return np.asarray(np.minimum(1.0, 2.0 * binom.sf(n_a - 1, n_a + n_b, 0.5)), dtype=np.float64)


def lower_bound(successes: int, draws: int, error_alpha: float) -> float:
    """One-sided Clopper-Pearson lower bound of a probability at confidence 1 - error_alpha."""
    if successes == 0:
        return 0.0
    return float(beta.ppf(error_alpha, successes, draws - successes + 1))


def noise(seed: int, clip_id: str, first: int, draws: int, samples: int) -> npt.NDArray[np.float32]:
    """Standard normal noise, float32 [draws, samples], of the draws `first`, `first + 1`, ...

    Each draw has a counter-based stream of its own, keyed by (seed, clip id, draw): the same numbers come whatever the
    batch size, the order of the clips, the worker or the engine.
    """
    digest = hashlib.blake2b(f"{seed}\x00{clip_id}".encode(), digest_size=16).digest()
    key = int.from_bytes(digest, "little")
    out = np.empty((draws, samples), dtype=np.float32)

    def fill(rows: range) -> None:
        for row in rows:
            stream = np.random.Generator(np.random.Philox(key=key, counter=(first + row) << 128))
            stream.standard_normal(dtype=np.float32, out=out[row])

    parts = [range(draws)[part::_THREADS] for part in range(_THREADS)]
    list(_POOL.map(fill, parts))
    return out


def check_settings(*, sigma: float, error_alpha: float, draws: int) -> None:
    """Refuse settings that can't decide.

    Raises:
        InfeasibleSmoothing: sigma <= 0, draws < 1, error_alpha outside (0, 1], or error_alpha < 2^(1 - draws).
    """
    if not sigma > 0:
        raise InfeasibleSmoothing(f"sigma is {sigma}; it must be above 0")
    if draws < 1:
        raise InfeasibleSmoothing(f"{draws} draws decide nothing; at least 1 is needed")
    if not 0 < error_alpha <= 1:
        raise InfeasibleSmoothing(f"error_alpha is {error_alpha}; it must lie in (0, 1]")
    if error_alpha < 2.0 ** (1 - draws):
        needed = int(np.ceil(1 - np.log2(error_alpha)))
        raise InfeasibleSmoothing(
            f"with {draws} draws even a unanimous vote has p = 2^(1-{draws}) > error_alpha = {error_alpha:g}: every "
            f"clip would be rejected; take at least {needed} draws or a larger error_alpha"
        )


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
    most error_alpha (Cohen et al., Proposition 2).
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
    ) -> None:
        """
        Args:
            network: should have been trained under noise of about this sigma.
            labels: [K].
            sigma: raw amplitude.
            error_alpha: RS abstains when p > error_alpha (smaller is stricter).
            draws: N.

        Raises:
            InfeasibleSmoothing: see `check_settings`.
        """
        check_settings(sigma=sigma, error_alpha=error_alpha, draws=draws)
        self.network = network.eval()
        self.labels = tuple(labels)
        self.sigma = sigma
        self.error_alpha = error_alpha
        self.draws = draws

    def votes(self, waveform: Tensor, *, clip_id: str, seed: int, draws: int, first: int = 0) -> Counts:
        """Arg-max counts, int64 [K], over the draws `first` ... `first + draws - 1` of one clip, float32 [samples]."""
        counts = np.zeros(len(self.labels), dtype=np.int64)
        device = next(self.network.parameters()).device
        base = waveform.to(device)
        with torch.inference_mode():
            for start in range(first, first + draws, _BATCH):
                size = min(_BATCH, first + draws - start)
                noisy = torch.from_numpy(noise(seed, clip_id, start, size, len(waveform))).to(device)
                leaders = finite(self.network(noisy.mul_(self.sigma).add_(base))).argmax(dim=1)
                counts += np.bincount(leaders.cpu().numpy(), minlength=len(self.labels))
        return counts

    def decide(self, waveforms: Tensor, *, clip_ids: Sequence[str], seed: int) -> list[Decision]:
        """Predict at fixed N; see `Defense.decide`. `confidence` is the leader's share of the votes."""
        return [
            self._conclude(self.votes(waveform, clip_id=clip_id, seed=seed, draws=self.draws))
            for waveform, clip_id in zip(waveforms, clip_ids, strict=True)
        ]

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
        """
        chosen = int(self.votes(waveform, clip_id=clip_id, seed=seed, draws=selection_draws).argmax())
        counts = self.votes(waveform, clip_id=clip_id, seed=seed, draws=draws, first=selection_draws)
        p_lower = lower_bound(int(counts[chosen]), draws, self.error_alpha)
        if p_lower < 0.5:
            return CertifiedRadius(None, 0.0, p_lower, selection_draws + draws)
        return CertifiedRadius(chosen, self.sigma * float(norm.ppf(p_lower)), p_lower, selection_draws + draws)

    def _conclude(self, counts: Counts) -> Decision:
        total = int(counts.sum())
        p = float(p_value(counts))
        hold = None
        if p > self.error_alpha:
            detail = f"p = {p:.2g} > error_alpha = {self.error_alpha:g} after {total} draws"
            hold = (Reason.SMOOTHING_TIE, detail)
        return conclude(
            self.labels,
            (counts / total).tolist(),
            hold=hold,
            detail=f"p = {p:.2g} <= error_alpha = {self.error_alpha:g} after {total} draws",
            certificate=Certificate(
                defense=self.name, sigma=self.sigma, error_alpha=self.error_alpha, draws=total, p_value=p
            ),
        )
