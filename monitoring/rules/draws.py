"""Hard voices take randomized smoothing more draws, and so more time: a gap in latency is a gap."""

from __future__ import annotations

from monitoring.promql import DECLARED, per_ledger, ratio, selector, with_traffic
from monitoring.rules.rule import Alert, Group, Recording, Severity
from monitoring.rules.settings import RuleSettings

_BY = ("attribute", "group", "model")


def draws_group(settings: RuleSettings) -> Group:
    """Mean draws of each group, and a ticket where one takes many times those of another."""
    window, level, by = settings.window, "_".join(_BY), ", ".join(_BY)
    kept = {end: f"ledger_{level}:evenvoice_smoothing_draws_{end}:max" for end in ("sum", "count")}
    total, count = (f"{level}:evenvoice_smoothing_draws_{end}:increase{window}" for end in kept)
    mean = f"{level}:evenvoice_smoothing_draws:mean{window}"
    declared = selector(mean, DECLARED)
    return Group(
        "evenvoice_draws",
        settings.interval,
        (
            *(Recording(name, per_ledger(f"evenvoice_smoothing_draws_{end}")) for end, name in kept.items()),
            *(
                Recording(name, f"sum by ({by}) (increase({kept[end]}[{window}]))")
                for name, end in ((total, "sum"), (count, "count"))
            ),
            Recording(mean, with_traffic(ratio(total, count), count, settings.draws_floor)),
            Alert(
                "EvenvoiceDrawsGap",
                f"{declared} / on (attribute, model) group_left () min by (attribute, model) ({declared}) "
                f"> {settings.draws_ratio}",
                Severity.TICKET,
                summary="{{ $labels.attribute }} {{ $labels.group }} waits longer for its decisions than another group",
                description=f"Over {window} its commands took randomized smoothing "
                '{{ $value | printf "%.1f" }} times the draws of the group that needs fewest; '
                f"{settings.draws_ratio} times is tolerated. Hard voices pay in time before they are turned away. "
                "Model {{ $labels.model }}.",
                hold=settings.hold,
            ),
        ),
    )
