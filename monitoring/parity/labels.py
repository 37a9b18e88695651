"""Labels of groups, handed to speakers at random: every arrangement that keeps the groups' sizes is equally likely."""

import numpy as np
from numpy.typing import NDArray

MANY_SPEAKERS = 20_000
"""From here on labels are drawn and then set right, which takes a third of the time of shuffling them."""
_LEVELS = 256
"""Values of a random byte."""
_SHORT_BY = 3.0
"""Standard deviations by which all but the largest group are drawn too small, so that seldom another gives any back."""

Labels = NDArray[np.uint8] | NDArray[np.int64]


def shuffled_labels(sizes: NDArray[np.int64], permutations: int, generator: np.random.Generator) -> Labels:
    """Labels 0, 1, ... of groups of the given sizes, in random order: [permutations, sum(sizes)]."""
    J = int(sizes.sum())
    if sizes.size > _LEVELS:
        return generator.permuted(np.tile(np.repeat(np.arange(sizes.size), sizes), (permutations, 1)), axis=1)
    if J < MANY_SPEAKERS:
        in_order = np.repeat(np.arange(sizes.size, dtype=np.uint8), sizes)
        return generator.permuted(np.tile(in_order, (permutations, 1)), axis=1)
    label_of_byte = _label_of_byte(sizes, J)
    labels = np.empty((permutations, J), dtype=np.uint8)
    for row in labels:
        drawn = np.frombuffer(generator.bytes(J), dtype=np.uint8)
        np.take(label_of_byte, drawn, out=row, mode="clip")  # every byte has a label; "raise" would buffer `out`
        _set_right(row, sizes, generator)
    return labels


def _label_of_byte(sizes: NDArray[np.int64], J: int) -> NDArray[np.uint8]:
    """The label that each byte stands for, about in proportion to the sizes: uint8 [256]."""
    expected = np.maximum(sizes - _SHORT_BY * np.sqrt(sizes), 0.0)
    numbers = np.floor(_LEVELS * expected / J).astype(np.int64)
    numbers[sizes.argmax()] += _LEVELS - numbers.sum()
    return np.repeat(np.arange(sizes.size, dtype=np.uint8), numbers)


def _set_right(labels: NDArray[np.uint8], sizes: NDArray[np.int64], generator: np.random.Generator) -> None:
    """Move speakers, chosen at random, from groups that came out too large to those that came out too small.

    Nothing here looks at who a speaker is, so all arrangements of the right sizes stay equally likely, whatever the
    probabilities of the labels were.
    """
    surplus = _counts(labels, sizes.size) - sizes
    freed = [
        generator.choice(np.flatnonzero(labels == group), surplus[group], replace=False)
        for group in np.flatnonzero(surplus > 0)
    ]
    if freed:
        speakers = generator.permutation(np.concatenate(freed))
        labels[speakers] = np.repeat(np.arange(sizes.size, dtype=np.uint8), np.maximum(-surplus, 0))


def _counts(labels: NDArray[np.uint8], groups: int) -> NDArray[np.int64]:
    """How often each label is there: `np.bincount`, of two labels at a time."""
    even = labels.size // 2 * 2
    pairs = np.bincount(labels[:even].view(np.uint16), minlength=groups * _LEVELS).reshape(-1, _LEVELS)[:, :groups]
    return np.asarray(pairs.sum(axis=0) + pairs.sum(axis=1) + np.bincount(labels[even:], minlength=groups))
