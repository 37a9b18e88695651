"""The Kubernetes overlays: what kustomize makes of them is held against the schemas of pinned versions.

No cluster runs here: nothing was ever applied. What is checked are the rendered resources.
"""

from __future__ import annotations

import copy
import shutil
import subprocess
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml
from cloudcoil.models.prometheus_operator.v1 import PrometheusRule, ServiceMonitor
from prometheus_server import PROMTOOL
from rendered import DEPLOY, KUBERNETES, OVERLAYS, Json, build, needs_kustomize, of_kind, overlay

from monitoring.rules import RuleSettings, rules_file

pytestmark = needs_kustomize

VERSIONS = ("1.31", "1.37")
"""The oldest that docs/kubernetes.md names, and the newest whose schemas there are."""
OPERATORS = {"ServiceMonitor": ServiceMonitor, "PrometheusRule": PrometheusRule}
RULES = KUBERNETES / "components" / "monitoring" / "prometheusrule.yaml"


def distinct() -> list[Json]:
    """The resources of all overlays, those that are alike once."""
    found: list[Json] = []
    for name in OVERLAYS:
        found += [resource for resource in overlay(name) if resource not in found]
    return found


def test_the_oldest_version_is_the_one_that_the_page_names() -> None:
    assert f"Kubernetes {VERSIONS[0]} or newer" in (DEPLOY.parent / "docs" / "kubernetes.md").read_text()


@pytest.mark.parametrize("version", VERSIONS)
def test_the_api_server_knows_every_field(version: str) -> None:
    checked = [resource for resource in distinct() if resource["kind"] not in OPERATORS]
    for resource in checked:
        kubernetes_validate.validate(resource, version, strict=True)
    assert {"Deployment", "CronJob", "HorizontalPodAutoscaler", "NetworkPolicy"} <= {each["kind"] for each in checked}


@pytest.mark.parametrize(
    ("kind", "path", "value"),
    [
        ("Deployment", ("spec", "template", "spec", "containers", 0, "livenesProbe"), {}),
        ("Deployment", ("spec", "template", "spec", "containers", 0, "ports", 0, "containerPort"), "http"),
        ("CronJob", ("spec", "concurrencyPolicy"), 3),
        ("HorizontalPodAutoscaler", ("spec", "minReplicas"), "two"),
    ],
)
def test_a_field_that_it_does_not_know_is_noticed(kind: str, path: tuple[str | int, ...], value: Any) -> None:
    broken = copy.deepcopy(next(iter(of_kind(overlay("postgres"), kind).values())))
    inner: Any = broken
    for step in path[:-1]:
        inner = inner[step]
    inner[path[-1]] = value
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(broken, VERSIONS[-1], strict=True)


def kept(resource: Json) -> Json:
    """What the Prometheus operator's types keep of a resource: no field that they do not have."""
    known = OPERATORS[resource["kind"]].model_validate(resource)
    return known.model_dump(mode="json", by_alias=True, exclude_unset=True)


def test_the_prometheus_operator_knows_every_field() -> None:
    checked = [resource for resource in distinct() if resource["kind"] in OPERATORS]
    assert len(checked) == 3
    for resource in checked:
        assert kept(resource) == resource
    broken = copy.deepcopy(next(each for each in checked if each["kind"] == "ServiceMonitor"))
    broken["spec"]["endpoints"][0]["autorization"] = {}
    assert kept(broken) != broken


def test_the_rules_are_those_of_prometheus() -> None:
    assert RULES.read_text() == rules_file(RuleSettings(), for_kubernetes=True), (
        f"run: evenvoice rules write --kubernetes --out {RULES.relative_to(DEPLOY.parent)}"
    )
    spec = of_kind(overlay("cpu"), "PrometheusRule")["evenvoice"]["spec"]
    assert spec == yaml.safe_load((DEPLOY / "prometheus" / "rules.yml").read_text())


@pytest.mark.skipif(PROMTOOL is None, reason="promtool is not installed")
def test_prometheus_takes_the_rules(tmp_path: Path) -> None:
    file = tmp_path / "rules.yml"
    file.write_text(yaml.safe_dump(of_kind(overlay("cpu"), "PrometheusRule")["evenvoice"]["spec"]))
    done = subprocess.run([PROMTOOL, "check", "rules", file], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_each_dashboard_is_a_config_map_that_grafanas_sidecar_finds() -> None:
    files = {path.name: path.read_text() for path in (DEPLOY / "grafana" / "dashboards").iterdir()}
    maps = [each for name, each in of_kind(overlay("cpu"), "ConfigMap").items() if "dashboard" in name]
    assert {name: text for each in maps for name, text in each["data"].items()} == files
    for each in maps:
        assert each["metadata"]["labels"]["grafana_dashboard"] == "1"
        assert len(str(each)) < 200_000  # `kubectl apply` notes them in an annotation, which has 262,144 bytes


def test_everything_is_of_one_namespace() -> None:
    for name in OVERLAYS:
        for resource in overlay(name):
            if resource["kind"] != "Namespace":
                assert resource["metadata"]["namespace"] == "evenvoice", resource["metadata"]["name"]
        assert "Secret" not in {resource["kind"] for resource in overlay(name)}


def test_an_overlay_of_ones_own_can_have_both_a_gpu_and_postgres(tmp_path: Path) -> None:
    shutil.copytree(DEPLOY, tmp_path / "deploy")
    page = (DEPLOY.parent / "docs" / "kubernetes.md").read_text()
    own = tmp_path / "deploy" / "kubernetes" / "overlays" / "own"
    own.mkdir()
    (own / "kustomization.yaml").write_text(page.split("```yaml\n")[1].split("```")[0])
    made = build(own)
    deployment = of_kind(made, "Deployment")["evenvoice"]
    container = deployment["spec"]["template"]["spec"]["containers"][0]
    assert container["resources"]["limits"]["nvidia.com/gpu"] == "1"
    assert deployment["spec"]["strategy"]["type"] == "RollingUpdate"
    settings = next(each for name, each in of_kind(made, "ConfigMap").items() if "settings" in name)["data"]
    assert {"EVENVOICE_DEVICE", "EVENVOICE_SECRETS_DIR"} <= settings.keys()
    for resource in made:
        if resource["kind"] not in OPERATORS:
            kubernetes_validate.validate(resource, VERSIONS[-1], strict=True)
