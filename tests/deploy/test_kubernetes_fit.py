"""Whether the resources of an overlay fit each other, and the gateway that runs in them."""

from __future__ import annotations

import copy
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml
from click.testing import CliRunner
from prometheus_server import PROMTOOL
from rendered import DEPLOY, KUBERNETES, OVERLAYS, Json, needs_kustomize, of_kind, overlay, pod_templates, selectors

from gateway.access.routes import PROBES, ROUTES, Role
from gateway.cli.main import cli
from gateway.cli.serve import command as serve
from gateway.middleware.plain_errors import START_SECONDS
from gateway.settings import Settings
from monitoring.counters import STAGES
from monitoring.rules import RuleSettings

pytestmark = needs_kustomize

PAGE = (DEPLOY.parent / "docs" / "kubernetes.md").read_text()
GIVEN = {(kind, name) for kind, name in re.findall(r"^\| (\w+) `(evenvoice-[\w-]+)` \|", PAGE, re.MULTILINE)}
"""Kind and name of what docs/kubernetes.md asks for."""
every_overlay = pytest.mark.parametrize("name", OVERLAYS)


def unmatched(resources: tuple[Json, ...]) -> list[tuple[str, dict[str, str]]]:
    """Selectors that no pod has the labels of, with the kind of what selects."""
    pods = [template["metadata"]["labels"] for template in pod_templates(resources).values()]
    services = [service["metadata"]["labels"] for service in of_kind(resources, "Service").values()]
    asked: list[tuple[str, dict[str, str], list[dict[str, str]]]] = []
    for resource in resources:
        kind, spec = resource["kind"], resource.get("spec", {})
        if kind == "Service":
            asked.append((kind, spec["selector"], pods))
        elif kind == "ServiceMonitor":
            asked.append((kind, spec["selector"]["matchLabels"], services))
        elif kind in ("Deployment", "PodDisruptionBudget"):
            asked.append((kind, spec["selector"]["matchLabels"], pods))
        asked += [(kind, labels, pods) for labels in selectors(spec)]
    assert len(asked) >= 11
    return [
        (kind, labels) for kind, labels, those in asked if not any(labels.items() <= found.items() for found in those)
    ]


@every_overlay
def test_every_selector_finds_what_it_is_for(name: str) -> None:
    assert unmatched(overlay(name)) == []


@pytest.mark.parametrize("kind", ["Service", "ServiceMonitor", "PodDisruptionBudget", "NetworkPolicy"])
def test_a_selector_that_finds_nothing_is_noticed(kind: str) -> None:
    resources = copy.deepcopy(overlay("cpu"))
    spec = of_kind(resources, kind)["evenvoice"]["spec"]
    found = spec.get("selector") or spec["podSelector"]
    found.get("matchLabels", found)["app.kubernetes.io/component"] = "gatway"
    assert [each for each, _ in unmatched(resources)] == [kind]


def references(value: Any) -> Iterator[tuple[str, str]]:
    """Kind and name of what a pod or a ServiceMonitor takes from elsewhere."""
    if isinstance(value, dict):
        for key, inner in value.items():
            match key:
                case "secret" if "secretName" in inner:
                    yield "Secret", inner["secretName"]
                case "credentials":
                    yield "Secret", inner["name"]
                case "configMapRef":
                    yield "ConfigMap", inner["name"]
                case "persistentVolumeClaim":
                    yield "PersistentVolumeClaim", inner["claimName"]
                case "serviceAccountName":
                    yield "ServiceAccount", inner
                case "scaleTargetRef":
                    yield inner["kind"], inner["name"]
            yield from references(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from references(inner)


@every_overlay
def test_what_is_referred_to_is_there_or_asked_for(name: str) -> None:
    there = {(resource["kind"], resource["metadata"]["name"]) for resource in overlay(name)}
    assert set(references(list(overlay(name)))) - there <= GIVEN


def test_no_more_is_asked_for_than_is_used() -> None:
    used = {reference for name in OVERLAYS for reference in references(list(overlay(name)))}
    assert used >= GIVEN
    assert len(GIVEN) == 4


def settings(name: str) -> dict[str, str]:
    found = [each["data"] for key, each in of_kind(overlay(name), "ConfigMap").items() if "settings" in key]
    assert len(found) == 1
    data: dict[str, str] = found[0]
    return data


def gateway(name: str) -> Json:
    container: Json = pod_templates(overlay(name))["evenvoice"]["spec"]["containers"][0]
    return container


@every_overlay
def test_the_gateways_settings_are_settings_and_its_files_are_mounted(name: str) -> None:
    given = dict(settings(name))
    folder = given.pop("EVENVOICE_SECRETS_DIR", None)
    fields = {key.removeprefix("EVENVOICE_").lower(): value for key, value in given.items()}
    assert fields.keys() <= Settings.model_fields.keys()
    known = Settings(**fields)
    assert known.drain_seconds > 0
    pod = pod_templates(overlay(name))["evenvoice"]["spec"]
    volumes = {volume["name"]: volume for volume in pod["volumes"]}
    mounted = {mount["mountPath"]: volumes[mount["name"]] for mount in gateway(name)["volumeMounts"]}
    assert mounted[str(known.keys.parent)]["secret"]["secretName"] == "evenvoice-keys"
    assert mounted[str(known.state)]
    assert mounted["/tmp"]["emptyDir"]
    assert (folder is not None) == (name == "postgres")
    if folder is not None:
        assert mounted[folder]["secret"]["secretName"] == "evenvoice-records"
    # the file's name there is the Secret's key
    assert f"--from-file={known.keys.name}" in PAGE
    assert "records" in Settings.model_fields
    assert "--from-file=evenvoice_records" in PAGE


@every_overlay
def test_sqlite_has_one_gateway_and_postgres_several(name: str) -> None:
    deployment = of_kind(overlay(name), "Deployment")["evenvoice"]["spec"]
    scalers, claims = of_kind(overlay(name), "HorizontalPodAutoscaler"), of_kind(overlay(name), "PersistentVolumeClaim")
    if name == "postgres":
        assert scalers["evenvoice"]["spec"]["minReplicas"] >= 2
        assert "replicas" not in deployment  # or each `kubectl apply` would take the autoscaler's number back
        assert deployment["strategy"]["rollingUpdate"]["maxUnavailable"] == 0
        assert "evenvoice-state" not in claims
    else:
        assert scalers == {}
        assert (deployment["replicas"], deployment["strategy"]) == (1, {"type": "Recreate"})
        assert claims["evenvoice-state"]["spec"]["accessModes"] == ["ReadWriteOnce"]


@every_overlay
def test_ports_are_the_gateways_and_every_name_of_one_is_known(name: str) -> None:
    default = next(option.default for option in serve.params if option.name == "port")
    assert gateway(name)["ports"] == [{"name": "http", "containerPort": default}]
    templates = pod_templates(overlay(name))
    for service in of_kind(overlay(name), "Service").values():
        backends = [
            t for t in templates.values() if service["spec"]["selector"].items() <= t["metadata"]["labels"].items()
        ]
        ports = {port["name"]: port["containerPort"] for t in backends for port in t["spec"]["containers"][0]["ports"]}
        assert all(port["targetPort"] in ports for port in service["spec"]["ports"])
        monitors = [
            monitor
            for monitor in of_kind(overlay(name), "ServiceMonitor").values()
            if monitor["spec"]["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()
        ]
        assert [endpoint["port"] for monitor in monitors for endpoint in monitor["spec"]["endpoints"]] == ["http"]


@every_overlay
def test_probes_ask_what_needs_no_key_and_prometheus_asks_with_one(name: str) -> None:
    container = gateway(name)
    probes = {kind: container[f"{kind}Probe"]["httpGet"]["path"] for kind in ("startup", "readiness", "liveness")}
    assert set(probes.values()) <= PROBES
    assert {route.template for route in ROUTES if route.is_open} >= set(probes.values())
    assert (probes["readiness"], probes["liveness"]) == ("/readyz", "/livez")  # one that drains must not be killed
    monitor = of_kind(overlay(name), "ServiceMonitor")["evenvoice"]["spec"]["endpoints"][0]
    route = next(route for route in ROUTES if route.template == monitor["path"])
    assert route.roles == {Role.METRICS}
    assert monitor["authorization"]["type"] == "Bearer"


@every_overlay
def test_no_request_outlives_its_pod(name: str) -> None:
    drain = float(settings(name)["EVENVOICE_DRAIN_SECONDS"])
    readiness = gateway(name)["readinessProbe"]
    assert drain >= 2 * readiness["periodSeconds"] * readiness["failureThreshold"]
    grace = pod_templates(overlay(name))["evenvoice"]["spec"]["terminationGracePeriodSeconds"]
    assert grace > drain + START_SECONDS


@every_overlay
def test_the_rules_know_the_job(name: str) -> None:
    monitor = of_kind(overlay(name), "ServiceMonitor")["evenvoice"]["spec"]
    service = of_kind(overlay(name), "Service")["evenvoice"]["metadata"]
    assert service["labels"][monitor["jobLabel"]] == RuleSettings().job
    job = next(
        c["job_name"] for c in yaml.safe_load((DEPLOY / "prometheus/prometheus.yml").read_text())["scrape_configs"]
    )
    assert job == RuleSettings().job
    assert of_kind(overlay(name), "ServiceMonitor")["evenvoice-pushgateway"]["spec"]["endpoints"][0]["honorLabels"]


def not_restricted(pod: Json) -> set[str]:
    """What the level `restricted` of the Pod Security Standards forbids of a pod. Source: kubernetes.io, Pod Security
    Standards."""
    own = pod.get("securityContext", {})
    wrong = {field for field in ("hostNetwork", "hostPID", "hostIPC") if pod.get(field)}
    kinds = {kind for volume in pod["volumes"] for kind in volume if kind != "name"}
    wrong |= kinds - {
        *("configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "persistentVolumeClaim", "projected", "secret")
    }
    for container in [*pod["containers"], *pod.get("initContainers", ())]:
        context = {**own, **container.get("securityContext", {})}
        if context.get("runAsNonRoot") is not True or context.get("runAsUser") == 0:
            wrong.add("root")
        if context.get("seccompProfile", {}).get("type") not in ("RuntimeDefault", "Localhost"):
            wrong.add("seccomp")
        if context.get("allowPrivilegeEscalation") is not False or context.get("privileged"):
            wrong.add("privileges")
        capabilities = context.get("capabilities", {})
        if capabilities.get("drop") != ["ALL"] or set(capabilities.get("add", ())) - {"NET_BIND_SERVICE"}:
            wrong.add("capabilities")
        if any("hostPort" in port for port in container.get("ports", ())):
            wrong.add("hostPort")
    return wrong


@every_overlay
def test_pods_keep_to_the_restricted_level_that_their_namespace_enforces(name: str) -> None:
    labels = of_kind(overlay(name), "Namespace")["evenvoice"]["metadata"]["labels"]
    assert labels["pod-security.kubernetes.io/enforce"] == "restricted"
    assert len(pod_templates(overlay(name))) == 3
    for template in pod_templates(overlay(name)).values():
        pod = template["spec"]
        assert not_restricted(pod) == set()
        assert pod["automountServiceAccountToken"] is False
        for container in pod["containers"]:
            assert container["securityContext"]["readOnlyRootFilesystem"] is True
            assert container["resources"]["limits"]["memory"]
            assert {"cpu", "memory"} <= container["resources"]["requests"].keys()
    assert not of_kind(overlay(name), "ServiceAccount")["evenvoice"]["automountServiceAccountToken"]


def test_a_pod_that_does_not_is_noticed() -> None:
    pod = copy.deepcopy(pod_templates(overlay("cpu"))["evenvoice"]["spec"])
    del pod["securityContext"]["seccompProfile"]
    pod["containers"][0]["securityContext"]["capabilities"]["add"] = ["NET_ADMIN"]
    pod["volumes"].append({"name": "node", "hostPath": {"path": "/"}})
    pod["hostNetwork"] = True
    assert not_restricted(pod) == {"seccomp", "capabilities", "hostPath", "hostNetwork"}


def allowed(resources: tuple[Json, ...], source: str, target: str) -> bool:
    """Whether the policies let the pods of one name reach port `http` of the other's, within the namespace."""
    labels = {name: template["metadata"]["labels"] for name, template in pod_templates(resources).items()}

    def lets(direction: str, here: str, there: str) -> bool:
        side = {"Ingress": ("ingress", "from"), "Egress": ("egress", "to")}[direction]
        policies = [
            policy["spec"]
            for policy in of_kind(resources, "NetworkPolicy").values()
            if policy["spec"]["podSelector"]["matchLabels"].items() <= labels[here].items()
            and direction in policy["spec"]["policyTypes"]
        ]
        return not policies or any(
            {"port": "http"} in rule["ports"]
            and any(
                peer.get("podSelector", {}).get("matchLabels", {"": ""}).items() <= labels[there].items()
                for peer in rule.get(side[1], ())
            )
            for policy in policies
            for rule in policy.get(side[0], ())
        )

    return lets("Egress", source, target) and lets("Ingress", target, source)


@every_overlay
def test_an_audit_reaches_the_pushgateway_and_nothing_else_reaches_anything(name: str) -> None:
    pods = list(pod_templates(overlay(name)))
    ways = {(a, b) for a in pods for b in pods if a != b and allowed(overlay(name), a, b)}
    assert ways == {("evenvoice-audit", "evenvoice-pushgateway")}


@every_overlay
def test_prometheus_is_let_in_where_it_scrapes(name: str) -> None:
    for monitor in of_kind(overlay(name), "ServiceMonitor"):
        ingress = of_kind(overlay(name), "NetworkPolicy")[monitor]["spec"]["ingress"][0]
        peers = [peer.get("namespaceSelector", {}).get("matchLabels") for peer in ingress["from"]]
        assert {"evenvoice/monitoring": "true"} in peers
        assert ingress["ports"] == [{"port": "http"}]


def test_the_audit_pushes_to_the_service_and_the_command_line_knows_its_options() -> None:
    container = pod_templates(overlay("cpu"))["evenvoice-audit"]["spec"]["containers"][0]
    url = urlsplit(next(word for word in container["args"] if word.startswith("--pushgateway")).partition("=")[2])
    service = of_kind(overlay("cpu"), "Service")[str(url.hostname)]
    assert url.port == service["spec"]["ports"][0]["port"]
    known = CliRunner().invoke(cli, ["audit", "run", *container["args"], "--help"])
    assert known.exit_code == 0, known.output
    wrong = CliRunner().invoke(cli, ["audit", "run", *container["args"], "--imagined"])
    assert "No such option" in wrong.output
    mounted = {mount["mountPath"] for mount in container["volumeMounts"]}
    paths = [word.partition("=")[2] for word in container["args"] if "=/" in word]
    assert {f"/{path.split('/')[1]}" for path in paths} == mounted - {"/tmp"} | {"/bundle"}  # which the image has
    assert CliRunner().invoke(cli, [*gateway("cpu")["args"], "--help"]).exit_code == 0


@pytest.mark.parametrize(("code", "of_job"), [(0, 0), (1, 0), (2, 0), (3, 1), (75, 1), (137, 1)])
def test_a_verdict_is_no_failed_job(tmp_path: Path, code: int, of_job: int) -> None:
    program = tmp_path / "evenvoice"
    program.write_text(f'#!/bin/sh\necho "$@"\nexit {code}\n')
    program.chmod(0o755)
    container = pod_templates(overlay("cpu"))["evenvoice-audit"]["spec"]["containers"][0]
    command = [*container["command"], *container["args"]]
    done = subprocess.run(command, env={"PATH": f"{tmp_path}:/usr/bin:/bin"}, capture_output=True, text=True)
    assert done.returncode == of_job
    assert done.stdout.split() == ["audit", "run", *container["args"]]


def test_a_job_that_failed_is_not_tried_again_and_one_that_was_driven_away_is() -> None:
    spec = of_kind(overlay("cpu"), "CronJob")["evenvoice-audit"]["spec"]
    job = spec["jobTemplate"]["spec"]
    assert (spec["concurrencyPolicy"], job["backoffLimit"]) == ("Forbid", 0)
    assert [rule["action"] for rule in job["podFailurePolicy"]["rules"]] == ["Ignore"]
    assert job["template"]["spec"]["restartPolicy"] == "Never"  # what podFailurePolicy asks for
    assert RuleSettings().audit_days == 8
    assert spec["schedule"].split()[-1] == "0"  # weekly: an audit that is missed is stale a day later


def _adapter() -> Json:
    rules: Json = yaml.safe_load((KUBERNETES / "prometheus-adapter.yaml").read_text())["rules"]["custom"][0]
    return rules


def test_the_autoscaler_asks_for_what_the_adapter_makes_of_our_metric() -> None:
    metric = of_kind(overlay("postgres"), "HorizontalPodAutoscaler")["evenvoice"]["spec"]["metrics"][0]["pods"]
    assert metric["metric"]["name"] == _adapter()["name"]["as"]
    assert set(re.findall(r"evenvoice_\w+", _adapter()["metricsQuery"])) == {
        *("evenvoice_stage_seconds_sum", "evenvoice_stage_seconds_count")
    }
    assert set(re.findall(r'stage="(\w+)"', _adapter()["metricsQuery"])) == {"queue"} <= set(STAGES)
    tenth = float(metric["target"]["averageValue"].removesuffix("m")) / 1000
    assert tenth == pytest.approx(Settings().deadline_ms / 1000 / 10)


@pytest.mark.skipif(PROMTOOL is None, reason="promtool is not installed")
def test_the_adapters_query_gives_each_pods_mean_wait_and_nought_where_nothing_came(tmp_path: Path) -> None:
    query = _adapter()["metricsQuery"]
    query = query.replace("<<.GroupBy>>", "pod").replace("<<.LabelMatchers>>", 'namespace="evenvoice",pod=~"busy|idle"')
    series = {  # a second between samples: 4 commands, which waited half a second together
        ("sum", "busy", "queue"): "0+0.5x300",
        ("count", "busy", "queue"): "0+4x300",
        ("sum", "idle", "queue"): "7x300",
        ("count", "idle", "queue"): "9x300",
        ("sum", "busy", "decide"): "0+5x300",
        ("count", "busy", "decide"): "0+4x300",
        ("sum", "other", "queue"): "0+9x300",
        ("count", "other", "queue"): "0+4x300",
    }
    inputs = [
        {
            "series": f'evenvoice_stage_seconds_{part}{{namespace="evenvoice",pod="{pod}",stage="{stage}"}}',
            "values": values,
        }
        for (part, pod, stage), values in series.items()
    ]
    expected = [{"labels": '{pod="busy"}', "value": 0.125}, {"labels": '{pod="idle"}', "value": 0}]
    asked = {"expr": query, "eval_time": "5m", "exp_samples": expected}
    test = {"tests": [{"interval": "1s", "input_series": inputs, "promql_expr_test": [asked]}]}
    file = tmp_path / "test.yml"
    file.write_text(yaml.safe_dump(test))
    done = subprocess.run([PROMTOOL, "test", "rules", file], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
