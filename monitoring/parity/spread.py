"""How far groups lie from each other in the mean, without the share of it that chance makes.

Groups' sample means differ even where nothing does. Of G compared groups,

    S2  = 1/(G-1) sum_g (mu_g - mean)^2                what is seen
    V_c = S2 - 1/G sum_g v_g                           E V_c = the variance between the true means; may be negative

A bootstrap replicate adds the noise of resampling to that of sampling, so both are taken off:

    V*_dc = S2* - 1/G sum_g v*_g - 1/G sum_g v_g

and V_c's interval is that of its percentiles. Unlike max - min this spread does not grow with the number of groups.

Source: Lum, Zhang & Bower 2022 (double-corrected variance); here with v_g over speakers.
"""

from dataclasses import dataclass
from math import nan, sqrt

import numpy as np

from monitoring.parity.arguments import check_confidence, check_min_speakers, check_replicates
from monitoring.parity.resample import resample
from monitoring.parity.sample import declared_samples
from monitoring.parity.table import SpeakerTable


@dataclass(frozen=True)
class Spread:
    """The variance between groups' true means; NaN where fewer than two groups have enough speakers."""

    naive_variance: float
    """S2"""
    variance: float
    """V_c, unbiased; may be negative, and is then no more than 0 in truth"""
    lower: float
    """percentile interval of V*_dc; may be negative"""
    upper: float
    compared: tuple[str, ...]
    too_small: tuple[str, ...]
    confidence: float
    min_speakers: int
    replicates: int
    seed: int

    @property
    def sd(self) -> float:
        """SD between groups, sqrt(max(V_c, 0)), on the scale of the scores."""
        return _root(self.variance)

    @property
    def sd_lower(self) -> float:
        return _root(self.lower)

    @property
    def sd_upper(self) -> float:
        return _root(self.upper)


def spread(
    table: SpeakerTable,
    *,
    min_speakers: int = 20,
    confidence: float = 0.95,
    replicates: int = 2000,
    seed: int,
) -> Spread:
    """The spread between groups with at least `min_speakers` speakers, corrected for chance; arguments as of `gap`.

    V_c has no bias at any number of speakers that each group has. Its interval takes v_g as observed: it says little
    where nobody in the sample met a rare event, which `gap` allows for and this does not.

    Raises:
        ValueError: an argument outside its range.
    """
    check_confidence(confidence)
    check_min_speakers(min_speakers)
    check_replicates(replicates)
    declared = declared_samples(table)
    compared = {name: sample for name, sample in declared.items() if min_speakers <= sample.J}
    naive = variance = lower = upper = nan
    if len(compared) >= 2:
        samples = list(compared.values())
        generator = np.random.default_rng(seed)
        mu, v = (np.array([getattr(sample, moment) for sample in samples]) for moment in ("mu", "v"))
        drawn = [resample(sample, replicates, generator) for sample in samples]
        shift, v_star = (np.stack([replicate[k] for replicate in drawn]) for k in (0, 1))
        naive = float(mu.var(ddof=1))
        variance = naive - float(v.mean())
        V_dc = (mu[:, None] + shift).var(axis=0, ddof=1) - v_star.mean(axis=0) - v.mean()
        tail = (1.0 - confidence) / 2.0
        lower, upper = (float(bound) for bound in np.quantile(V_dc, [tail, 1.0 - tail]))
    return Spread(
        naive_variance=naive,
        variance=variance,
        lower=lower,
        upper=upper,
        compared=tuple(compared),
        too_small=tuple(name for name in declared if name not in compared),
        confidence=confidence,
        min_speakers=min_speakers,
        replicates=replicates,
        seed=seed,
    )


def _root(variance: float) -> float:
    return sqrt(max(variance, 0.0)) if variance == variance else nan
