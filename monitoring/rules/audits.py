"""Alerts on scheduled audits: what they found, and that they run."""

from __future__ import annotations

from monitoring.promql import age
from monitoring.rules.rule import Alert, Group, Severity
from monitoring.rules.settings import RuleSettings

_DAY = 86_400
_LAST_VERDICT = 2
"""Exit codes above it are of audits that came to no verdict: 0 pass, 1 disparity, 2 inconclusive."""


def audits_group(settings: RuleSettings, days: int) -> Group:
    """A disparity that an audit found, and an audit that failed, is old, or was never made.

    Args:
        days: after which an audit is stale.
    """
    success = "evenvoice_audit_last_success_timestamp_seconds"
    labels = "corpus, defense, attribute, metric"
    return Group(
        "evenvoice_audits",
        settings.interval,
        (
            Alert(
                "EvenvoiceAuditDisparity",
                f'max by ({labels}) (evenvoice_audit_verdict{{verdict="disparity"}}) == 1',
                Severity.TICKET,
                summary="The audit of {{ $labels.corpus }} found a disparity: {{ $labels.metric }} by "
                "{{ $labels.attribute }} under {{ $labels.defense }}",
                description="The simultaneous interval of the gap over speakers lies above the tolerance. The audit's "
                "report has the groups, their intervals and how many speakers they rest on.",
            ),
            Alert(
                "EvenvoiceAuditFailed",
                f"max by (corpus) (evenvoice_audit_exit_code) > {_LAST_VERDICT}",
                Severity.TICKET,
                summary="The last audit of {{ $labels.corpus }} failed",
                description="It ended with exit code {{ $value }} and without a verdict; the figures shown are those "
                "of an earlier one. What it finished is kept: run it again when the cause is gone.",
            ),
            Alert(
                "EvenvoiceAuditStale",
                f"{age(success, ('corpus',))} > {days * _DAY}",
                Severity.TICKET,
                summary="No audit of {{ $labels.corpus }} for {{ $value | humanizeDuration }}",
                description=f"One is expected every {days} days. The audit is the arbiter of what the live figures "
                "suggest, and a model, a room or a workforce may have changed since.",
            ),
            Alert(
                "EvenvoiceAuditMissing",
                f"absent({success})",
                Severity.TICKET,
                summary="No audit is known to Prometheus",
                description="No audit was ever exported, or what holds its results is not scraped (the Pushgateway, "
                "the node exporter's textfiles). Where no audits are meant to run, write the rules "
                "with --without-audits.",
                hold="1h",
            ),
        ),
    )
