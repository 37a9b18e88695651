"""The alarm by betting: evidence that holds however often one looks, so it may wake somebody.

It is an alarm on a group where at least FEW_SPEAKERS distinct speakers gave it, and else on these speakers only.
"""

from __future__ import annotations

from monitoring.evidence import FEW_SPEAKERS
from monitoring.promql import GROUP, against_alarm_level, alarm_level, log_evidence, over_ledgers
from monitoring.rules.rule import Alert, Group, Recording, Severity
from monitoring.rules.settings import RuleSettings

_BY_GROUP = ", ".join(GROUP)
EVIDENCE = f"{'_'.join(GROUP)}:evenvoice_fairness_evidence:ln"
SIDE = f"{'_'.join(GROUP)}_side:evenvoice_fairness_evidence:ln"


def evidence_group(settings: RuleSettings) -> Group:
    """The evidence on each group and side, and the two alarms."""
    wealth = over_ledgers("evenvoice_fairness_log_wealth", by=(*GROUP, "side", "bet"))
    # Ville's bound is on the largest wealth ever: an alarm stays right when the evidence falls again
    reached = against_alarm_level(f"max_over_time({EVIDENCE}[{settings.window}])", alarm_level())
    # the side that won, as a label: 1 a series, whatever its evidence
    won = f"(topk by ({_BY_GROUP}) (1, {SIDE}) > bool -Inf)"
    alarm = f"({reached}) * on ({_BY_GROUP}) group_left (side) {won}"
    many = f"on ({_BY_GROUP}) ({over_ledgers('evenvoice_fairness_speakers')} >= {FEW_SPEAKERS})"
    holds = (
        'The log-evidence by betting is {{ $value | printf "%.1f" }}, beyond the level ln(groups / alpha) of model '
        "{{ $labels.model }} under {{ $labels.defense }}. That level is reached by chance with probability alpha at "
        "most, however often one looks."
    )
    return Group(
        "evenvoice_evidence",
        settings.interval,
        (
            Recording(SIDE, f"ln(avg by ({_BY_GROUP}, side) (exp(clamp({wealth}, -700, 700))))"),
            Recording(EVIDENCE, log_evidence()),
            Alert(
                "EvenvoiceGroupFaresDifferently",
                f"({alarm}) and {many}",
                Severity.PAGE,
                summary="{{ $labels.attribute }} {{ $labels.group }} is turned away {{ $labels.side }} often than "
                "the rest",
                description=f"{holds} At least {FEW_SPEAKERS} distinct speakers of the group, and of the rest, gave "
                "it. Where the same ones come day after day it is still evidence on them first: let an audit decide.",
            ),
            Alert(
                "EvenvoiceSpeakersFareDifferently",
                f"({alarm}) unless {many}",
                Severity.PAGE,
                summary="These speakers of {{ $labels.attribute }} {{ $labels.group }} are turned away "
                "{{ $labels.side }} often than the rest",
                description=f"{holds} Fewer than {FEW_SPEAKERS} distinct speakers of the group, or of the rest, gave "
                "it: it is evidence on these speakers, and says nothing of the group behind them. Help them, and let "
                "an audit with more speakers decide.",
            ),
        ),
    )
