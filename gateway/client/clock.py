"""The clock by which an acceptance grows old: seconds that no change of the wall clock moves."""

from __future__ import annotations

import sys
import time

if sys.platform == "linux":

    def now() -> float:
        """Seconds since boot, sleep included: CLOCK_MONOTONIC stands still while the machine sleeps, and an acceptance
        would look fresh after a night in a drawer."""
        return time.clock_gettime(time.CLOCK_BOOTTIME)

else:

    def now() -> float:
        """`time.monotonic()` seconds."""
        return time.monotonic()
