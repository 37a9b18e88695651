"""The stack of `docker compose up`: whether Compose would take it, whether its parts fit, and what it lets nobody do.

No engine runs here: what is checked are the files, by a parser of the Compose specification and a linter, and against
what the gateway, its command line and Prometheus accept.
"""

from __future__ import annotations

import copy
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import yaml
from click.testing import CliRunner
from compose_file import DEPLOY, FOLDER, Json, mounts, project, variables
from compose_spec import PyCompose
from prometheus_server import PROMTOOL

from gateway.cli.main import cli
from gateway.settings import Settings

CORPUS = "../../runs/corpus"
STACK = project(EVENVOICE_CORPUS=CORPUS)
SERVICES: Json = STACK["services"]
TOOLS = ("setup", "keys")
GATEWAYS_USER = 10001

ACCEPTED = {
    **{(service, "CL-0019"): "a tag, not a digest: see docs/compose.md" for service in SERVICES},
    ("setup", "CL-0018"): "root, to give each secret to the user that reads it; it has no network and ends",
    ("gateway", "CL-0020"): "EVENVOICE_SECRETS_DIR is the name of a folder",
}
"""Service and rule of the linter -> why it stays."""


def checked(stack: Json) -> None:
    """Raises: ValueError where the Compose specification does not allow it."""
    PyCompose.from_yaml(yaml.safe_dump(stack)).validate()


def test_compose_takes_it() -> None:
    checked(STACK)


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda services: services["gateway"].update(imagine="x"), "imagine"),
        (lambda services: services["gateway"]["depends_on"]["setup"].update(condition="done"), "done"),
        (lambda services: services["gateway"].update(networks=["elsewhere"]), "elsewhere"),
        (lambda services: services["gateway"].update(stop_grace_period="45 x"), "duration"),
    ],
)
def test_what_compose_would_not_take_is_noticed(spoil: Callable[[Json], None], words: str) -> None:
    broken = copy.deepcopy(STACK)
    spoil(broken["services"])
    with pytest.raises(ValueError, match=words):
        checked(broken)


def test_the_linter_finds_nothing_that_is_not_explained(tmp_path: Path) -> None:
    stack = tmp_path / "compose.yaml"
    stack.write_text(yaml.safe_dump(STACK))
    linter = Path(sys.executable).with_name("compose-lint")
    command = [linter, "check", "--fail-on", "critical", "--format", "json", stack]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    assert "not evaluated" not in done.stderr
    assert {(found["service"], found["rule_id"]) for found in json.loads(done.stdout)["findings"]} == set(ACCEPTED)


@pytest.mark.parametrize("name", SERVICES)
def test_each_container_may_do_as_little_as_it_can(name: str) -> None:
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert {"cpus", "memory", "pids"} <= service["deploy"]["resources"]["limits"].keys()
    assert name == "setup" or "cap_add" not in service
    assert name == "setup" or not str(service.get("user", "")).startswith("0")
    assert not service.get("privileged")
    assert not any("docker.sock" in mount["source"] for mount in mounts(service))
    _, _, tag = service["image"].partition(":")
    assert re.fullmatch(r"v?\d+\.\d+(\.\d+)?", tag), service["image"]


def test_only_the_gateway_and_grafana_are_reached_and_from_this_machine_alone() -> None:
    published = {name: service["ports"] for name, service in SERVICES.items() if "ports" in service}
    assert published == {"gateway": ["127.0.0.1:3000:3000"], "grafana": ["127.0.0.1:3001:3000"]}
    assert {name for name, network in STACK["networks"].items() if not network.get("internal")} == {"outside"}
    on_it = {name for name, service in SERVICES.items() if "outside" in service.get("networks", ())}
    assert on_it == {"gateway", "grafana", "alertmanager"}
    assert {n for n, service in SERVICES.items() if "records" in service.get("networks", ())} == {"gateway", "postgres"}
    for name in TOOLS:
        assert SERVICES[name]["network_mode"] == "none"


def test_what_is_mounted_is_there() -> None:
    used = set()
    for name, service in SERVICES.items():
        for mount in mounts(service):
            if mount["type"] == "volume":
                used.add(mount["source"])
            elif mount["source"] != CORPUS:
                assert (FOLDER / mount["source"]).exists(), (name, mount)
                assert mount["read_only"], (name, mount)
    assert used == set(STACK["volumes"])
    grafana = {mount["target"]: mount["source"] for mount in mounts(SERVICES["grafana"])}
    provider = yaml.safe_load((DEPLOY / "grafana/provisioning/dashboards/evenvoice.yaml").read_text())["providers"][0]
    assert grafana[provider["options"]["path"]] == "../grafana/dashboards"
    assert {target for target in grafana if "provisioning" in target} == {
        *(f"/etc/grafana/provisioning/datasources/{name}.yaml" for name in ("prometheus", "alertmanager")),
        "/etc/grafana/provisioning/dashboards/evenvoice.yaml",
    }


def test_a_wrong_name_in_a_variable_is_an_error_and_no_new_folder() -> None:
    given = project(EVENVOICE_CORPUS="nowhere", EVENVOICE_ALERTMANAGER="nowhere")["services"]
    found = [mount for service in given.values() for mount in mounts(service) if mount["source"] == "nowhere"]
    assert [mount["bind"] for mount in found] == [{"create_host_path": False}] * 2


def test_who_waits_for_health_waits_for_somebody_who_tells() -> None:
    for name, service in SERVICES.items():
        for other, how in service.get("depends_on", {}).items():
            if how["condition"] == "service_healthy":
                assert SERVICES[other]["healthcheck"]["test"], (name, other)
            else:
                assert other == "setup"
                assert SERVICES[other]["restart"] == "no"
    # the image's health check asks a gateway; what else is made of the image has none
    for name, service in SERVICES.items():
        if service["image"] == SERVICES["gateway"]["image"]:
            assert service.get("healthcheck") == (None if name == "gateway" else {"disable": True})


def test_each_host_that_a_service_is_told_of_is_on_a_network_of_its_own() -> None:
    named = {
        "grafana": [SERVICES["grafana"]["environment"]["PROMETHEUS_URL"], _alertmanager_of_grafana()],
        "audit": [word.partition("=")[2] for word in SERVICES["audit"]["command"] if "http" in word],
        "prometheus": [f"http://{target}" for target in _targets("compose/prometheus.yml")],
        "gateway": ["http://postgres:5432"],  # setup.sh writes it, see test_compose_scripts.py
    }
    ports = {"gateway": 3000, "prometheus": 9090, "alertmanager": 9093, "pushgateway": 9091, "postgres": 5432}
    asked = [(asker, urlsplit(url)) for asker, urls in named.items() for url in urls]
    assert len(asked) == 7
    for asker, url in asked:
        assert url.hostname in SERVICES
        assert url.port == ports[url.hostname]
        assert set(SERVICES[asker]["networks"]) & set(SERVICES[url.hostname]["networks"]), (asker, url)


def _alertmanager_of_grafana() -> str:
    (source,) = yaml.safe_load((FOLDER / "alertmanager-datasource.yaml").read_text())["datasources"]
    assert (source["type"], source["jsonData"]["implementation"]) == ("alertmanager", "prometheus")
    url: str = source["url"]
    return url


def _targets(name: str) -> list[str]:
    text = (DEPLOY / name).read_text()
    return [target for found in re.findall(r"targets: \[([^]]*)\]", text) for target in re.findall(r'"([^"]+)"', found)]


def test_prometheus_scrapes_what_it_scrapes_on_one_machine_and_shows_its_key() -> None:
    here, there = (yaml.safe_load((DEPLOY / name / "prometheus.yml").read_text()) for name in ("compose", "prometheus"))
    jobs = {job["job_name"]: job for job in here["scrape_configs"]}
    authorization = jobs["evenvoice"].pop("authorization")
    key = Path("/etc/prometheus") / authorization["credentials_file"]
    assert {mount["target"]: mount["source"] for mount in mounts(SERVICES["prometheus"])}[str(key.parent)] == (
        "prometheus-secrets"
    )
    for config in (here, there):
        for jobs_or_managers in (config["scrape_configs"], config["alerting"]["alertmanagers"]):
            for entry in jobs_or_managers:
                del entry["static_configs"]
    assert here == there


@pytest.mark.skipif(PROMTOOL is None, reason="promtool is not installed")
def test_prometheus_takes_its_configuration_as_it_is_mounted(tmp_path: Path) -> None:
    etc = tmp_path / "prometheus"
    for mount in mounts(SERVICES["prometheus"]):
        if mount["type"] == "bind":
            target = tmp_path / Path(mount["target"]).relative_to("/etc")
            target.parent.mkdir(exist_ok=True)
            shutil.copy(FOLDER / mount["source"], target)
    command = [PROMTOOL, "check", "config", etc / "prometheus.yml"]
    assert subprocess.run(command, capture_output=True).returncode != 0  # it looks for the key
    (etc / "secrets").mkdir()
    (etc / "secrets" / "evenvoice.key").write_text("ev_key")
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "rules found" in done.stdout


def test_the_gateways_settings_are_settings() -> None:
    environment = SERVICES["gateway"]["environment"]
    settings = {
        name.removeprefix("EVENVOICE_").lower(): value
        for name, value in environment.items()
        if name not in ("EVENVOICE_SECRETS_DIR", "OMP_NUM_THREADS")
    }
    assert settings.keys() <= Settings.model_fields.keys()
    Settings(**settings)
    folder = mounts(SERVICES["gateway"])[0]
    assert folder["target"] == environment["EVENVOICE_SECRETS_DIR"] == str(Path(environment["EVENVOICE_KEYS"]).parent)
    assert folder["read_only"]
    state = next(mount for mount in SERVICES["gateway"]["tmpfs"] if mount.startswith(environment["EVENVOICE_STATE"]))
    assert f"uid={GATEWAYS_USER}" in state
    # the commands that change the keys find the same file, and may write it
    assert SERVICES["keys"]["environment"]["EVENVOICE_KEYS"] == environment["EVENVOICE_KEYS"]
    assert mounts(SERVICES["keys"]) == [{**folder, "read_only": False}]


@pytest.mark.parametrize("service", ["audit", "keys"])
def test_the_command_line_knows_each_command_and_option(service: str, monkeypatch: pytest.MonkeyPatch) -> None:
    entry, command = SERVICES[service]["entrypoint"], SERVICES[service]["command"]
    words = command if service == "audit" else [*entry, *command]
    assert words[0] == "evenvoice"
    monkeypatch.setenv("EVENVOICE_KEYS", "keys.json")
    wrong = CliRunner().invoke(cli, [*words[1:], "--imagined"])
    assert "No such option" in wrong.output
    known = CliRunner().invoke(cli, [*words[1:], "--help"])
    assert known.exit_code == 0, known.output


def test_the_audit_writes_and_reads_where_something_is_mounted() -> None:
    audit = SERVICES["audit"]
    mounted = {mount["target"]: mount.get("read_only", False) for mount in mounts(audit)}
    for word in [*audit["command"], *audit["entrypoint"]]:
        path = word.partition("=")[2] or word
        if path.startswith("/") and path != "/bundle":  # the image has that
            assert any(path == target or path.startswith(f"{target}/") for target in mounted), word
    assert mounted["/corpus"]
    assert not mounted["/audits"]
    assert "/audits" in {mount["target"] for mount in mounts(SERVICES["setup"])}  # which gives it to the user


def test_each_variable_is_in_the_example_and_the_other_way_round() -> None:
    example = (FOLDER / "example.env").read_text()
    written = dict(re.findall(r"^#?(EVENVOICE_\w+)=(.*)$", example, re.MULTILINE))
    assert written == {name: CORPUS if default is None else default for name, default in variables().items()}
    assert re.findall(r"^EVENVOICE_\w+", example, re.MULTILINE) == ["EVENVOICE_CORPUS"]  # the only one to be given
    with pytest.raises(KeyError, match="EVENVOICE_CORPUS"):
        project()
