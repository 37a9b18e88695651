"""Keyed noise against the normal distribution, and numpy's Mersenne Twister."""

from __future__ import annotations

import hashlib
import math
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from scipy import stats

from recognizer.smoothing import noise


def stream(seed: int = 0, clip_id: str = "clip", first: int = 0, draws: int = 20) -> NDArray[np.float32]:
    return noise(seed, clip_id, first, draws, 5000).numpy()


def test_noise_is_standard_normal() -> None:
    values = stream().ravel()
    assert stats.kstest(values, "norm").pvalue > 1e-3
    per_draw = [stats.kstest(row, "norm").pvalue for row in stream()]
    assert stats.kstest(per_draw, "uniform").pvalue > 1e-3  # each draw by itself too
    assert np.abs(values).max() > 4  # its tails are there


@given(st.integers(0, 40), st.integers(1, 9))
def test_a_draw_is_the_same_whatever_the_batch_it_comes_in(first: int, draws: int) -> None:
    whole = noise(1, "clip", 0, 50, 30)
    np.testing.assert_array_equal(noise(1, "clip", first, draws, 30), whole[first : first + draws])


@pytest.mark.parametrize("other", [{"seed": 1}, {"clip_id": "clap"}, {"clip_id": "clip "}, {"first": 20}])
def test_another_seed_clip_or_draw_gives_unrelated_noise(other: dict[str, int | str]) -> None:
    one, two = stream().ravel(), stream(**other).ravel()  # type: ignore[arg-type]
    assert stats.pearsonr(one, two).pvalue > 1e-3
    windows = sliding_window_view(one, 4)[:, None]  # nor the same numbers at another place
    assert not (windows == two[:40].reshape(1, 10, 4)).all(axis=2).any()


def test_the_seed_and_the_clip_are_not_run_together() -> None:
    assert not np.array_equal(noise(1, "1clip", 0, 1, 8), noise(11, "clip", 0, 1, 8))


def test_draws_of_one_clip_are_uncorrelated() -> None:
    correlations = np.corrcoef(stream(draws=40))[np.triu_indices(40, 1)]
    assert stats.kstest(correlations * math.sqrt(5000), "norm").pvalue > 1e-3


def test_noise_is_the_same_from_many_threads_at_once() -> None:
    expected = [stream(clip_id=str(i)) for i in range(8)]
    with ThreadPoolExecutor(4) as pool:
        for got, wanted in zip(pool.map(lambda i: stream(clip_id=str(i)), range(8)), expected, strict=True):
            np.testing.assert_array_equal(got, wanted)


def test_noise_takes_and_leaves_no_global_state() -> None:
    before, torch_before = np.random.get_state()[1].copy(), torch.get_rng_state()  # noqa: NPY002
    expected = stream()
    np.testing.assert_array_equal(np.random.get_state()[1], before)  # noqa: NPY002
    assert torch.equal(torch.get_rng_state(), torch_before)
    np.random.seed(5)  # noqa: NPY002
    np.testing.assert_array_equal(stream(), expected)


def test_noise_is_the_normal_form_of_the_mersenne_twister_that_the_key_seeds() -> None:
    """Box and Muller's transform of numpy's Mersenne Twister, whose state is the hash of the key."""
    words = np.frombuffer(hashlib.shake_128(b"5\x00clip\x002").digest(4 * 624), dtype="<u4")
    twister = np.random.MT19937()
    twister.state = {"bit_generator": "MT19937", "state": {"key": words, "pos": 624}}
    uniform = (twister.random_raw(32) & (2**24 - 1)) / 2**24
    expected = []
    for start in (0, 16):  # torch transforms 16 numbers together
        radius = np.sqrt(-2 * np.log(1 - uniform[start : start + 8]))
        angle = 2 * np.pi * uniform[start + 8 : start + 16]
        expected += [radius * np.cos(angle), radius * np.sin(angle)]
    np.testing.assert_allclose(noise(5, "clip", 32, 1, 32)[0], np.concatenate(expected), rtol=1e-4, atol=1e-5)


def test_ten_thousand_draws_are_all_different() -> None:
    assert len(torch.unique(noise(0, "clip", 0, 10_000, 4), dim=0)) == 10_000
