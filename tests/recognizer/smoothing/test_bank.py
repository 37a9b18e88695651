"""Votes from a bank of noise against the network itself under the same noise."""

from __future__ import annotations

import math
from collections import Counter
from threading import Thread

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor

from recognizer.decision import Reason, Replay
from recognizer.defense import NetworkError
from recognizer.mode import Mode
from recognizer.network import M5, Architecture, architecture
from recognizer.smoothing import BankVoting, KeyedVoting, RandomizedSmoothing, VoteTest, noise, voting_of
from recognizer.smoothing.bank import bank_noise, first_block
from recognizer.smoothing.fast import has_bfloat16
from recognizer.smoothing.noise import BLOCK
from recognizer.smoothing.voting import Block

SIGMA, SAMPLES = 0.1, 8000
LABELS = tuple("0123456789")


@pytest.fixture(scope="module")
def small() -> M5:
    """Of the real shape, untrained; its logits are centred, so that noise changes its mind."""
    torch.manual_seed(1)
    network = M5(architecture("m5-small", 10)).eval()
    with torch.inference_mode():
        network.head.weight *= 50
        network.head.bias -= network(0.14 * torch.randn(300, SAMPLES)).mean(dim=0)
    return network


@pytest.fixture(scope="module")
def clips() -> Tensor:
    return 0.1 * torch.randn(5, SAMPLES, generator=torch.Generator().manual_seed(0)) + 0.05


@pytest.fixture(scope="module")
def voting(small: M5) -> BankVoting:
    return BankVoting(small, sigma=SIGMA, samples=SAMPLES, seed=7, rows=64)


def logits_by_hand(network: M5, clip: Tensor, seed: int, clip_id: str, rows: int, draws: int, bank: int) -> Tensor:
    """A replay: the recorded bank's rows from the recorded place on, then noise of the clip's own."""
    first = first_block(seed, clip_id, rows // BLOCK)
    blocks = [bank_noise(bank, (first + b) % (rows // BLOCK), SAMPLES) for b in range(rows // BLOCK)]
    own = noise(seed, clip_id, rows, max(draws - rows, 0), SAMPLES)
    drawn = torch.cat((*blocks, own))[:draws]
    with torch.inference_mode():
        return network(clip + SIGMA * drawn)


def test_its_votes_are_the_networks_own_under_the_recorded_rows_but_for_near_ties(
    small: M5, clips: Tensor, voting: BankVoting
) -> None:
    ids = [f"clip {i}" for i in range(len(clips))]
    ballots = voting.ballots(clips, clip_ids=ids, seeds=[3] * len(ids))
    assert {ballot.replay for ballot in ballots} == {Replay("float32", bank=7, rows=64)}
    draws = 96  # 64 from the bank and 32 of the clip's own
    blocks = [Block(ballot, b) for ballot in ballots for b in range(draws // BLOCK)]
    leaders = torch.from_numpy(voting.leaders(blocks)).view(len(clips), draws)
    different = 0
    for clip, clip_id, said in zip(clips, ids, leaders, strict=True):
        expected = logits_by_hand(small, clip, 3, clip_id, 64, draws, bank=7)
        top = expected.topk(2, dim=1).values
        is_close = top[:, 0] - top[:, 1] < 1e-3 * expected.std()
        assert ((said == expected.argmax(dim=1)) | is_close).all()
        different += int((said != expected.argmax(dim=1)).sum())
        assert len(set(said.tolist())) > 1
    assert different <= 2


def test_its_logits_are_the_networks_to_float32(small: M5, clips: Tensor, voting: BankVoting) -> None:
    bank = voting.bank
    with torch.inference_mode():
        for clip in (clips[0], clips[1] * 5 - 0.5, torch.zeros(SAMPLES)):
            (got,) = bank.logits([bank.of_clip(clip)], [2])
            expected = small(clip + SIGMA * bank_noise(7, 2, SAMPLES))
            torch.testing.assert_close(got, expected, rtol=1e-3, atol=1e-3 * float(expected.std()))


def test_many_blocks_at_once_are_what_they_are_one_by_one(clips: Tensor, voting: BankVoting) -> None:
    """As an accelerator computes them."""
    bank = voting.bank
    with torch.inference_mode():
        heard = [bank.of_clip(clips[place]) for place in (0, 3, 3, 1)]
        together = bank.logits(heard, [2, 0, 2, 3])
        for one, clip, index in zip(together, heard, [2, 0, 2, 3], strict=True):
            (alone,) = bank.logits([clip], [index])
            torch.testing.assert_close(one, alone, rtol=1e-3, atol=1e-3 * float(alone.std()))


def test_the_rows_are_independent(voting: BankVoting) -> None:
    rows = voting.bank.noise.view(64, SAMPLES)
    correlations = np.corrcoef(rows.numpy())[np.triu_indices(64, 1)]
    assert stats.kstest(correlations * math.sqrt(SAMPLES), "norm").pvalue > 1e-3


@pytest.mark.parametrize("clip_id", ["a", "b", "c", "d", "e", "f"])
def test_no_row_is_used_twice_in_a_vote(
    clips: Tensor, voting: BankVoting, clip_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each of the bank's blocks once, wherever the vote begins, and then noise of the clip's own."""
    asked: list[int] = []
    answer = voting.bank.logits
    monkeypatch.setattr(voting.bank, "logits", lambda heard, index: asked.extend(index) or answer(heard, index))
    (ballot,) = voting.ballots(clips[:1], clip_ids=[clip_id], seeds=[0])
    voting.leaders([Block(ballot, index) for index in range(6)])
    assert sorted(asked) == [0, 1, 2, 3]
    assert asked[0] == first_block(0, clip_id, 4)


@pytest.mark.parametrize("offset", [0.0, 0.3, 0.9])
@pytest.mark.parametrize("sigma", [0.003, 0.02])
def test_a_clip_far_off_zero_under_little_noise_keeps_its_digits(small: M5, offset: float, sigma: float) -> None:
    bank = BankVoting(small, sigma=sigma, samples=SAMPLES, seed=2, rows=16).bank
    clip = torch.full((SAMPLES,), offset)
    with torch.inference_mode():
        (got,) = bank.logits([bank.of_clip(clip)], [0])
        expected = small.double()(clip.double() + sigma * bank_noise(2, 0, SAMPLES).double())
        small.float()
    torch.testing.assert_close(got.double(), expected, rtol=1e-2, atol=5e-3 * float(expected.std()))


def test_clips_of_another_length_are_refused(clips: Tensor, voting: BankVoting) -> None:
    with pytest.raises(ValueError, match="7999 samples; the bank was drawn for 8000"):
        voting.ballots(clips[:, :7999], clip_ids=list("abcde"), seeds=[0] * 5)


def test_votes_begin_all_over_the_bank() -> None:
    places = Counter(first_block(5, f"clip {i}", 8) for i in range(4000))
    assert stats.chisquare([places[i] for i in range(8)]).pvalue > 1e-3
    assert first_block(5, "clip", 64) == first_block(5, "clip", 64)
    assert len({first_block(seed, "clip", 64) for seed in range(50)}) > 20


def test_a_decision_tells_its_bank_and_can_be_replayed(small: M5, clips: Tensor, voting: BankVoting) -> None:
    smoothing = RandomizedSmoothing(small, LABELS, sigma=SIGMA, draws=96, error_alpha=0.01, voting=voting)
    for i, decision in enumerate(smoothing.decide(clips, clip_ids=list("abcde"), seed=11)):
        certificate = decision.certificate
        assert certificate is not None
        replay = certificate.replay
        assert replay is not None
        assert (replay.precision, replay.bank, replay.rows) == ("float32", 7, 64)
        logits = logits_by_hand(small, clips[i], 11, "abcde"[i], replay.rows, 96, bank=replay.bank)
        counts = torch.bincount(logits.argmax(dim=1), minlength=10)
        assert decision.confidence == pytest.approx(float(counts.max()) / 96, abs=1.01 / 96)


def test_exact_decisions_name_no_bank(small: M5, clips: Tensor) -> None:
    smoothing = RandomizedSmoothing(small, LABELS, sigma=SIGMA, draws=32, error_alpha=0.01)
    for decision in smoothing.decide(clips, clip_ids=list("abcde"), seed=0):
        assert decision.certificate is not None
        assert decision.certificate.replay == Replay("float32")


def test_a_new_bank_is_used_from_the_next_decision_on(small: M5, clips: Tensor) -> None:
    voting = BankVoting(small, sigma=SIGMA, samples=SAMPLES, seed=1, rows=16)
    (old,) = voting.ballots(clips[:1], clip_ids=["a"], seeds=[0])
    before = voting.leaders([Block(old, 0)])
    renewing = Thread(target=voting.renew, args=(2,))
    renewing.start()
    renewing.join()
    (new,) = voting.ballots(clips[:1], clip_ids=["a"], seeds=[0])
    assert new.replay == Replay("float32", bank=2, rows=16)
    assert old.replay == Replay("float32", bank=1, rows=16)
    alone = voting.leaders([Block(new, 0)])
    together = voting.leaders([Block(old, 0), Block(new, 0), Block(old, 1), Block(new, 1)])
    np.testing.assert_array_equal(together[:2], np.concatenate([before, alone]))
    np.testing.assert_array_equal(together[2], together[3])  # beyond either bank: keyed alike
    assert not torch.equal(voting.bank.noise[0], SIGMA * bank_noise(1, 0, SAMPLES))


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_clip_that_holds_no_numbers_is_an_error(small: M5, clips: Tensor, voting: BankVoting, value: float) -> None:
    broken = clips.clone()
    broken[3, 5000] = value
    smoothing = RandomizedSmoothing(small, LABELS, sigma=SIGMA, draws=96, error_alpha=0.01, voting=voting)
    with pytest.raises(NetworkError):
        smoothing.decide(broken, clip_ids=list("abcde"), seed=0)


@pytest.mark.parametrize("rows", [0, 8, 17])
def test_a_bank_has_whole_blocks(small: M5, rows: int) -> None:
    with pytest.raises(ValueError, match=f"{rows} rows; a multiple of {BLOCK}"):
        BankVoting(small, sigma=SIGMA, samples=SAMPLES, seed=1, rows=rows)


def test_fast_votes_of_a_small_network_come_from_a_bank_and_of_a_large_one_in_bfloat16(small: M5) -> None:
    def votes(network: M5, mode: Mode) -> object:
        return voting_of(network, mode, sigma=SIGMA, samples=SAMPLES, seed=1, rows=16)

    assert isinstance(votes(small, Mode.FAST), BankVoting)
    assert isinstance(votes(small, Mode.EXACT), KeyedVoting)
    assert isinstance(votes(M5(Architecture(labels=3)).eval(), Mode.FAST), KeyedVoting)
    tricks = M5(architecture("m5-small-tricks", 3)).eval()
    assert isinstance(votes(tricks, Mode.FAST), KeyedVoting)


@pytest.mark.skipif(not has_bfloat16(torch.device("cpu")), reason="this processor does not multiply in bfloat16")
def test_in_bfloat16_a_large_network_decides_as_in_float32() -> None:
    torch.manual_seed(0)
    network = M5(Architecture(labels=10)).eval()
    clips = 0.1 * torch.randn(3, 2000)
    with torch.inference_mode():
        network.head.bias -= network(0.14 * torch.randn(50, 2000)).mean(dim=0)
    decided = []
    for mode in Mode:
        voting = voting_of(network, mode, sigma=SIGMA, samples=2000, seed=1)
        smoothing = RandomizedSmoothing(
            network, LABELS, sigma=SIGMA, draws=200, error_alpha=0.01, test=VoteTest.SEQUENTIAL, voting=voting
        )
        decided.append(smoothing.decide(clips, clip_ids=list("abc"), seed=0))
    for exact, fast in zip(*decided, strict=True):
        assert exact.confidence == pytest.approx(fast.confidence, abs=0.1)
        assert {exact.reason, fast.reason} <= {Reason.OK, Reason.SMOOTHING_TIE}
