"""PromQL of the quantities that dashboards and rules share, as text.

Every gateway on one records database exports the same group series, under its label `ledger`. So the largest over the
gateways of a ledger is taken first, and ledgers are added after. A counter's increase is taken of that maximum, in a
subquery: the counts live in the database, so the maximum goes on when a gateway is replaced by another, where the
increase of each gateway's own series would be cut into pieces.

Nothing here makes up a 0 for what was not measured: without traffic a ratio has no value.
"""

from __future__ import annotations

from recognizer.groups import UNDECLARED

Labels = tuple[str, ...]

GROUP: Labels = ("attribute", "group", "defense", "model")
"""What a figure of a group is said of."""

LEDGER_SERIES: dict[str, Labels] = {
    "evenvoice_group_commands_total": (*GROUP, "outcome"),
    "evenvoice_group_labelled_total": (*GROUP, "result"),
    "evenvoice_rejection_score_bucket": (*GROUP, "le"),
    "evenvoice_rejection_score_sum": GROUP,
    "evenvoice_rejection_score_count": GROUP,
    "evenvoice_smoothing_draws_bucket": ("attribute", "group", "model", "le"),
    "evenvoice_smoothing_draws_sum": ("attribute", "group", "model"),
    "evenvoice_smoothing_draws_count": ("attribute", "group", "model"),
    "evenvoice_fairness_log_wealth": (*GROUP, "side", "bet"),
    "evenvoice_fairness_sessions": GROUP,
    "evenvoice_fairness_speakers": GROUP,
    "evenvoice_fairness_alarm_log_wealth": ("model",),
    "evenvoice_ledger_last_pass_timestamp_seconds": (),
}
"""The series that every gateway of a ledger exports alike, and their labels beside `ledger`."""

TRAFFIC_FLOOR = 200
"""Decided commands of a group in the window, under which a ratio is not judged."""

NORMAL_QUANTILE = 1.959964
"""Of a two-sided 95 % interval."""

DECIDED = 'outcome=~"accepted|rejected"'
REJECTED = 'outcome="rejected"'
DECLARED = f'group!="{UNDECLARED}"'


def selector(metric: str, *matchers: str) -> str:
    """A metric's series: `metric{a="b", ...}`."""
    return f"{metric}{{{', '.join(matchers)}}}" if matchers else metric


def per_ledger(metric: str, *matchers: str) -> str:
    """One series a ledger, whichever of its gateways was scraped.

    Raises:
        KeyError: not a series of a ledger.
    """
    labels = ", ".join(("ledger", *LEDGER_SERIES[metric]))
    return f"max by ({labels}) ({selector(metric, *matchers)})"


def over_ledgers(metric: str, *matchers: str, by: Labels = GROUP) -> str:
    """A gauge, added over ledgers."""
    return f"sum by ({', '.join(by)}) ({per_ledger(metric, *matchers)})"


def group_increase(metric: str, *matchers: str, window: str, by: Labels = GROUP, resolution: str = "1m") -> str:
    """How much a counter of a ledger grew, added over ledgers.

    Args:
        window: such as "1d".
        resolution: how far apart the maximum over gateways is looked at; at most half the window.
    """
    grown = f"increase({per_ledger(metric, *matchers)}[{window}:{resolution}])"
    return f"sum by ({', '.join(by)}) ({grown})"


def decided(*matchers: str, window: str, by: Labels = GROUP, resolution: str = "1m") -> str:
    """Commands that a defense accepted or rejected."""
    return group_increase(
        "evenvoice_group_commands_total", *matchers, DECIDED, window=window, by=by, resolution=resolution
    )


def rejected(*matchers: str, window: str, by: Labels = GROUP, resolution: str = "1m") -> str:
    """Commands that a defense turned away."""
    return group_increase(
        "evenvoice_group_commands_total", *matchers, REJECTED, window=window, by=by, resolution=resolution
    )


def labelled(*matchers: str, window: str, by: Labels = GROUP, resolution: str = "1m") -> str:
    """Commands whose true command is known; all results, or those that a matcher on `result` picks."""
    return group_increase("evenvoice_group_labelled_total", *matchers, window=window, by=by, resolution=resolution)


def ratio(part: str, whole: str) -> str:
    """Part / whole, of the same labels; nothing where the whole is 0."""
    return f"{part} / ({whole} > 0)"


def mean(histogram: str, *matchers: str, window: str, by: Labels = GROUP, resolution: str = "1m") -> str:
    """Mean of what a histogram of a ledger observed."""
    total, count = (
        group_increase(f"{histogram}_{end}", *matchers, window=window, by=by, resolution=resolution)
        for end in ("sum", "count")
    )
    return ratio(total, count)


def wilson_lower(hits: str, n: str) -> str:
    """Lower end of Wilson's 95 % interval of a proportion; nothing where n is 0.

    (h + z^2/2 - z sqrt(h (n - h) / n + z^2/4)) / (n + z^2), Wilson 1927. It takes commands for independent, which those
    of one speaker are not: the true interval is wider.
    """
    return f"clamp_min({_wilson(hits, n, '-')}, 0)"


def wilson_upper(hits: str, n: str) -> str:
    """Upper end, see `wilson_lower`."""
    return f"clamp_max({_wilson(hits, n, '+')}, 1)"


def _wilson(hits: str, n: str, sign: str) -> str:
    z = NORMAL_QUANTILE
    root = f"sqrt({hits} * ({n} - {hits}) / ({n} > 0) + {z**2 / 4:.6f})"
    return f"({hits} + {z**2 / 2:.6f} {sign} {z} * {root}) / ({n} + {z**2:.6f})"


def with_traffic(expression: str, n: str, floor: float | str = TRAFFIC_FLOOR) -> str:
    """The expression where n, of the same labels, reaches the floor (a number, or a dashboard's variable)."""
    return f"({expression}) and ({n} >= {floor})"


def gap(rates: str, by: Labels) -> str:
    """max - min over groups, where there are two or more."""
    labels = ", ".join(by)
    return f"(max by ({labels}) ({rates}) - min by ({labels}) ({rates})) and count by ({labels}) ({rates}) > 1"


def gap_lower(lower: str, upper: str, by: Labels) -> str:
    """What of a gap the intervals do not explain: the highest lower end less the lowest upper end, 0 if they overlap.

    Nothing where there are fewer than two groups.
    """
    labels = ", ".join(by)
    apart = f"clamp_min(max by ({labels}) ({lower}) - min by ({labels}) ({upper}), 0)"
    return f"{apart} and count by ({labels}) ({lower}) > 1"


def log_evidence(*matchers: str) -> str:
    """The whole log-wealth of a gambler who spread 1 evenly over sides and bets, see `monitoring.betting`.

    Held within +-700, where exp neither overflows nor vanishes.
    """
    wealth = over_ledgers("evenvoice_fairness_log_wealth", *matchers, by=(*GROUP, "side", "bet"))
    return f"ln(avg by ({', '.join(GROUP)}) (exp(clamp({wealth}, -700, 700))))"


def alarm_level(*matchers: str) -> str:
    """ln(groups / alpha): the log-evidence at which a group of this model raises an alarm."""
    return f"max by (model) ({selector('evenvoice_fairness_alarm_log_wealth', *matchers)})"


def against_alarm_level(evidence: str, level: str) -> str:
    """Where the evidence reaches the level of its model."""
    return f"{evidence} >= on (model) group_left () {level}"


def undeclared_share(
    *matchers: str, window: str, by: Labels = ("attribute", "defense", "model"), resolution: str = "1m"
) -> str:
    """Share of the decided commands whose speakers declared no group."""
    undeclared = decided(*matchers, f'group="{UNDECLARED}"', window=window, by=by, resolution=resolution)
    return ratio(undeclared, decided(*matchers, window=window, by=by, resolution=resolution))


def age(timestamp: str, by: Labels) -> str:
    """Seconds since a moment that a gauge holds."""
    return f"time() - max by ({', '.join(by)}) ({timestamp})"
