"""Release of group counts in lots, so that no one person's outcome can be read off two scrapes.

What is seen of a group is held back until it holds at least k observations of at least m speakers; then all of it is
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
    speakers: set[str] = field(default_factory=set)


class ReleaseGate(Generic[Key, Observation]):
    """Holds observations back, a lot a key.

    What a process held back when it ended is lost to the counters (the records have it).
    """

    def __init__(self, *, observations: int = 10, speakers: int = 3) -> None:
        """
        Args:
            observations: k.
            speakers: m.
        """
        self._observations = observations
        self._speakers = speakers
        self._lots: defaultdict[Key, _Lot[Observation]] = defaultdict(_Lot)
        self._lock = threading.Lock()

    def offer(self, key: Key, observation: Observation, *, speaker: str) -> list[Observation]:
        """Add an observation of a speaker; what may be released now is returned, in order."""
        with self._lock:
            lot = self._lots[key]
            lot.observations.append(observation)
            lot.speakers.add(speaker)
            if len(lot.observations) < self._observations or len(lot.speakers) < self._speakers:
                return []
            del self._lots[key]
            return lot.observations
