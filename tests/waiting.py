"""Waiting for what happens by itself: without a fixed pause, and not for ever."""

from __future__ import annotations

import time
from collections.abc import Callable

PATIENCE = 120.0
"""Seconds: far more than anything here takes, also where many things run at once; no test says how fast things are."""


def until(true: Callable[[], object], seconds: float = PATIENCE) -> bool:
    """Whether it becomes true."""
    ends = time.monotonic() + seconds
    while not true():
        if time.monotonic() > ends:
            return False
        time.sleep(0.02)
    return True
