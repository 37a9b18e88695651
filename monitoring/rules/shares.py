"""Which share of a group's commands came to what, with Wilson's bounds; where two groups' bounds are apart.

Wilson's interval takes commands for independent, which those of one speaker are not. So it opens tickets, never pages.
"""

from __future__ import annotations

from dataclasses import dataclass

from monitoring.promql import (
    DECIDED,
    DECLARED,
    GROUP,
    REJECTED,
    gap,
    gap_lower,
    per_ledger,
    ratio,
    selector,
    wilson_lower,
    wilson_upper,
    with_traffic,
)
from monitoring.rules.rule import Alert, Group, Recording, Severity
from monitoring.rules.settings import RuleSettings
from recognizer.groups import UNDECLARED

LEVEL = "_".join(GROUP)
_OVER_GROUPS = ("attribute", "defense", "model")
_BY_GROUP = ", ".join(GROUP)
_WHO = "{{ $labels.attribute }} {{ $labels.group }}"


@dataclass(frozen=True)
class _Share:
    """A share of a group's commands that two groups should have alike."""

    metric: str
    hits: str
    """Matcher of the outcomes that are counted."""
    of: str
    """Metric of the commands that it is a share of."""
    alert: str
    is_what: str
    says: str


_SHARES = (
    _Share(
        metric="evenvoice_group_rejected",
        hits=REJECTED,
        of="evenvoice_group_decided",
        alert="EvenvoiceRejectionGap",
        is_what="is turned away",
        says="the share that {{ $labels.defense }} turned away",
    ),
    _Share(
        metric="evenvoice_group_bad_input",
        hits='outcome="bad_input"',
        of="evenvoice_group_answered",
        alert="EvenvoiceBadInputGap",
        is_what="sends what counts as bad input",
        says="the share in which the gateway found no speech, or audio too short, too long or clipped,",
    ),
    _Share(
        metric="evenvoice_group_service",
        hits='outcome="service"',
        of="evenvoice_group_answered",
        alert="EvenvoiceServiceGap",
        is_what="gets no decision in time",
        says="the share that got no decision in time, for the deadline or overload,",
    ),
)


def shares_group(settings: RuleSettings) -> Group:
    """Shares of each group, their bounds and gaps, and tickets where the bounds are apart."""
    window = settings.window
    # kept as a series of its own, so that an increase over a day need not look at each gateway's at every step
    kept = f"ledger_{LEVEL}_outcome:evenvoice_group_commands:max"
    counted = f"{LEVEL}_outcome:evenvoice_group_commands:increase{window}"
    return Group(
        "evenvoice_shares",
        settings.interval,
        (
            Recording(kept, per_ledger("evenvoice_group_commands_total")),
            Recording(counted, f"sum by ({_BY_GROUP}, outcome) (increase({kept}[{window}]))"),
            Recording(decided(settings), f"sum by ({_BY_GROUP}) ({selector(counted, DECIDED)})"),
            Recording(
                f"{LEVEL}:evenvoice_group_answered:increase{window}", f"sum by ({_BY_GROUP}) ({selector(counted)})"
            ),
            *(rule for share in _SHARES for rule in _share_rules(share, counted, settings)),
            _unmonitored(settings),
            _undeclared(settings),
        ),
    )


def decided(settings: RuleSettings) -> str:
    """The recorded name of the commands that a defense decided on."""
    return f"{LEVEL}:evenvoice_group_decided:increase{settings.window}"


def _share_rules(share: _Share, counted: str, settings: RuleSettings) -> tuple[Recording | Alert, ...]:
    window, by = settings.window, ", ".join(_OVER_GROUPS)
    hits = f"{LEVEL}:{share.metric}:increase{window}"
    of = f"{LEVEL}:{share.of}:increase{window}"
    rate, lower, upper = (f"{LEVEL}:{share.metric}:{what}{window}" for what in ("ratio", "lower", "upper"))
    rates, lowers, uppers = (selector(name, DECLARED) for name in (rate, lower, upper))
    over_groups = f"{'_'.join(_OVER_GROUPS)}:{share.metric}_gap"
    return (
        Recording(hits, f"sum by ({_BY_GROUP}) ({selector(counted, share.hits)})"),
        Recording(rate, with_traffic(ratio(hits, of), of, settings.floor)),
        Recording(lower, with_traffic(wilson_lower(hits, of), of, settings.floor)),
        Recording(upper, with_traffic(wilson_upper(hits, of), of, settings.floor)),
        Recording(f"{over_groups}:ratio{window}", gap(rates, _OVER_GROUPS)),
        Recording(f"{over_groups}:lower{window}", gap_lower(lowers, uppers, _OVER_GROUPS)),
        Alert(
            share.alert,
            f"{lowers} - on ({by}) group_left () min by ({by}) ({uppers}) > {settings.tolerance}",
            Severity.TICKET,
            summary=f"{_WHO} {share.is_what} more often than another group",
            description=f"Over {window}, {share.says} of this group's commands exceeds that of the lowest group by at "
            "least {{ $value | humanizePercentage }}, by their 95 % Wilson intervals; "
            f"{settings.tolerance:.4g} is tolerated. The intervals take commands for independent, which those of one "
            "speaker are not: see who spoke before you conclude anything. Defense {{ $labels.defense }}, model "
            "{{ $labels.model }}.",
            hold=settings.hold,
        ),
    )


def _unmonitored(settings: RuleSettings) -> Alert:
    counted = f"sum by (attribute, group) ({selector(decided(settings), DECLARED)})"
    heard = f"sum by (attribute, group) (max_over_time({decided(settings)}[7d])) > 0"
    return Alert(
        "EvenvoiceGroupUnmonitored",
        f"({counted} < {settings.floor}) and ({heard})",
        Severity.TICKET,
        summary=f"{_WHO} gives too few commands to say how it fares",
        description='Of this group, heard in the last week, {{ $value | printf "%.0f" }} commands were decided on in '
        f"the last {settings.window}; {settings.floor} are the least from which a share is judged. That no alert fires "
        "says nothing of it.",
        hold=settings.window,
    )


def _undeclared(settings: RuleSettings) -> Alert:
    name = decided(settings)
    unknown = selector(name, f'group="{UNDECLARED}"')
    whole = f"sum by (attribute) ({name})"
    share = with_traffic(ratio(f"sum by (attribute) ({unknown})", whole), whole, settings.floor)
    return Alert(
        "EvenvoiceUndeclaredShare",
        f"({share}) > {settings.undeclared_share}",
        Severity.TICKET,
        summary="Most commands are of speakers who declared no {{ $labels.attribute }}",
        description="{{ $value | humanizePercentage }} of the commands decided on in the last "
        f"{settings.window} are of nobody known, or of speakers who declared no "
        "{{ $labels.attribute }}. The figures of its groups are those of the rest, and may be quite unlike them.",
        hold=settings.hold,
    )
