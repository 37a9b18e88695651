"""How far apart groups are, and how sure one can be of it, when speakers, not clips, are what was sampled.

One row per speaker j of group g, with n_j clips and the sum s_j of their scores, carries every estimate:

    mu_g = sum_j s_j / N_g,    N_g = sum_j n_j
    v_g  = J_g / (J_g - 1) * sum_j (s_j - mu_g n_j)^2 / N_g^2        (cluster-robust, J_g speakers)

**Speakers whom the sample did not meet.** Speakers who are always turned away and make up a share q of a group are
absent from J_g of its speakers with probability (1 - q)^J_g < exp(-q J_g). So no sample excludes, at (1 - confidence)
over G groups, an *unseen share* of

    q_g = ln(G / (1 - confidence)) / J_g,

the rule of three counted in speakers: 3 / J_g for one group at 95 %. It needs scores in [0, 1], and is used twice:

- Whatever spread is seen, the upper bound U of a gap reaches q_g beyond the gap in the sample: see `gap`.
- v_g is 0, and says nothing, when no speaker of the sample met a rare event. A group *shows its spread* if its
  speakers' standard deviation sqrt(J_g v_g) is at least `SPREAD_SD`, and at least `SPREAD_SPEAKERS` speakers (a
  quarter of the group if that is fewer) carry it, counted as (sum_j d_j^2)^2 / sum_j d_j^4 with d_j = s_j / n_j - mu_g:
  if k of many speakers deviate, alike, and the rest do not, that is k. To any other group's variance we add an unseen
  speaker's, f_g = (q_g / z)^2, z the two-sided normal quantile, so that z sqrt(f_g) = q_g. L and c rest on it.

Source: Cameron, Gelbach & Miller 2008 (cluster bootstrap-t); Hanley & Lippman-Hand 1983 (rule of three).
"""

from monitoring.parity.arguments import FEWEST_REPLICATES, FEWEST_SPEAKERS
from monitoring.parity.delta import Change, GapChange, GroupChange, gap_change
from monitoring.parity.design import DesignEffect, design_effects, speaker_sd
from monitoring.parity.gaps import POWER, Gap, Verdict, gap
from monitoring.parity.means import GroupMean, group_means
from monitoring.parity.permutation import GroupTest, PermutationTest, holm, permutation_test
from monitoring.parity.planning import Aim, GroupPlan, detectable_gap, plan, speakers_for_equivalence, speakers_for_gap
from monitoring.parity.shrinkage import ShrunkenMean, shrunken_intersections, shrunken_means
from monitoring.parity.spread import Spread, spread
from monitoring.parity.table import SpeakerTable
from monitoring.parity.unseen import SPREAD_SD, SPREAD_SPEAKERS

__all__ = [
    "FEWEST_REPLICATES",
    "FEWEST_SPEAKERS",
    "POWER",
    "SPREAD_SD",
    "SPREAD_SPEAKERS",
    "Aim",
    "Change",
    "DesignEffect",
    "Gap",
    "GapChange",
    "GroupChange",
    "GroupMean",
    "GroupPlan",
    "GroupTest",
    "PermutationTest",
    "ShrunkenMean",
    "SpeakerTable",
    "Spread",
    "Verdict",
    "design_effects",
    "detectable_gap",
    "gap",
    "gap_change",
    "group_means",
    "holm",
    "permutation_test",
    "plan",
    "shrunken_intersections",
    "shrunken_means",
    "speaker_sd",
    "speakers_for_equivalence",
    "speakers_for_gap",
    "spread",
]
