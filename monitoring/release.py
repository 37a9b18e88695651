"""Release of group counts in lots, so that no one person's outcome can be read off two looks at them.

What is seen of a group is held back until it holds at least k observations of at least m speakers; then all of it is
released together. What is held back is a sum for each speaker, not a list: a group that never reaches m speakers takes
no more room the more they say.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from monitoring.tally import Cell, Tally

NOBODY = ""
"""The speaker of commands without one; each of them counts as a speaker."""


@dataclass(frozen=True)
class ReleaseRule:
    """How much has to be released together."""

    commands: int = 10
    """k"""
    speakers: int = 3
    """m"""

    def allows(self, *, commands: int, speakers: int) -> bool:
        """Whether so much may be released."""
        return commands >= self.commands and speakers >= self.speakers


class Lot(NamedTuple):
    """What is released together. Commands without a speaker are lots of their own: whoever sends them could otherwise
    release one registered speaker's among them. So are labels, which come whenever somebody gives them."""

    cell: Cell
    is_of_labels: bool
    has_speakers: bool


class Lots:
    """What is held back: the sum of each lot's observations, by speaker."""

    def __init__(self, rule: ReleaseRule, held: Mapping[Lot, Mapping[str, Tally]] | None = None) -> None:
        self._rule = rule
        self._held = {lot: dict(by_speaker) for lot, by_speaker in (held or {}).items()}

    @property
    def held(self) -> Mapping[Lot, Mapping[str, Tally]]:
        return self._held

    def add(self, cell: Cell, seen: Tally, *, speaker: str | None, is_label: bool) -> None:
        """Hold back one more observation, or several of one speaker."""
        by_speaker = self._held.setdefault(Lot(cell, is_label, has_speakers=speaker is not None), {})
        who = speaker or NOBODY
        if who not in by_speaker:
            by_speaker[who] = Tally()
        by_speaker[who].add(seen)

    def release(self) -> dict[Lot, Tally]:
        """The lots that hold enough, each as one sum; they are empty from now on."""
        released = {}
        for lot, by_speaker in list(self._held.items()):
            observations = sum(tally.observations for tally in by_speaker.values())
            speakers = len(by_speaker) if lot.has_speakers else observations
            if self._rule.allows(commands=observations, speakers=speakers):
                del self._held[lot]
                released[lot] = Tally()
                for tally in by_speaker.values():
                    released[lot].add(tally)
        return released
