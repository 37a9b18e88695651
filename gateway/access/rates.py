"""How often somebody may ask: token buckets on a monotonic clock, in bounded memory."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass
class _Bucket:
    tokens: float
    filled_at: float
    """Seconds of the clock"""


@dataclass
class Rates:
    """One bucket a name: `per_minute` requests at once, filled again evenly within a minute.

    Of more than `capacity` names, the bucket that was not asked for the longest is forgotten, so it is full again.
    """

    capacity: int
    clock: Callable[[], float] = time.monotonic
    _buckets: OrderedDict[str, _Bucket] = field(default_factory=OrderedDict)

    def take(self, name: str, per_minute: int) -> float:
        """Take one request from a bucket.

        Returns:
            0 where it was there; else the seconds until one is, and nothing is taken.
        """
        now = self.clock()
        bucket = self._buckets.setdefault(name, _Bucket(per_minute, now))
        self._buckets.move_to_end(name)
        if len(self._buckets) > self.capacity:
            self._buckets.popitem(last=False)
        bucket.tokens = min(per_minute, bucket.tokens + (now - bucket.filled_at) * per_minute / 60)
        bucket.filled_at = now
        if bucket.tokens < 1:
            return (1 - bucket.tokens) * 60 / per_minute
        bucket.tokens -= 1
        return 0.0

    def __len__(self) -> int:
        return len(self._buckets)
