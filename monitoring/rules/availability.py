"""Alerts on the gateway itself: that it answers, answers in time, understands what it is sent, and counts."""

from __future__ import annotations

from monitoring.promql import age, ratio, selector, with_traffic
from monitoring.rules.rule import Alert, Group, Recording, Severity
from monitoring.rules.settings import RuleSettings

_COMMANDS = "evenvoice_commands_total"
_SERVICE = 'outcome="service"'
_BAD_INPUT = 'outcome="bad_input"'

_BURNS = (("1h", "5m", 14.4, Severity.PAGE, "Fast"), ("1d", "2h", 3.0, Severity.TICKET, "Slow"))
"""Long window, short window, how many times the rate that uses the budget up in 30 days. Source: Google, The Site
Reliability Workbook, chapter 5, multiwindow multi-burn-rate alerts."""


def availability_group(settings: RuleSettings) -> Group:
    """Targets, the ledger, the error budget of deadline and overload, and bad input."""
    windows = sorted({window for long, short, *_ in _BURNS for window in (long, short)})
    return Group(
        "evenvoice_availability",
        settings.interval,
        (
            *(_target_alerts(settings)),
            _ledger_stale(settings),
            *(Recording(_service_share(w), ratio(_grown(_SERVICE, window=w), _grown(window=w))) for w in windows),
            *(_burn(settings, *burn) for burn in _BURNS),
            _bad_input(settings),
        ),
    )


def _target_alerts(settings: RuleSettings) -> tuple[Alert, ...]:
    up = selector("up", f'job="{settings.job}"')
    return (
        Alert(
            "EvenvoiceDown",
            f"absent({up} == 1)",
            Severity.PAGE,
            summary="No gateway answers Prometheus",
            description=f'No target of the job "{settings.job}" was scraped with success. Robots hold for want of an '
            "answer if commands fail too, and nothing is measured.",
            hold="2m",
        ),
        Alert(
            "EvenvoiceTargetDown",
            f"{up} == 0",
            Severity.TICKET,
            summary="The gateway {{ $labels.instance }} does not answer Prometheus",
            description="It is down, not reachable, or refuses Prometheus' key: the targets page of Prometheus has the "
            "error. Where no other gateway answers either, EvenvoiceDown pages.",
            hold="5m",
        ),
        Alert(
            "EvenvoiceMetricsAbsent",
            f"({up} == 1) unless on (job, instance) count by (job, instance) (evenvoice_group_commands_total)",
            Severity.TICKET,
            summary="{{ $labels.instance }} answers, but without the series of groups",
            description="Fairness is not measured there: it has no bundle, its records' database is gone, or something "
            "else answers at this address.",
            hold="5m",
        ),
    )


def _ledger_stale(settings: RuleSettings) -> Alert:
    stale = age("evenvoice_ledger_last_pass_timestamp_seconds", ("ledger",))
    return Alert(
        "EvenvoiceLedgerStale",
        f"{stale} > {settings.ledger_seconds}",
        Severity.TICKET,
        summary="Groups have not been counted for {{ $value | humanizeDuration }}",
        description="No gateway of the ledger {{ $labels.ledger }} has finished a pass over its decisions: the group "
        "series and the evidence stand still, though commands are answered. The gateways' logs have the reason. "
        "Nothing is lost; the next pass counts what came meanwhile.",
        hold="5m",
    )


def _grown(*matchers: str, window: str) -> str:
    return f"sum by (job) (increase({selector(_COMMANDS, *matchers)}[{window}]))"


def _service_share(window: str) -> str:
    return f"job:evenvoice_commands_service:ratio{window}"


def _burn(settings: RuleSettings, long: str, short: str, factor: float, severity: Severity, pace: str) -> Alert:
    limit = f"{factor * (1 - settings.objective):.6g}"
    over = with_traffic(_service_share(long), _grown(window=long), settings.burst)
    return Alert(
        f"EvenvoiceErrorBudget{pace}Burn",
        f"(({over}) > {limit}) and ({_service_share(short)} > {limit})",
        severity,
        summary="{{ $value | humanizePercentage }} of commands end in a deadline, overload or fault",
        description=f"Over {long}, and still over {short}. At {factor:g} times the pace that the objective of "
        f"{settings.objective:.2%} over 30 days allows, robots hold where they should act. evenvoice_commands_total "
        "has the reasons, evenvoice_stage_seconds the stage that takes the time.",
    )


def _bad_input(settings: RuleSettings) -> Alert:
    whole = _grown(window="1h")
    share = with_traffic(ratio(_grown(_BAD_INPUT, window="1h"), whole), whole, settings.burst)
    return Alert(
        "EvenvoiceBadInput",
        f"({share}) > {settings.bad_input_share}",
        Severity.TICKET,
        summary="{{ $value | humanizePercentage }} of commands hold no usable audio",
        description="No speech, too short, too long, clipped or unreadable, over 1h: a microphone, its gain, or a "
        "client that cuts wrongly. evenvoice_commands_total has the reasons. These commands say nothing of a defense.",
        hold=settings.hold,
    )
