"""How long a client waits."""

from __future__ import annotations

import math
from dataclasses import dataclass

import httpx

LONGEST = 600.0  # seconds: what the gateway accepts as X-Request-Timeout-Ms


@dataclass(frozen=True)
class Timeouts:
    """Seconds. No phase is given more than what is left of the whole."""

    overall: float = 5.0
    """For an answer, from the call on: name lookup, retries and the waits between them included."""
    connect: float = 1.0
    """For one connection, its TLS handshake included."""
    send: float = 2.0
    """For each piece of a request."""
    answer: float | None = None
    """For each wait for a piece of the answer, after which it is asked for again; None: all that is left."""

    def __post_init__(self) -> None:
        for name in ("overall", "connect", "send", "answer"):
            seconds = getattr(self, name)
            if seconds is not None and not (math.isfinite(seconds) and 0 < seconds <= LONGEST):
                raise ValueError(f"the timeout {name} is {seconds} s; more than 0 and at most {LONGEST:g} are accepted")

    @classmethod
    def of(cls, timeout: float | Timeouts) -> Timeouts:
        """Bare seconds are those of the whole."""
        return timeout if isinstance(timeout, Timeouts) else cls(overall=timeout)

    def within(self, left: float) -> httpx.Timeout:
        """The phases of one request, `left` seconds before the end."""
        answer = left if self.answer is None else min(self.answer, left)
        return httpx.Timeout(connect=min(self.connect, left), write=min(self.send, left), read=answer, pool=left)
