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
    label_of_byte = _label_of_byte(sizes, J).tobytes()
    labels = np.empty((permutations, J), dtype=np.uint8)
    for row in labels:
        row[:] = np.frombuffer(generator.bytes(J).translate(label_of_byte), dtype=np.uint8)
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
    surplus = np.bincount(labels, minlength=sizes.size) - sizes
    freed = [
        generator.choice(np.flatnonzero(labels == group), surplus[group], replace=False)
        for group in np.flatnonzero(surplus > 0)
    ]
    if freed:
        speakers = generator.permutation(np.concatenate(freed))
        labels[speakers] = np.repeat(np.arange(sizes.size, dtype=np.uint8), np.maximum(-surplus, 0))
