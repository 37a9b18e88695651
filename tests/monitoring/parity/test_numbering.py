"""Strings numbered by hashing against numpy's sorting."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from monitoring.parity import numbering
from monitoring.parity.numbering import first_places, numbered


def assert_as_numpy(strings: NDArray[np.str_]) -> None:
    names, place = numbered(strings)
    expected, inverse = np.unique(strings, return_inverse=True)
    assert names.tolist() == expected.tolist()
    assert place.tolist() == inverse.tolist()


@given(st.lists(st.text(st.characters(exclude_characters="\0"), max_size=6), min_size=1, max_size=40))
def test_strings_are_numbered_in_their_order(strings: list[str]) -> None:
    assert_as_numpy(np.array(strings))


def test_more_strings_than_one_step_takes() -> None:
    rng = np.random.default_rng(1)
    assert_as_numpy(np.char.add("speaker-", rng.integers(9_000, size=45_000).astype(str))[::-1])


def test_strings_with_one_hash_are_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(numbering, "_hashes", lambda strings: np.char.str_len(strings).astype(np.uint64))
    assert_as_numpy(np.array(["b", "a", "cc", "b", "dd", "cc", ""]))


@given(st.lists(st.integers(0, 9), min_size=1, max_size=40))
def test_the_first_place_of_each_number(numbers: list[int]) -> None:
    _, number = np.unique(numbers, return_inverse=True)
    assert first_places(number).tolist() == [number.tolist().index(k) for k in range(number.max() + 1)]
