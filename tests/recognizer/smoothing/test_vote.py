"""The statistics of a vote, against scipy's exact tests and simulated ties."""

from __future__ import annotations

import math
from random import Random

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import stats

from recognizer.smoothing import InfeasibleSmoothing, VoteRule, Votes, VoteTest, check_settings, lower_bound, p_value
from recognizer.smoothing.vote import EARLY_SHARE, log_e_value

COUNTS = st.lists(st.integers(0, 2000), min_size=2, max_size=6).filter(any)


# The test of the top two counts


@given(COUNTS)
@example([0, 1])
@example([2000, 0])
@example([2000, 1999])
def test_p_value_is_scipys_binomial_test_of_the_two_largest_counts(counts: list[int]) -> None:
    second, first = sorted(counts)[-2:]
    expected = stats.binomtest(first, first + second, 0.5).pvalue
    assert float(p_value(np.array(counts))) == pytest.approx(expected, rel=1e-9)


@given(st.lists(st.lists(st.integers(0, 50), min_size=3, max_size=3).filter(any), min_size=1, max_size=8))
def test_p_values_of_a_table_are_those_of_its_rows(table: list[list[int]]) -> None:
    together = p_value(np.array(table))
    assert together.shape == (len(table),)
    assert together.tolist() == [float(p_value(np.array(row))) for row in table]


@given(COUNTS, st.randoms())
def test_p_value_ignores_which_label_is_which(counts: list[int], random: Random) -> None:
    shuffled = random.sample(counts, len(counts))
    assert float(p_value(np.array(counts))) == float(p_value(np.array(shuffled)))


@given(st.integers(1, 500), st.integers(0, 3))
def test_a_tie_has_p_1(votes: int, others: int) -> None:
    assert float(p_value(np.array([votes, votes, *[votes // 2] * others]))) == 1.0


@given(st.integers(1, 3000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))), st.floats(1e-6, 0.4))
def test_lower_bound_is_scipys_clopper_pearson_interval(votes: tuple[int, int], error_alpha: float) -> None:
    successes, draws = votes
    interval = stats.binomtest(successes, draws).proportion_ci(1 - 2 * error_alpha, method="exact")
    assert lower_bound(successes, draws, error_alpha) == pytest.approx(interval.low, rel=1e-6, abs=1e-12)


@pytest.mark.parametrize(("successes", "draws"), [(1, 20), (60, 100), (100, 100), (990, 1000)])
def test_at_the_lower_bound_so_many_votes_have_probability_error_alpha(successes: int, draws: int) -> None:
    bound = lower_bound(successes, draws, 0.01)
    assert stats.binom.sf(successes - 1, draws, bound) == pytest.approx(0.01)


# Settings


@pytest.mark.parametrize(("draws", "error_alpha"), [(10, 0.001), (1, 0.5), (9, 2**-8.5), (50, 1e-16)])
def test_refuses_an_error_alpha_that_can_never_be_reached(draws: int, error_alpha: float) -> None:
    sentence = f"with {draws} draws even a unanimous vote has p = 2\\^\\(1-{draws}\\) > error_alpha"
    with pytest.raises(InfeasibleSmoothing, match=sentence) as refused:
        check_settings(sigma=0.1, error_alpha=error_alpha, draws=draws)
    needed = int(str(refused.value).split("at least ")[1].split()[0])
    check_settings(sigma=0.1, error_alpha=error_alpha, draws=needed)
    with pytest.raises(InfeasibleSmoothing):
        check_settings(sigma=0.1, error_alpha=error_alpha, draws=needed - 1)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"sigma": 0.0}, "sigma is 0.0"),
        ({"sigma": -1.0}, "sigma is -1.0"),
        ({"sigma": math.nan}, "sigma is nan"),
        ({"sigma": math.inf}, "sigma is inf"),
        ({"labels": 1}, "at least 2 labels"),
        ({"draws": 0}, "0 draws"),
        ({"error_alpha": 0.0}, "error_alpha is 0.0"),
        ({"error_alpha": 1.1}, "error_alpha is 1.1"),
        ({"error_alpha": math.nan}, "error_alpha is nan"),
    ],
)
def test_refuses_settings_that_mean_nothing(settings: dict[str, float], words: str) -> None:
    with pytest.raises(InfeasibleSmoothing, match=words):
        check_settings(**{"sigma": 0.1, "error_alpha": 0.01, "draws": 100, **settings})  # type: ignore[arg-type]


# The sequential test


def e_value_by_bets(votes: list[int]) -> float:
    """The wealth of a gambler who bets on each next vote after those before it, by Krichevsky and Trofimov's rule."""
    wealth, seen = 1.0, [0, 0]
    for vote in votes:
        wealth *= 2 * (seen[vote] + 0.5) / (sum(seen) + 1)
        seen[vote] += 1
    return wealth


@given(st.lists(st.integers(0, 1), max_size=300))
def test_the_e_value_is_what_a_gambler_has_won(votes: list[int]) -> None:
    counts = np.bincount(votes, minlength=2)
    assert float(log_e_value(counts)) == pytest.approx(math.log(e_value_by_bets(votes)), abs=1e-8)


def sequential(labels: int, draws: int, error_alpha: float) -> VoteRule:
    return VoteRule(labels=labels, draws=draws, error_alpha=error_alpha, test=VoteTest.SEQUENTIAL)


def literal(leaders: list[int], rule: VoteRule) -> tuple[list[int], int, float]:
    """Counts, draws and p-value of one vote by the definition, a draw at a time."""
    counts, most = [0] * rule.labels, [0.0] * rule.labels
    for draw, leader in enumerate(leaders[: rule.draws], start=1):
        counts[leader] += 1
        first = max(range(rule.labels), key=lambda k: (counts[k], -k))
        second = max(counts[k] for k in range(rule.labels) if k != first)
        log_e = float(log_e_value(np.array([counts[first], second])))
        most[first] = max(most[first], log_e)
        early = min(1.0, (rule.labels - 1) / (EARLY_SHARE * math.exp(min(most[first], 700))))
        if draw < rule.draws and early <= min(rule.error_alpha, 0.001) * (1 + 1e-12):
            return counts, draw, early
    if sorted(counts)[-1] == sorted(counts)[-2]:
        return counts, sum(counts), 1.0
    first = max(range(rule.labels), key=lambda k: (counts[k], -k))
    early = min(1.0, (rule.labels - 1) / (EARLY_SHARE * math.exp(min(most[first], 700))))
    if sum(counts) < rule.draws:
        return counts, sum(counts), early
    second = max(counts[k] for k in range(rule.labels) if k != first)
    fixed = stats.binomtest(counts[first], counts[first] + second, 0.5).pvalue / (1 - EARLY_SHARE)
    return counts, rule.draws, min(1.0, fixed, early)


@given(
    st.lists(st.integers(0, 3), max_size=120),
    st.integers(0, 60),
    st.lists(st.integers(1, 40), min_size=1, max_size=20),
    st.sampled_from([0.0005, 0.01, 0.3]),
    st.integers(20, 150),
)
def test_a_vote_ends_as_the_definition_says_however_its_draws_come(
    leaders: list[int], tail: int, parts: list[int], error_alpha: float, draws: int
) -> None:
    leaders = [*leaders, *[1] * tail]
    rule = sequential(4, draws, error_alpha)
    votes = Votes(1, rule)
    left, sizes = list(leaders), iter(parts * 200)
    while left and not votes.is_settled[0]:
        size = next(sizes)
        votes.add(np.array([0]), np.array([left[:size]]))
        left = left[size:]
    counts, ended, p = literal(leaders, rule)
    assert (votes.counts[0].tolist(), int(votes.draws[0])) == (counts, ended)
    assert float(votes.p_values()[0]) == pytest.approx(p, rel=1e-9)


def test_clips_are_settled_by_their_own_votes_alone() -> None:
    random = np.random.default_rng(0)
    rule = sequential(5, 300, 0.001)
    leaders = np.stack([random.choice(5, 300, p=[p, *[(1 - p) / 4] * 4]) for p in (0.25, 0.4, 0.6, 0.9, 1.0)])
    together = Votes(5, rule)
    for start in range(0, 300, 20):
        clips = np.flatnonzero(~together.is_settled)
        together.add(clips, leaders[clips, start : start + 20])
    for clip in range(5):
        alone = Votes(1, rule)
        alone.add(np.array([0]), leaders[clip : clip + 1])
        assert alone.counts[0].tolist() == together.counts[clip].tolist()
        assert alone.p_values()[0] == together.p_values()[clip]
    assert together.draws[4] < 40
    assert together.draws[0] == 300


def test_what_another_label_once_led_by_is_no_evidence_for_the_leader() -> None:
    rule = sequential(2, 200, 0.5)
    votes = Votes(1, rule)
    votes.add(np.array([0]), np.array([[0] * 15 + [1] * 17 + [0, 1] * 84]))
    assert votes.counts[0].argmax() == 1
    assert votes.p_values()[0] > 0.5


@pytest.mark.parametrize("error_alpha", [1e-6, 0.001, 0.05])
def test_the_rejection_score_is_that_of_a_fixed_n_within_one_in_a_hundred(error_alpha: float) -> None:
    random = np.random.default_rng(1)
    leaders = np.concatenate([random.choice(3, (200, 400), p=[p, 0.9 - p, 0.1]) for p in (0.45, 0.48, 0.5, 0.6)])
    scores = []
    for test in VoteTest:
        votes = Votes(800, VoteRule(labels=3, draws=400, error_alpha=error_alpha, test=test))
        votes.add(np.arange(800), leaders)
        scores.append(np.maximum(votes.p_values() - 0.001, 0))
    fixed, early = scores
    assert (early <= fixed / (1 - EARLY_SHARE) + 2e-5).all()
    assert early.mean() == pytest.approx(fixed.mean(), rel=0.02)
    assert (early == 0).sum() >= 100


def test_a_tie_is_accepted_at_no_error_alpha_whoever_led_before() -> None:
    rule = sequential(2, 200, 0.5)
    for first in (0, 1):
        votes = Votes(1, rule)
        votes.add(np.array([0]), np.array([[first] * 14 + [1 - first] * 14 + [0, 1] * 86]))
        assert votes.counts[0].tolist() == [100, 100]
        assert votes.p_values()[0] == 1.0


def test_a_share_of_error_alpha_too_small_for_the_last_test_is_refused() -> None:
    sequential(2, 11, 2.0**-10 / (1 - EARLY_SHARE))
    with pytest.raises(InfeasibleSmoothing, match="at least 12 draws"):
        sequential(2, 11, 2.0**-10)
    VoteRule(labels=2, draws=11, error_alpha=2.0**-10, test=VoteTest.FIXED)


def ties(labels: int, votes: int, draws: int, seed: int) -> NDArray[np.int64]:
    """Votes of clips whose two likeliest labels are equally likely: the hardest there are."""
    shares = np.full(labels, 0.1 / max(labels - 2, 1))
    shares[:2] = 0.5 if labels == 2 else 0.45
    return np.random.default_rng(seed).choice(labels, (votes, draws), p=shares / shares.sum())


@pytest.mark.parametrize("labels", [2, 10, 13])
def test_on_a_tie_a_label_is_accepted_no_more_often_than_error_alpha(labels: int) -> None:
    """20,000 ties of up to 1000 draws: the 99 % Clopper-Pearson lower bound of the rate, while peeking is far off.

    At a tie either acceptance is an error: as hard as the test can have it.
    """
    total, accepted, peeked = 20_000, {0.05: 0, 0.001: 0}, {0.05: 0, 0.001: 0}
    for seed in range(20):
        leaders = ties(labels, total // 20, 1000, seed)
        for error_alpha in accepted:
            votes = Votes(len(leaders), sequential(labels, 1000, error_alpha))
            votes.add(np.arange(len(leaders)), leaders)
            accepted[error_alpha] += int((votes.p_values() <= error_alpha).sum())
        running = (leaders[:, :, None] == np.arange(labels)).cumsum(axis=1)[:, 9::10]
        looks = p_value(running)
        for error_alpha in peeked:
            peeked[error_alpha] += int((looks <= error_alpha).any(axis=1).sum())
    for error_alpha, count in accepted.items():
        assert stats.binomtest(count, total).proportion_ci(0.98, method="exact").low <= error_alpha
        assert stats.binomtest(peeked[error_alpha], total).proportion_ci(0.98, method="exact").low > error_alpha


def test_decides_as_the_test_at_fixed_n_does() -> None:
    """Over difficulties p_A = 0.5 ... 0.999: at least 99.9 % of decisions equal, with far fewer draws where the leader
    is clear."""
    equal, total, used = 0, 0, {}
    for p_a in (0.5, 0.51, 0.52, 0.55, 0.6, 0.7, 0.8, 0.9, 0.99, 0.999):
        random = np.random.default_rng(int(1000 * p_a))
        others = np.full(9, 0.1 * (1 - p_a) / 8)
        others[0] = 0.9 * (1 - p_a)
        leaders = random.choice(10, (1000, 1000), p=[p_a, *others])
        decided = []
        for test in VoteTest:
            votes = Votes(1000, VoteRule(labels=10, draws=1000, error_alpha=0.001, test=test))
            votes.add(np.arange(1000), leaders)
            decided.append(np.where(votes.p_values() <= 0.001, votes.counts.argmax(axis=1), -1))
        equal += int((decided[0] == decided[1]).sum())
        total += 1000
        used[p_a] = float(votes.draws.mean())
    assert equal / total >= 0.999
    assert used[0.999] < 30
    assert used[0.9] < 60
    assert used[0.7] < 200
