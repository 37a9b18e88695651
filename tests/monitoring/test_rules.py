"""The rules against Prometheus' own checks and scipy; what each alert does is in rules_test.yml, run by promtool."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from click.testing import CliRunner
from scipy.stats import binomtest

from gateway.cli.rules import command
from monitoring.evidence import FEW_SPEAKERS
from monitoring.promql import LEDGER_SERIES, TRAFFIC_FLOOR
from monitoring.rules import RuleSettings, rule_groups, rules_file
from monitoring.rules.rule import Alert, Recording, Severity

ROOT = Path(__file__).parent.parent.parent
DEPLOY = ROOT / "deploy" / "prometheus"
RULES = [rule for group in rule_groups(RuleSettings()) for rule in group.rules]
ALERTS = [rule for rule in RULES if isinstance(rule, Alert)]


def checked_by(program: str, *arguments: str | Path) -> str:
    """What a tool of Prometheus says of a file that it finds to be right."""
    tool = shutil.which(program)
    if tool is None:
        pytest.skip(f"no {program}; on Debian and Ubuntu: apt install prometheus prometheus-alertmanager")
    done = subprocess.run([tool, *arguments], cwd=ROOT, capture_output=True, text=True, check=False)
    said = done.stdout + done.stderr
    assert done.returncode == 0, said
    assert "SUCCESS" in said
    assert "FAILED" not in said
    return said


def fired(rules: str, test: dict[str, Any], folder: Path) -> None:
    """Run one of promtool's tests on a text of rules."""
    (folder / "rules.yml").write_text(rules)
    (folder / "test.yml").write_text(
        yaml.safe_dump({"rule_files": ["rules.yml"], "evaluation_interval": "1m", "tests": [test]})
    )
    checked_by("promtool", "test", "rules", folder / "test.yml")


def test_the_rules_that_lie_here_are_those_that_the_command_prints() -> None:
    printed = CliRunner().invoke(command, ["write"])
    assert printed.exit_code == 0
    assert printed.output == (DEPLOY / "rules.yml").read_text()


def test_prometheus_takes_the_rules_and_both_configurations() -> None:
    assert f"{len(RULES)} rules found" in checked_by("promtool", "check", "rules", DEPLOY / "rules.yml")
    checked_by("promtool", "check", "config", DEPLOY / "prometheus.yml")
    checked_by("amtool", "check-config", DEPLOY / "alertmanager.yml")


@pytest.mark.timeout(600)
def test_every_alert_is_silent_one_step_before_and_fires_one_step_after() -> None:
    checked_by("promtool", "test", "rules", DEPLOY / "rules_test.yml")


def test_no_alert_is_without_such_a_test() -> None:
    steps: dict[str, list[tuple[int, list[dict[str, Any]]]]] = {}
    for test in yaml.safe_load((DEPLOY / "rules_test.yml").read_text())["tests"]:
        for case in test["alert_rule_test"]:
            minute = int(case["eval_time"].removesuffix("m"))
            steps.setdefault(f"{case['alertname']} {test['name']}", []).append((minute, case["exp_alerts"]))
    tested = set()
    for name, found in steps.items():
        silent = {minute for minute, alerts in found if not alerts}
        for minute, alerts in found:
            if alerts and minute - 1 in silent:
                tested.add(name.partition(" ")[0])
                assert all(
                    alert["exp_annotations"].keys() == {"summary", "description", "runbook_url"} for alert in alerts
                )
    assert tested == {alert.name for alert in ALERTS}


def test_names_say_level_metric_and_operations() -> None:
    names = [rule.name for rule in RULES if isinstance(rule, Recording)]
    assert len(set(names)) == len(names)
    for name in names:
        level, metric, operations = name.split(":")
        assert set(level.replace("log_wealth", "").split("_")) <= {
            *("ledger", "attribute", "group", "defense", "model", "outcome", "side", "job")
        }
        assert metric.startswith("evenvoice_")
        assert re.fullmatch(r"(max|ln|(increase|ratio|lower|upper|mean)\d+[smhdw])", operations)


def test_no_rule_makes_up_a_zero_or_adds_the_gateways_of_one_ledger() -> None:
    same_in_every_gateway = ("evenvoice_fairness_alarm_log_wealth",)
    for rule in RULES:
        assert "vector(" not in rule.expression
        for found in re.finditer(r"(?<![\w:])evenvoice_\w+(?![\w:])", rule.expression):
            name, before = found[0], rule.expression[: found.start()]
            if name in LEDGER_SERIES and name not in same_in_every_gateway:
                assert re.search(r"(max by \(ledger\b[\w, ]*|count by \(job, instance)\) \($", before), rule.name


def test_only_evidence_and_what_loses_commands_pages() -> None:
    assert {alert.name for alert in ALERTS if alert.severity is Severity.PAGE} == {
        "EvenvoiceGroupFaresDifferently",
        "EvenvoiceSpeakersFareDifferently",
        "EvenvoiceDown",
        "EvenvoiceErrorBudgetFastBurn",
    }


def test_every_alert_has_its_place_in_the_docs_and_the_other_way_round() -> None:
    headings = re.findall(r"^### (Evenvoice\w+)$", (ROOT / "docs" / "alerts.md").read_text(), flags=re.MULTILINE)
    assert sorted(headings) == sorted(alert.name for alert in ALERTS)
    urls = [rule["annotations"]["runbook_url"] for rule in _written_alerts(RuleSettings(docs="https://docs.example/"))]
    assert urls == [f"https://docs.example/alerts.md#{alert.name.lower()}" for alert in ALERTS]


def _written_alerts(settings: RuleSettings) -> list[dict[str, Any]]:
    groups = yaml.safe_load(rules_file(settings))["groups"]
    return [rule for group in groups for rule in group["rules"] if "alert" in rule]


def test_what_is_folded_over_lines_is_read_as_it_was() -> None:
    written = {rule["alert"]: rule for rule in _written_alerts(RuleSettings())}
    for alert in ALERTS:
        assert written[alert.name]["expr"] == alert.expression
        assert written[alert.name]["annotations"]["description"] == alert.description


def test_wilsons_bounds_are_scipys(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    counts = [(0, 200), (200, 200), (1, 200), (199, 200), (0, 10**6), (123_456, 10**6)]
    for n in rng.integers(200, 20_000, size=30):
        counts.append((int(rng.binomial(n, rng.beta(0.5, 2))), int(n)))
    group = 'attribute="accent",group="g{}",defense="none",model="m"'.format
    series, expected = [], {"lower": [], "upper": []}
    for i, (hits, n) in enumerate(counts):
        for outcome, value in (("accepted", n - hits), ("rejected", hits)):
            name = f'evenvoice_group_commands_total{{ledger="a",{group(i)},outcome="{outcome}"}}'
            series.append({"series": name, "values": f"0 {value}+0x5"})
        interval = binomtest(hits, n).proportion_ci(method="wilson")
        for end, bound in (("lower", interval.low), ("upper", interval.high)):
            expected[end].append({"labels": f"{{{group(i)}}}", "value": int(np.floor(bound * 1e5 + 0.5))})
    test = {
        "interval": "1m",
        "input_series": series,
        "promql_expr_test": [
            {
                "expr": f"round(attribute_group_defense_model:evenvoice_group_rejected:{end}1d * 1e5)",
                "eval_time": "3m",
                "exp_samples": samples,
            }
            for end, samples in expected.items()
        ],
    }
    fired(rules_file(RuleSettings()), test, tmp_path)
    expected["upper"][7]["value"] += 1  # and the comparison can fail
    with pytest.raises(AssertionError, match="FAILED"):
        fired(rules_file(RuleSettings()), test, tmp_path)


GAP = {
    "interval": "1m",
    "input_series": [
        {
            "series": "evenvoice_group_commands_total"
            f'{{ledger="a",attribute="accent",group="{group}",defense="none",model="m",outcome="{outcome}"}}',
            "values": f"0+0x9 {value}+0x90",
        }
        for group, rejected in (("north", 20), ("south", 100))
        for outcome, value in (("accepted", 400 - rejected), ("rejected", rejected))
    ],
}
"""Wilson's bounds lie 0.134 apart."""


@pytest.mark.parametrize(
    "settings",
    [RuleSettings(tolerance=0.14), RuleSettings(floor=401), RuleSettings(hold="2h")],
)
def test_a_ticket_waits_for_the_tolerance_the_floor_and_the_hold(settings: RuleSettings, tmp_path: Path) -> None:
    case = {"alertname": "EvenvoiceRejectionGap", "eval_time": "50m", "exp_alerts": []}
    fired(rules_file(settings), {**GAP, "alert_rule_test": [case]}, tmp_path)
    with pytest.raises(AssertionError, match="EvenvoiceRejectionGap"):  # it fires with those of every day
        fired(rules_file(RuleSettings()), {**GAP, "alert_rule_test": [case]}, tmp_path)


def test_without_audits_their_alerts_are_left_out() -> None:
    names = {rule["alert"] for rule in _written_alerts(RuleSettings(audit_days=None))}
    assert names == {alert.name for alert in ALERTS if "Audit" not in alert.name}


def test_the_floor_and_the_speakers_are_those_of_the_code() -> None:
    assert RuleSettings().floor == TRAFFIC_FLOOR
    named = {alert.name: alert for alert in ALERTS}
    for name in ("EvenvoiceGroupFaresDifferently", "EvenvoiceSpeakersFareDifferently"):
        assert f">= {FEW_SPEAKERS})" in named[name].expression
        assert f"{FEW_SPEAKERS} distinct speakers of the group" in named[name].description


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"window": "1 day"}, "window is '1 day'; a whole number and one of s, m, h, d, w is accepted"),
        ({"hold": "0m"}, "hold is '0m'"),
        ({"tolerance": 1.0}, "tolerance is 1.0; it must lie in [0, 1)"),
        ({"objective": float("nan")}, "objective is nan"),
        ({"floor": 0}, "floor is 0; at least 1 is accepted"),
        ({"audit_days": 0}, "audit_days is 0"),
        ({"draws_ratio": 0.9}, "draws_ratio is 0.9"),
        ({"job": 'a"} or up{x="'}, "letters, digits and"),
    ],
)
def test_a_setting_that_means_nothing_is_refused(options: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=re.escape(words)):
        RuleSettings(**options)


def test_the_command_takes_settings_and_says_what_is_wrong_with_them(tmp_path: Path) -> None:
    out = tmp_path / "rules.yml"
    done = CliRunner().invoke(command, ["write", "--out", str(out), "--tolerance", "0.1", "--job", "robots"])
    assert done.exit_code == 0
    assert out.read_text() == rules_file(RuleSettings(tolerance=0.1, job="robots"))
    checked_by("promtool", "check", "rules", out)
    wrong = CliRunner().invoke(command, ["write", "--window", "soon"])
    assert wrong.exit_code == 1
    assert wrong.output == "Error: window is 'soon'; a whole number and one of s, m, h, d, w is accepted\n"
