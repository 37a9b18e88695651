"""Design effects against closed forms and an analysis of variance in loops."""

from math import isnan, sqrt

import numpy as np
import pytest
from scipy import stats

from monitoring.parity import design_effects, speaker_sd


def test_one_clip_a_speaker_is_worth_a_speaker() -> None:
    score = np.random.default_rng(1).random(30)
    (found,) = design_effects(speaker=[f"s{j}" for j in range(30)], group=["x"] * 30, score=score)
    assert found.effect == pytest.approx(1.0, rel=1e-12)
    assert found.effective_clips == pytest.approx(30)
    assert isnan(found.icc)


def test_a_speaker_who_says_the_same_again_adds_nothing() -> None:
    score = np.random.default_rng(2).random(30)
    (found,) = design_effects(speaker=[f"s{j // 5}" for j in range(150)], group=["x"] * 150, score=score.repeat(5))
    assert found.effect == pytest.approx(30 / 29 * 5 * 149 / 150)
    assert found.icc == pytest.approx(1.0)
    assert found.effective_clips == pytest.approx(30, rel=0.05)


def test_the_intraclass_correlation_is_that_of_an_analysis_of_variance() -> None:
    rng = np.random.default_rng(3)
    own = rng.beta(2, 5, 40).repeat(6)
    score = np.clip(own + rng.normal(0, 0.1, 240), 0, 1)
    (found,) = design_effects(speaker=[f"s{j // 6:02}" for j in range(240)], group=["x"] * 240, score=score)
    F = stats.f_oneway(*score.reshape(40, 6)).statistic
    assert found.icc == pytest.approx((F - 1) / (F + 5), rel=1e-9)
    assert found.effect == pytest.approx(1 + 5 * found.icc, rel=0.05)


def test_groups_that_can_not_tell_say_so() -> None:
    one, same = design_effects(speaker=["a", "b", "c"], group=["one", "same", "same"], score=[0.1, 0.5, 0.5])
    assert isnan(one.effect)
    assert isnan(same.effect)
    assert isnan(one.effective_clips)


def test_more_clips_of_a_speaker_help_up_to_what_the_speaker_is() -> None:
    assert speaker_sd(clip_sd=0.4, icc=0.3, clips_per_speaker=1) == 0.4
    assert speaker_sd(clip_sd=0.4, icc=0.0, clips_per_speaker=16) == pytest.approx(0.1)
    assert speaker_sd(clip_sd=0.4, icc=0.3, clips_per_speaker=1e9) == pytest.approx(0.4 * sqrt(0.3))
    rng = np.random.default_rng(4)
    means = rng.binomial(5, rng.beta(0.7, 1.6333, 200_000)) / 5  # p = 0.3, icc = 0.3
    assert speaker_sd(clip_sd=sqrt(0.21), icc=0.3, clips_per_speaker=5) == pytest.approx(means.std(), rel=0.01)


@pytest.mark.parametrize(("clip_sd", "icc", "clips"), [(-0.1, 0.3, 4), (0.4, 1.1, 4), (0.4, 0.3, 0.5)])
def test_an_argument_outside_its_range_is_refused(clip_sd: float, icc: float, clips: float) -> None:
    with pytest.raises(ValueError, match="accepted"):
        speaker_sd(clip_sd=clip_sd, icc=icc, clips_per_speaker=clips)
