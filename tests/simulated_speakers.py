"""Speakers drawn from populations whose truth is known, for tests of `monitoring.parity`."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from monitoring.parity import Gap, SpeakerTable, gap

Sampler = Callable[[np.random.Generator], NDArray[np.float64]]


def table_of(**groups: NDArray[np.float64]) -> SpeakerTable:
    """One group a keyword: its speakers' mean scores, 14 clips each."""
    return SpeakerTable(
        speaker=np.array([f"{name}-{j}" for name, means in groups.items() for j in range(len(means))]),
        group=np.repeat(list(groups), [len(means) for means in groups.values()]),
        clips=np.full(sum(map(len, groups.values())), 14),
        score=14.0 * np.concatenate(list(groups.values())),
    )


def uneven_table(seed: int, **speakers: int) -> SpeakerTable:
    """Groups of so many speakers, each with 1 to 9 clips."""
    rng = np.random.default_rng(seed)
    total = sum(speakers.values())
    clips = rng.integers(1, 10, total)
    return SpeakerTable(
        speaker=np.array([f"s{j}" for j in range(total)]),
        group=np.repeat(list(speakers), list(speakers.values())),
        clips=clips,
        score=clips * rng.beta(2, 4, total),
    )


def rejected(speakers: int, clips: int, rate: Sampler | float) -> Sampler:
    """Speakers' shares of rejected clips, `rate` drawing each speaker's own probability."""

    def sample(rng: np.random.Generator) -> NDArray[np.float64]:
        p = rate(rng) if callable(rate) else np.full(speakers, rate)
        return rng.binomial(clips, p) / clips

    return sample


def beta(a: float, b: float, speakers: int = 25) -> Sampler:
    return lambda rng: rng.beta(a, b, speakers)


def all_or_nothing(share: float, speakers: int = 25) -> Sampler:
    """A share of the speakers is always rejected, the rest never: the worst clustering there is."""
    return lambda rng: (rng.random(speakers) < share).astype(float)


def sometimes_always(share: float, otherwise: float, speakers: int) -> Sampler:
    """Speakers' own probabilities: 1 for a share of them, `otherwise` for the rest."""
    return lambda rng: np.where(rng.random(speakers) < share, 1.0, otherwise)


def simulate(runs: int, tolerance: float = 0.0, **groups: Sampler) -> list[Gap]:
    rng = np.random.default_rng(2023)
    return [
        gap(
            table_of(**{name: sample(rng) for name, sample in groups.items()}),
            tolerance=tolerance,
            replicates=400,
            seed=run,
        )
        for run in range(runs)
    ]


def most_of(runs: int, rate: float = 0.05) -> int:
    """What a true error rate exceeds in 1 of 1000 simulations."""
    return int(stats.binom.ppf(0.999, runs, rate))


def moments_by_loop(table: SpeakerTable, group: str) -> tuple[float, float]:
    rows = [j for j in range(table.speaker.size) if table.group[j] == group]
    N = sum(int(table.clips[j]) for j in rows)
    mu = sum(float(table.score[j]) for j in rows) / N
    v = 0.0
    for j in rows:
        v += (float(table.score[j]) - mu * int(table.clips[j])) ** 2
    return mu, v * len(rows) / (len(rows) - 1) / N**2
