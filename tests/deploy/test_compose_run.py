"""The compose stack at work, as processes in the place of containers: every service but Grafana."""

from __future__ import annotations

import csv
import json
import re
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlencode

import pytest
from compose_file import DEPLOY, project
from compose_processes import Stack, asked, needs_namespaces

PROGRAMS = {name: shutil.which(name) for name in ("prometheus", "prometheus-alertmanager", "prometheus-pushgateway")}
POSTGRES = max(Path("/usr/lib/postgresql").glob("*/bin/initdb"), default=None)
NOBODY, GATEWAYS, POSTGRES_OWN = 65534, 10001, 999
"""The users of the images."""

pytestmark = [
    needs_namespaces,
    pytest.mark.skipif(not all(PROGRAMS.values()), reason="Prometheus, Alertmanager or Pushgateway is not installed"),
    pytest.mark.skipif(POSTGRES is None, reason="PostgreSQL's server is not installed"),
]


@pytest.fixture
def stack(bundle: Path, tone_manifest: Path, tmp_path: Path) -> Iterator[Stack]:
    corpus = tmp_path / "corpus"
    shutil.copytree(tone_manifest.parent, corpus)
    corpus.chmod(0o755)  # the containers' user reads it
    services = project(EVENVOICE_CORPUS=str(corpus))["services"]
    running = Stack(services, tmp_path, bundle, hosts=list(services))
    try:
        yield running
    finally:
        running.stop()


def until(holds: Callable[[], object], stack: Stack) -> None:
    end = time.monotonic() + 120
    while not holds():
        logs = {path.name: path.read_text()[-2000:] for path in stack.folder.glob("*.log")}
        assert time.monotonic() < end, logs
        time.sleep(0.7)


def image(word: str) -> list[str]:
    """What the gateway's image says after ENTRYPOINT or CMD."""
    found = re.search(rf"^{word} (\[.*\])$", (DEPLOY / "image" / "Dockerfile").read_text(), re.MULTILINE)
    assert found is not None
    words: list[str] = json.loads(found[1])
    return words


def start_postgres(stack: Stack) -> None:
    """As the entry point of its image does, from the same variables."""
    assert POSTGRES is not None
    data, where = stack.volume("postgres-data"), "/var/lib/postgresql/data"
    data.mkdir(parents=True)
    shutil.chown(data, POSTGRES_OWN, POSTGRES_OWN)
    its, path = stack.services["postgres"]["environment"], {"PATH": f"{POSTGRES.parent}:/usr/bin:/bin"}
    options = its["POSTGRES_INITDB_ARGS"].split()
    made = [
        "initdb",
        f"--username={its['POSTGRES_USER']}",
        f"--pwfile={its['POSTGRES_PASSWORD_FILE']}",
        *options,
        where,
    ]
    stack.run("postgres", made, uid=POSTGRES_OWN, also=path)
    stack.start("postgres", ["postgres", "-D", where], uid=POSTGRES_OWN, also=path)
    until(lambda: stack.succeeds(*stack.services["postgres"]["healthcheck"]["test"][1:]), stack)
    password = f"PGPASSWORD={password_of_postgres(stack)}"
    login = ("--host=postgres", f"--username={its['POSTGRES_USER']}")
    assert stack.succeeds("env", password, POSTGRES.with_name("createdb"), *login, its["POSTGRES_DB"])
    assert tells_postgres(stack, "select 1")
    assert not tells_postgres(stack, "select 1", password="guessed")


def password_of_postgres(stack: Stack) -> str:
    return (stack.volume("postgres-secrets") / "password").read_text()


def tells_postgres(stack: Stack, sql: str, *, password: str | None = None) -> bool:
    """Whether it lets the password in, by default the right one, and does what it is told."""
    assert POSTGRES is not None
    its, shown = stack.services["postgres"]["environment"], password or password_of_postgres(stack)
    where = ("--host=postgres", f"--username={its['POSTGRES_USER']}", f"--dbname={its['POSTGRES_DB']}")
    return stack.succeeds("env", f"PGPASSWORD={shown}", POSTGRES.with_name("psql"), *where, f"--command={sql}")


def start_watchers(stack: Stack) -> None:
    for program in PROGRAMS:
        name = program.removeprefix("prometheus-")
        data = stack.volume(f"{name}-data")
        data.mkdir(parents=True)
        shutil.chown(data, NOBODY, NOBODY)
        stack.start(name, [program, *stack.services[name]["command"]], uid=NOBODY)


def value(stack: Stack, query: str) -> float | None:
    """What Prometheus has now; None where that is nothing."""
    status, body = asked(stack, f"http://prometheus:9090/api/v1/query?{urlencode({'query': query})}")
    found = json.loads(body)["data"]["result"] if status == 200 else []
    return float(found[0]["value"][1]) if found else None


@pytest.mark.timeout(600)
def test_the_stack_comes_up_decides_records_audits_and_is_watched(stack: Stack, tone_manifest: Path) -> None:
    setup = stack.services["setup"]["entrypoint"]
    assert len(stack.run("setup", setup, uid=0).splitlines()) == 3
    assert stack.run("setup", setup, uid=0) == ""
    start_postgres(stack)
    start_watchers(stack)
    stack.start("gateway", [*image("ENTRYPOINT"), *image("CMD")], uid=GATEWAYS, also={"EVENVOICE_BUNDLE": "/bundle"})
    audit = stack.services["audit"]
    command = [*audit["entrypoint"], *audit["command"], "--attacked-clips=0", "--min-speakers=10"]
    stack.start("audit", command, uid=GATEWAYS)
    until(lambda: asked(stack, "http://gateway:3000/readyz")[0] == 200, stack)
    for name in ("prometheus", "pushgateway", "alertmanager"):
        until(lambda name=name: asked(stack, stack.services[name]["healthcheck"]["test"][-1])[0] == 200, stack)

    # a key that is made while it serves
    add = [*stack.services["keys"]["entrypoint"], "add", "--role=robot", "--name=arm 3"]
    key = stack.run("keys", add, uid=GATEWAYS).strip()
    with tone_manifest.open(newline="") as file:
        clip = tone_manifest.parent / next(csv.DictReader(file))["path"]
    send = ("--form", f"audio=@{clip}")
    assert asked(stack, "http://gateway:3000/v1/commands", *send)[0] == 401
    shown = ("--header", f"Authorization: Bearer {key}")
    until(lambda: asked(stack, "http://gateway:3000/v1/commands", *send, *shown)[0] == 200, stack)
    assert tells_postgres(stack, "select 1 / count(*) from decisions")  # by 0 it can't

    until(lambda: '"verdict"' in stack.log("audit"), stack)
    told = json.loads(stack.log("audit").splitlines()[-1])
    assert told["verdict"] in ("pass", "disparity", "inconclusive")
    assert (stack.volume("audits") / "latest" / "audit.html").is_file()
    assert stack.end("audit") == 0

    until(lambda: value(stack, 'up{job="evenvoice"}') == 1, stack)
    until(lambda: value(stack, "sum(evenvoice_commands_total)"), stack)
    until(lambda: value(stack, 'evenvoice_audit_exit_code{corpus="corpus"}') == told["exit_code"], stack)
    _, managers = asked(stack, "http://prometheus:9090/api/v1/alertmanagers")
    assert [each["url"] for each in json.loads(managers)["data"]["activeAlertmanagers"]] == [
        "http://alertmanager:9093/api/v2/alerts"
    ]
    _, rules = asked(stack, "http://prometheus:9090/api/v1/rules")
    assert "EvenvoiceGroupFaresDifferently" in rules
    assert stack.end("gateway") == 0


def test_a_service_may_write_nowhere_but_where_the_file_says(stack: Stack) -> None:
    script = (
        "for place in / /etc /usr /run/evenvoice /bundle /tmp /state; do test -w $place && echo $place; done; id -u"
    )
    found = stack.run("gateway", ["sh", "-c", script], uid=GATEWAYS)
    assert found.split() == ["/tmp", "/state", str(GATEWAYS)]
    may = stack.run("setup", ["grep", "CapBnd", "/proc/self/status"], uid=0)
    chown, dac_override, fowner = 1 << 0, 1 << 1, 1 << 3  # <linux/capability.h>
    assert int(may.split()[1], 16) == chown | dac_override | fowner
