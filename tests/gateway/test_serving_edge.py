"""The edge of a real server: keys, problems of BentoML's router, the log, and workers that outlive no master."""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import signal
import stat
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
from robot import Evenvoice, Spoken, assert_problem
from test_served import EVENVOICE, Server
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from gateway.access.keys import add_key, revoke_key
from gateway.access.routes import ROUTES, Role
from gateway.client import Client

WAV = {"content-type": "audio/wav"}
PICKLE = "application/vnd.bentoml+pickle"


@pytest.fixture(scope="module")
def keys_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("keys") / "keys.json"


@pytest.fixture(scope="module")
def keys(keys_file: Path) -> dict[str, str]:
    return {role.value: add_key(keys_file, role=role, name=f"Mrs Smith's {role}", per_minute=5000) for role in Role}


@pytest.fixture(scope="module")
def server(
    bundle: Path,
    speakers_csv: Path,
    keys: dict[str, str],
    keys_file: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Server]:
    assert keys
    options = ("--keys", str(keys_file), "--speakers", str(speakers_csv))
    started = Server(tmp_path_factory.mktemp("edge"), bundle, options, {"EVENVOICE_LOG": "json"})
    try:
        yield started.ready()
    finally:
        started.kill()


def ask(server: Server, method: str, path: str, key: str | None = None, **options: Any) -> httpx.Response:
    headers = {**options.pop("headers", {}), **({} if key is None else {"authorization": f"Bearer {key}"})}
    return server.ask(method, path, headers=headers, **options)


def test_a_robot_commands_and_reads_no_metrics_and_metrics_are_read_by_their_key(
    server: Server, keys: dict[str, str], spoken: Spoken
) -> None:
    def command(key: str | None) -> httpx.Response:
        return ask(server, "POST", "/v1/commands", key, content=spoken.data, headers=WAV)

    assert command(keys["robot"]).status_code == 200
    assert command(keys["operator"]).status_code == 200
    assert_problem(command(keys["metrics"]), 403)
    assert assert_problem(command(None), 401)["title"] == "An API key is needed"
    assert_problem(command(keys["robot"][:-1] + "!"), 401)
    assert ask(server, "GET", "/metrics", keys["metrics"]).status_code == 200
    assert_problem(ask(server, "GET", "/metrics", keys["robot"]), 403)
    assert ask(server, "GET", "/livez").status_code == 200
    assert ask(server, "GET", "/docs").status_code == 200


def test_the_client_shows_its_key(server: Server, keys: dict[str, str], spoken: Spoken) -> None:
    url = f"http://127.0.0.1:{server.port}"
    with Client(url, key=keys["robot"]) as robot, Client(url) as stranger:
        heard = robot.decide(spoken.data, defense="none")
        assert heard.response is not None
        assert heard.response.command == spoken.command
        assert stranger.decide(spoken.data).command is None
        assert stranger.decide(spoken.data).detail.startswith("status 401")


def test_a_revoked_key_is_refused_within_two_seconds(server: Server, keys_file: Path) -> None:
    key = add_key(keys_file, role=Role.METRICS, name="for a while")
    time.sleep(1.1)
    assert ask(server, "GET", "/metrics", key).status_code == 200
    revoke_key(keys_file, key.split("_")[1])
    time.sleep(1.1)
    assert_problem(ask(server, "GET", "/metrics", key), 401)


def test_a_body_is_not_waited_for_where_no_key_is_shown(server: Server) -> None:
    opening = f"POST /v1/commands HTTP/1.1\r\nHost: 127.0.0.1:{server.port}\r\nContent-Length: 1000000\r\n\r\n"

    async def first_line() -> bytes:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(opening.encode())  # and not a byte of the body
        line = await asyncio.wait_for(reader.readline(), 5)
        writer.close()
        return line

    assert asyncio.run(first_line()) == b"HTTP/1.1 401 Unauthorized\r\n"


def test_a_stream_is_refused_before_it_is_accepted(server: Server, keys: dict[str, str]) -> None:
    async def refusal(**options: Any) -> InvalidStatus:
        with pytest.raises(InvalidStatus) as caught:
            async with connect(f"ws://127.0.0.1:{server.port}/v1/stream", **options):
                pass
        return caught.value

    for options, status in (
        ({}, 401),
        ({"additional_headers": {"Authorization": "Bearer ev_x_y"}}, 401),
        ({"additional_headers": {"Authorization": f"Bearer {keys['metrics']}"}}, 403),
        ({"subprotocols": ["evenvoice.v1", f"evenvoice.key.{keys['metrics']}"]}, 403),
    ):
        answer = asyncio.run(refusal(**options)).response
        assert answer.status_code == status
        assert json.loads(answer.body or b"")["decision"] == "abstain"


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/nowhere", 404), ("DELETE", "/livez", 405), ("POST", "/static_content/index.css", 405),
        ("GET", "/static_content/nothing", 404), ("GET", "/v1/commands", 405), ("OPTIONS", "/v1/commands", 405),
        ("POST", "/", 405), ("GET", "//v1/commands", 404), ("GET", "/static_content/..%2f..%2fbase_app.py", 404),
    ],
)  # fmt: skip
def test_what_bentoml_would_answer_as_text_is_a_problem(
    server: Server, keys: dict[str, str], method: str, path: str, status: int
) -> None:
    answer = ask(server, method, path, keys["operator"])
    assert_problem(answer, status)
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["content-security-policy"].startswith("default-src 'none'")
    assert ("allow" in answer.headers) == (status == 405)


def test_there_is_no_route_of_bentomls_that_reads_a_body_and_ours_refuse_a_pickle(
    server: Server, keys: dict[str, str]
) -> None:
    schema = ask(server, "GET", "/schema.json", keys["operator"]).json()
    assert schema["routes"] == []
    for native in ("/predict", "/classify", "/__main__", "/v1/commands/submit", "/docs.json", "/schema.json"):
        answer = ask(server, "POST", native, keys["operator"], content=b"\x80\x04.", headers={"content-type": PICKLE})
        assert answer.status_code in (404, 405), native
    for route in ROUTES:
        if route.method in ("POST", "PUT", "PATCH"):
            path = route.template.replace("{request_id}", "1b671a64-40d5-491e-99b0-da01ff1f3341")
            answer = ask(
                server,
                route.method,
                path.replace("{speaker}", "s-17"),
                keys["operator"],
                content=b"\x80\x04.",
                headers={"content-type": PICKLE, "payload-container": "NdarrayContainer", "bento-name": "evenvoice"},
            )
            assert 400 <= answer.status_code < 500, route
            assert_problem(answer, answer.status_code)


def test_every_path_that_is_served_is_in_the_table_with_who_may_use_it(server: Server) -> None:
    document = server.ask("GET", "/openapi.json").json()
    known = {(route.method, route.template) for route in ROUTES}
    for path, methods in document["paths"].items():
        for method in methods:
            assert (method.upper(), path) in known


def test_the_log_has_a_line_a_request_and_nothing_that_a_client_wrote(
    server: Server, keys: dict[str, str], spoken: Spoken
) -> None:
    query = {"speaker": spoken.speaker, "defense": "none"}
    said = ask(server, "POST", "/v1/commands", keys["robot"], content=spoken.data, headers=WAV, params=query).json()
    ask(server, "GET", "/Mrs-Smith", keys["operator"], params={"said": "seven"})
    ask(server, "GET", "/metrics")
    time.sleep(0.2)
    text = server.said
    lines = [json.loads(line) for line in text.splitlines()]  # whatever writes there, BentoML included
    requests = [line for line in lines if line["event"] == "request"]
    commands = [line for line in requests if line["route"] == "/v1/commands" and line["status"] == 200]
    assert commands[-1]["key"] == keys["robot"].split("_")[1]
    assert commands[-1]["ms"] > 0
    for field in ("request_id", "decision", "reason"):
        assert commands[-1][field] == said[field]
    assert requests[-2]["route"] == "other"
    assert (requests[-1]["route"], requests[-1]["status"], requests[-1]["level"]) == ("/metrics", 401, "warning")
    assert not any(line["route"] in ("/livez", "/readyz") and line["status"] == 200 for line in requests)
    for word in (*keys.values(), "Smith", spoken.speaker, "said", "?"):
        assert word not in text, word


def test_the_key_that_the_file_holds_is_not_what_a_robot_sends(server: Server, keys_file: Path) -> None:
    stored = json.loads(keys_file.read_text())["keys"][0]
    for shown in (stored["sha256"], f"ev_{stored['id']}_{stored['sha256'][:43]}"):
        assert_problem(ask(server, "GET", "/metrics", shown), 401)


def test_a_killed_master_takes_its_workers_with_it_and_frees_the_state(bundle: Path, tmp_path: Path) -> None:
    server = Server(tmp_path, bundle, ("--workers", "2"))
    try:
        server.ready()
        workers = [w for w in psutil.Process(server.process.pid).children() if "worker" in " ".join(w.cmdline())]
        assert len(workers) == 2
        with (server.state / "lock").open() as lock, pytest.raises(BlockingIOError):
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.kill(server.process.pid, signal.SIGKILL)
        server.process.wait(5)
        _, alive = psutil.wait_procs(workers, timeout=5)
        assert alive == []
        with (server.state / "lock").open() as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        with pytest.raises(httpx.ConnectError):
            server.ask("GET", "/livez")
    finally:
        server.kill()


def test_the_master_takes_orders_from_no_port_of_the_machine(server: Server) -> None:
    family = [psutil.Process(server.process.pid), *psutil.Process(server.process.pid).children(recursive=True)]
    connections = [c for process in family for c in process.net_connections("all")]
    assert {c.laddr.port for c in connections if c.status == psutil.CONN_LISTEN} == {server.port}
    orders = [Path(c.laddr) for c in connections if isinstance(c.laddr, str) and c.laddr.endswith("/orders")]
    assert orders
    assert all(stat.S_IMODE(path.parent.stat().st_mode) == 0o700 for path in orders)


def refused(*options: str | Path) -> str:
    run = subprocess.run([EVENVOICE, "serve", *options], capture_output=True, text=True, timeout=60, check=False)
    assert run.returncode != 0
    assert "Traceback" not in run.stderr
    return " ".join(run.stderr.split())


def test_serving_other_machines_without_keys_is_refused_with_what_to_do(bundle: Path) -> None:
    for host in ("0.0.0.0", "::", "192.0.2.1"):
        said = refused("--bundle", bundle, "--host", host)
        assert "--keys FILE" in said
        assert "--allow-anonymous" in said


def test_what_cannot_be_used_is_refused_before_a_server_starts(bundle: Path, tmp_path: Path) -> None:
    assert "'localhost' is no IP address" in refused("--bundle", bundle, "--host", "localhost")
    missing = refused("--bundle", bundle, "--keys", tmp_path / "keys.json")
    assert missing == (
        f"evenvoice: the keys {tmp_path / 'keys.json'} can't be read: No such file or directory; "
        "`evenvoice keys add` makes them"
    )
    assert "TLS needs --tls-cert and --tls-key" in refused("--bundle", bundle, "--tls-cert", tmp_path / "a.pem")
    assert "TLS needs" in refused("--bundle", bundle, "--tls-client-ca", tmp_path / "a.pem")


def test_keys_made_by_the_command_open_the_server(evenvoice: Evenvoice, server: Server, keys_file: Path) -> None:
    made = evenvoice("keys", "add", "--file", keys_file, "--role", "metrics", "--name", "Prometheus")
    time.sleep(1.1)
    assert ask(server, "GET", "/metrics", made.out.strip()).status_code == 200


# What BentoML's server would let in over a WebSocket


def test_messages_are_never_compressed_and_none_is_larger_than_a_streams_largest(
    server: Server, keys: dict[str, str]
) -> None:
    async def send() -> tuple[str, int | None]:
        url = f"ws://127.0.0.1:{server.port}/v1/stream"
        header = {"authorization": f"Bearer {keys['robot']}"}
        async with connect(url, compression="deflate", additional_headers=header) as socket:
            assert socket.response is not None
            agreed = socket.response.headers.get("sec-websocket-extensions", "")
            await socket.send('{"type": "start", "rate": 16000, "width": 2, "channels": 1}')
            assert '"ready"' in str(await socket.recv())
            await socket.send(bytes((64 << 10) + 2))
            await socket.wait_closed()
        return agreed, socket.close_code

    assert asyncio.run(send()) == ("", 1009)
