"""Release of group counts in lots, so that no one person's outcome can be read off two scrapes.

What is seen of a group is held back until it holds at least k commands of at least m speakers; then all of it is
released together.
"""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)
Observation = TypeVar("Observation")


@dataclass
class _Lot(Generic[Observation]):
    observations: list[Observation] = field(default_factory=list)
    commands: int = 0
    speakers: set[str] = field(default_factory=set)


class ReleaseGate(Generic[Key, Observation]):
    """Holds observations back, a lot a key.

    What a process held back when it ended is lost to the counters (the records have it).
    """

    def __init__(self, *, commands: int = 10, speakers: int = 3) -> None:
        """
        Args:
            commands: k.
            speakers: m.
        """
        self._commands = commands
        self._speakers = speakers
        self._lots: defaultdict[Key, _Lot[Observation]] = defaultdict(_Lot)
        self._lock = threading.Lock()

    def offer(self, key: Key, observation: Observation, *, speaker: str, is_command: bool) -> list[Observation]:
        """Add an observation; what may be released now is returned, in order.

        Args:
            speaker: who it is of; only distinctness counts.
            is_command: a new command, rather than a label of one, and so one of the k.
        """
        with self._lock:
            lot = self._lots[key]
            lot.observations.append(observation)
            if is_command:
                lot.commands += 1
                lot.speakers.add(speaker)
            if lot.commands < self._commands or len(lot.speakers) < self._speakers:
                return []
            del self._lots[key]
            return lot.observations
