"""A clock for ages that outlives a process: seconds since boot, and which boot.

CLOCK_BOOTTIME rather than CLOCK_MONOTONIC, which stands still while the machine sleeps: an answer would look fresh
after a night in a drawer.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import cache
from pathlib import Path

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


@dataclass(frozen=True)
class Moment:
    """A point in time that no change of the wall clock moves."""

    boot: str
    """The kernel's id of the boot; other hosts have others."""
    seconds: float
    """Since that boot."""

    def age(self) -> float | None:
        """Seconds since then; None where this is another boot, or another host."""
        present = now()
        if self.boot != present.boot or self.seconds > present.seconds:
            return None
        return present.seconds - self.seconds


def now() -> Moment:
    return Moment(_boot(), time.clock_gettime(time.CLOCK_BOOTTIME))


@cache
def _boot() -> str:
    return _BOOT_ID.read_text(encoding="ascii").strip()
