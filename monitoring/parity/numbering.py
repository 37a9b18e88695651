"""Strings numbered in their order, by hashing, which is faster than sorting a million ids."""

import numpy as np
import pandas as pd
from numpy.typing import NDArray

_ROWS_AT_ONCE = 20_000
"""Strings hashed or compared in one step: what a processor's cache holds."""


def numbered(strings: NDArray[np.str_]) -> tuple[NDArray[np.str_], NDArray[np.int64]]:
    """The different strings, sorted, and the place of each among them: `np.unique(..., return_inverse=True)`."""
    code, _ = pd.factorize(_hashes(strings))
    names = strings[first_places(code)]
    if not _is_each(names, code, strings):  # two strings have one hash
        names, place = np.unique(strings, return_inverse=True)
        return names, place
    order = np.argsort(names, kind="stable")  # ids often come nearly in order
    rank = np.empty(order.size, dtype=np.int64)
    rank[order] = np.arange(order.size)
    return names[order], rank[code]


def first_places(number: NDArray[np.int64]) -> NDArray[np.int64]:
    """Where each of 0, 1, ... comes first; all up to the largest must be there."""
    first = np.empty(int(number.max()) + 1, dtype=np.int64)
    first[number[::-1]] = np.arange(number.size)[::-1]  # of several places, the one assigned last stays
    return first


def _hashes(strings: NDArray[np.str_]) -> NDArray[np.uint64]:
    """The sum of the characters' codes times odd numbers, modulo 2^64."""
    codes = np.ascontiguousarray(strings).view(np.uint32).reshape(strings.size, -1)
    odd = np.random.default_rng(0).integers(2**64, size=codes.shape[1], dtype=np.uint64) | np.uint64(1)
    hashes = np.empty(strings.size, dtype=np.uint64)
    for k in range(0, strings.size, _ROWS_AT_ONCE):
        np.matmul(codes[k : k + _ROWS_AT_ONCE], odd, out=hashes[k : k + _ROWS_AT_ONCE])
    return hashes


def _is_each(names: NDArray[np.str_], code: NDArray[np.int64], strings: NDArray[np.str_]) -> bool:
    """Does each string have the name that its code stands for?"""
    steps = (slice(k, k + _ROWS_AT_ONCE) for k in range(0, strings.size, _ROWS_AT_ONCE))
    return all(bool((names[code[rows]] == strings[rows]).all()) for rows in steps)
