"""What an operator may set of the rules."""

from __future__ import annotations

import re
from dataclasses import dataclass

from monitoring.promql import TRAFFIC_FLOOR

_DURATION = re.compile(r"[1-9][0-9]*[smhdw]")


@dataclass(frozen=True)
class RuleSettings:
    """Thresholds and times. Durations are Prometheus': a number and one of s, m, h, d, w.

    Attributes:
        tolerance: the difference between groups' shares that is still acceptable, in [0, 1).
        floor: commands of a group in the window under which no share of it is judged.
        window: over which shares are taken; also how long an alarm by betting lasts after its evidence fell again.
        hold: for how long shares must stay apart before a ticket.
        interval: of computing; at most half the window.
        draws_floor: smoothed commands of a group in the window under which its mean of draws is not judged.
        draws_ratio: how many times the draws of the cheapest group are still acceptable.
        undeclared_share: of decided commands, above which an attribute's groups say little.
        bad_input_share: of all commands, above which something is wrong with what is sent.
        objective: share of commands that are answered in time, over 30 days.
        burst: commands under which the error budget is not judged.
        ledger_seconds: a ledger whose last pass is older stands still.
        audit_days: an audit older than this is stale; None: no audits are run, and none is missed.
        job: the name of the gateways' scrape job.
        docs: where `alerts.md` lies, a folder or a URL.

    Raises:
        ValueError: one of them means nothing.
    """

    tolerance: float = 0.02
    floor: int = TRAFFIC_FLOOR
    window: str = "1d"
    hold: str = "30m"
    interval: str = "1m"
    draws_floor: int = 1000
    draws_ratio: float = 1.5
    undeclared_share: float = 0.5
    bad_input_share: float = 0.2
    objective: float = 0.995
    burst: int = 100
    ledger_seconds: int = 300
    audit_days: int | None = 8
    job: str = "evenvoice"
    docs: str = "docs"

    def __post_init__(self) -> None:
        for name in ("window", "hold", "interval"):
            if not _DURATION.fullmatch(getattr(self, name)):
                raise ValueError(
                    f"{name} is {getattr(self, name)!r}; a whole number and one of s, m, h, d, w is accepted"
                )
        for name in ("tolerance", "undeclared_share", "bad_input_share", "objective"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; it must lie in [0, 1)")
        for name in ("floor", "draws_floor", "burst", "ledger_seconds", "audit_days"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"{name} is {value}; at least 1 is accepted")
        if not self.draws_ratio >= 1:
            raise ValueError(f"draws_ratio is {self.draws_ratio}; at least 1 is accepted")
        if not re.fullmatch(r"[\w.:/-]+", self.job):
            raise ValueError(f"job is {self.job!r}; letters, digits and . : / _ - are accepted")
