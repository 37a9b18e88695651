"""When a command was first sent: an acceptance counts from then, however often it is asked for."""

from __future__ import annotations

from collections import OrderedDict

REMEMBERED = 4096
"""Keys; beyond that the one that was used longest ago is forgotten."""


class FirstSent:
    """By idempotency key; of one client."""

    def __init__(self) -> None:
        self._sent: OrderedDict[str, float] = OrderedDict()

    def of(self, key: str, sent: float) -> float:
        """When this key was sent first, `clock.now()` seconds, now that it is sent at `sent`."""
        first = min(self._sent.get(key, sent), sent)
        self._sent[key] = first
        self._sent.move_to_end(key)
        if len(self._sent) > REMEMBERED:
            self._sent.popitem(last=False)
        return first
