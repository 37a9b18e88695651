"""Which clips are attacked where all of them would cost too much."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Sequence


def choose_clips(clips: Sequence[str], speakers: Sequence[str], *, count: int, seed: int) -> tuple[str, ...]:
    """Round after round one more clip of every speaker, until there are `count`.

    So every speaker has as many as any other, or one fewer, while their own last. The order within a round, and of a
    speaker's clips, is that of a keyed hash: the same whatever the order of the rows, and the first n of a larger
    choice are those of a smaller one.

    Args:
        clips: [clips] unique names.
        speakers: [clips] who says them.

    Returns:
        [at most count] names, in the order chosen.
    """
    by_speaker: dict[str, list[str]] = defaultdict(list)
    for clip, speaker in zip(clips, speakers, strict=True):
        by_speaker[speaker].append(clip)
    turns = [
        (turn, _key(seed, speaker), clip)
        for speaker, own in by_speaker.items()
        for turn, clip in enumerate(sorted(own, key=lambda clip: _key(seed, clip)))
    ]
    return tuple(clip for _, _, clip in sorted(turns)[:count])


def _key(seed: int, name: str) -> str:
    return hashlib.sha256(f"{seed}\x00{name}".encode()).hexdigest()
