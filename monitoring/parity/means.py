"""Mean scores of groups, with cluster-robust intervals."""

from dataclasses import dataclass
from math import isnan, nan

import numpy as np
from scipy import stats

from monitoring.parity.arguments import check_confidence
from monitoring.parity.sample import samples_of
from monitoring.parity.table import SpeakerTable
from monitoring.parity.unseen import unseen_variance


@dataclass(frozen=True)
class GroupMean:
    """A group's mean score with its uncertainty over speakers."""

    group: str
    speakers: int
    """J_g"""
    clips: int
    """N_g"""
    mean: float
    """mu_g, in [0, 1]"""
    variance: float
    """v_g, cluster-robust, as observed; NaN with one speaker"""
    lower: float
    """t interval with J_g - 1 degrees of freedom, cut to [0, 1]; NaN with one speaker"""
    upper: float


def group_means(table: SpeakerTable, *, confidence: float = 0.95) -> tuple[GroupMean, ...]:
    """Mean, cluster-robust variance and t interval of every group, `undeclared` included, sorted by group.

    The interval is mu_g +- t sqrt(v_g), t with J_g - 1 degrees of freedom; a group that shows no spread gets
    v_g + f_g (see `monitoring.parity`, with G = 1) instead of v_g. A group that shows its spread gets no more than
    Student's interval: it does not allow for the unseen share, and must not be read as a bound on rare speakers who
    are always turned away.

    Raises:
        ValueError: confidence outside (0, 1).
    """
    check_confidence(confidence)
    means = []
    for name, sample in samples_of(table).items():
        half = nan
        if sample.J > 1:
            t = float(stats.t.ppf((1.0 + confidence) / 2.0, sample.J - 1))
            half = t * float(np.sqrt(sample.v + unseen_variance(sample, confidence, groups_claimed=1)))
        means.append(
            GroupMean(
                group=name,
                speakers=sample.J,
                clips=sample.N,
                mean=sample.mu,
                variance=sample.v,
                lower=nan if isnan(half) else max(0.0, sample.mu - half),
                upper=nan if isnan(half) else min(1.0, sample.mu + half),
            )
        )
    return tuple(means)
