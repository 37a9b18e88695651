"""What the reader of a dashboard chooses, and the matchers that follow from it.

Group, attribute, defense and model are lists that Prometheus gives. Those of one value begin with the busiest, since
the first by name may be a bundle that is no longer served.
"""

from __future__ import annotations

from grafana_foundation_sdk.builders import dashboard as board
from grafana_foundation_sdk.models.dashboard import VariableHide, VariableOption, VariableRefresh, VariableSort

from monitoring.dashboards.style import DATASOURCE
from monitoring.promql import TRAFFIC_FLOOR, per_ledger

ATTRIBUTE = 'attribute="$attribute"'
DEFENSE = 'defense="$defense"'
MODEL = 'model="$model"'
ONE_GROUP = 'group=~"$group"'
CORPUS = 'corpus="$corpus"'
JOB = 'job="$job"'
WINDOW = "$window"
RESOLUTION = "$resolution"
FLOOR = "$floor"
TOLERANCE = "$tolerance"

_COMMANDS = "evenvoice_group_commands_total"


def datasource() -> board.DatasourceVariable:
    """Which Prometheus."""
    return board.DatasourceVariable("datasource").label("Prometheus").type("prometheus")


def attribute() -> board.QueryVariable:
    """One attribute: a command counts once in each, so that they are never added."""
    return _listed("attribute", "Attribute", f"label_values({_COMMANDS}, attribute)")


def group() -> board.QueryVariable:
    """The groups that have a panel each."""
    values = f"label_values({_COMMANDS}{{{ATTRIBUTE}}}, group)"
    everyone = VariableOption(selected=True, text=["All"], value=["$__all"])
    return _listed("group", "Groups", values).multi(True).include_all(True).current(everyone)


def defense() -> board.QueryVariable:
    """One defense, the busiest first."""
    return _busiest("defense", "Defense")


def model() -> board.QueryVariable:
    """One bundle by its short version, the busiest first."""
    return _busiest("model", "Bundle")


def corpus() -> board.QueryVariable:
    """One audited corpus."""
    return _listed("corpus", "Corpus", "label_values(evenvoice_audit_last_success_timestamp_seconds, corpus)")


def audited_attribute() -> board.QueryVariable:
    """One attribute of that corpus."""
    return _listed("attribute", "Attribute", f"label_values(evenvoice_audit_speakers{{{CORPUS}}}, attribute)")


def audited_defense() -> board.QueryVariable:
    """One defense that was audited on it."""
    return _listed("defense", "Defense", f"label_values(evenvoice_audit_speakers{{{CORPUS}}}, defense)")


def job() -> board.QueryVariable:
    """The scrape job of the gateways."""
    return _listed("job", "Job", "label_values(evenvoice_model_info, job)")


def window() -> board.CustomVariable:
    """Over how long counts are taken."""
    return _choice("window", "Counted over", ("1d", "1h", "6h", "7d", "30d"))


def floor() -> board.CustomVariable:
    """Decided commands that a group needs before its share is shown over time."""
    return _choice("floor", "Commands needed", (str(TRAFFIC_FLOOR), "50", "100", "500", "1000"))


def tolerance() -> board.TextBoxVariable:
    """The gap that is still acceptable."""
    return board.TextBoxVariable("tolerance").label("Tolerance").default_value("0.02")


def resolution() -> board.CustomVariable:
    """How closely the counts of a ledger are looked at; see `monitoring.promql`."""
    return _choice("resolution", "Resolution", ("1m",)).hide(VariableHide.HIDE_VARIABLE)


def _listed(name: str, label: str, query: str) -> board.QueryVariable:
    return (
        board.QueryVariable(name)
        .label(label)
        .datasource(DATASOURCE)
        .query(query)
        .refresh(VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(VariableSort.ALPHABETICAL_ASC)
    )


def _busiest(name: str, label: str) -> board.QueryVariable:
    query = f"query_result(topk(50, sum by ({name}) ({per_ledger(_COMMANDS, ATTRIBUTE)})))"
    return _listed(name, label, query).sort(VariableSort.DISABLED).regex(f'/{name}="([^"]+)"/')


def _choice(name: str, label: str, values: tuple[str, ...]) -> board.CustomVariable:
    options = [VariableOption(selected=value == values[0], text=value, value=value) for value in values]
    return board.CustomVariable(name).label(label).values(",".join(values)).options(options).current(options[0])
