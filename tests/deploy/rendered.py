"""What kustomize makes of `deploy/kubernetes`, as the API server would get it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

Json = dict[str, Any]

DEPLOY = Path(__file__).parents[2] / "deploy"
KUBERNETES = DEPLOY / "kubernetes"
OVERLAYS = ("cpu", "gpu", "postgres")
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # some 10,000 lines
_OLDEST = 5
"""Major version of kustomize: older ones read other fields."""


@cache
def builder() -> tuple[str, ...] | None:
    """The command that builds a kustomization; None where there is none new enough."""
    if kustomize := shutil.which("kustomize"):
        return (kustomize, "build")
    places = os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"]))  # the extra `dev` brings one
    if kubectl := shutil.which("kubectl", path=places):
        told = subprocess.run([kubectl, "version", "--client", "-o", "json"], capture_output=True, text=True).stdout
        version = json.loads(told or "{}").get("kustomizeVersion", "v0")
        if int(version.removeprefix("v").partition(".")[0]) >= _OLDEST:
            return (kubectl, "kustomize")
    return None


needs_kustomize = pytest.mark.skipif(
    builder() is None, reason="neither kustomize nor a kubectl that has it is installed"
)


def build(folder: Path) -> list[Json]:
    """The resources of a kustomization.

    Raises:
        RuntimeError: kustomize refused; the message is its own.
    """
    command = builder()
    assert command is not None
    done = subprocess.run([*command, str(folder)], capture_output=True, text=True)
    if done.returncode != 0:
        raise RuntimeError(done.stderr)
    return [document for document in yaml.load_all(done.stdout, Loader=_LOADER) if document]


@cache
def overlay(name: str) -> tuple[Json, ...]:
    """The resources of an overlay; not to be changed."""
    return tuple(build(KUBERNETES / "overlays" / name))


def of_kind(resources: tuple[Json, ...] | list[Json], kind: str) -> dict[str, Json]:
    """Name -> resource."""
    return {resource["metadata"]["name"]: resource for resource in resources if resource["kind"] == kind}


def pod_templates(resources: tuple[Json, ...] | list[Json]) -> dict[str, Json]:
    """Name of what makes pods -> their template."""
    found = {}
    for name, deployment in of_kind(resources, "Deployment").items():
        found[name] = deployment["spec"]["template"]
    for name, job in of_kind(resources, "CronJob").items():
        found[name] = job["spec"]["jobTemplate"]["spec"]["template"]
    return found


def selectors(value: Any) -> Iterator[dict[str, str]]:
    """The labels by which a resource finds pods, however deep they stand."""
    if isinstance(value, dict):
        for key, inner in value.items():
            if key in ("podSelector", "labelSelector"):
                yield inner["matchLabels"]
            yield from selectors(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from selectors(inner)
