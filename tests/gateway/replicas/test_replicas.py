"""Two gateways on one database behind nginx and behind HAProxy are one gateway."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import numpy as np
import pytest
from balancers import BALANCERS, Balancer, Papers, ask, is_here, url_of
from prometheus_server import Prometheus, needs_prometheus
from replicated import Site
from robot import Spoken, assert_problem, encoded, total
from test_served import Server
from test_swap import other_bundle, point
from waiting import until

from gateway.client import END_UTTERANCE, Client, Ended, Heard
from gateway.settings import Settings
from recognizer.bundle import version_of

WAV = {"content-type": "audio/wav"}
PLAIN = {"defense": "none"}


def decided(server: Server) -> float:
    return total(server.samples, "evenvoice_commands_total")


def command(balancer: Balancer, clip: bytes, **headers: str) -> httpx.Response:
    return ask(balancer, "POST", "/v1/commands", content=clip, headers=WAV | headers, params=PLAIN)


def test_commands_are_spread_and_each_is_decided_once(site: Site, balancer: Balancer, spoken: Spoken) -> None:
    before = [decided(server) for server in site.replicas]
    with ThreadPoolExecutor(4) as pool:
        plain = [pool.submit(command, balancer, spoken.data) for _ in range(16)]
        keys = [f"{balancer.name} {i}" for i in range(16)]
        keyed = [pool.submit(command, balancer, spoken.data, **{"idempotency-key": key}) for key in keys]
        answers = [future.result() for future in (*plain, *keyed)]
    assert {answer.json()["command"] for answer in answers} == {spoken.command}
    new = [decided(server) - then for server, then in zip(site.replicas, before, strict=True)]
    assert sum(new) == len(answers)
    assert min(new) > 0


def test_a_command_that_comes_again_at_the_other_gateway_gets_its_first_answer(site: Site, spoken: Spoken) -> None:
    one, two = site.replicas
    again = {"content": spoken.data, "headers": WAV | {"idempotency-key": "again"}, "params": PLAIN}
    first = one.ask("POST", "/v1/commands", **again).json()
    second = two.ask("POST", "/v1/commands", **again).json()
    assert first["decision"] == second["decision"] == "accept"
    assert second["request_id"] == first["request_id"]
    assert 0 < second["valid_for_ms"] < first["valid_for_ms"]
    assert_problem(two.ask("POST", "/v1/commands", **{**again, "content": encoded(np.zeros(8000))}), 422)


def test_a_command_that_comes_to_both_at_once_is_decided_once(site: Site, spoken: Spoken) -> None:
    def both(key: str) -> set[str]:
        asked = {"content": spoken.data, "headers": WAV | {"idempotency-key": key}, "params": PLAIN}
        with ThreadPoolExecutor(4) as pool:
            answers = pool.map(lambda i: site.replicas[i % 2].ask("POST", "/v1/commands", **asked), range(4))
            return {answer.json()["request_id"] for answer in answers}

    told = [both(f"race {i}") for i in range(8)]
    assert [len(ids) for ids in told] == [1] * len(told)
    stored = [row["request_id"] for row in site.rows()]
    for ids in told:
        assert [stored.count(request_id) for request_id in ids] == [1]


def test_a_label_may_be_told_to_the_other_gateway_once(site: Site, spoken: Spoken) -> None:
    one, two = site.replicas
    request_id = one.decide(spoken.data, defense="none").json()["request_id"]
    assert two.label(request_id, spoken.command).json()["result"] == "correct"
    assert_problem(one.label(request_id, spoken.command), 409)


def test_who_is_enrolled_and_erased_at_one_is_so_at_the_other_with_the_next_command(site: Site, spoken: Spoken) -> None:
    one, two = site.replicas
    enrolled = one.ask("POST", "/v1/speakers", json={"speaker": "s-1", "declared": {"accent": "north"}})
    assert enrolled.status_code == 201
    answer = two.decide(spoken.data, defense="none", speaker="s-1").json()
    row = next(row for row in site.rows() if row["request_id"] == answer["request_id"])
    assert row["groups"]["accent"] == "north"
    assert one.ask("POST", "/v1/speakers", json={"speaker": "s-2", "declared": {}}).status_code == 201
    assert two.ask("DELETE", "/v1/speakers/s-2").status_code == 200
    assert_problem(one.decide(spoken.data, defense="none", speaker="s-2"), 422)


@needs_prometheus
def test_prometheus_sums_what_processes_count_and_takes_each_group_once(
    site: Site, spoken: Spoken, tmp_path: Path
) -> None:
    for i in range(8):
        site.replicas[i % 2].decide(spoken.data, defense="none")
    name = "evenvoice_group_commands_total"
    stored = len([row for row in site.rows() if row["outcome"] in ("accepted", "rejected")])
    for server in site.replicas:
        assert total(server.counted(name, stored, attribute="accent"), name, attribute="accent") == stored
    own = sum(decided(server) for server in site.replicas)
    prometheus = Prometheus(tmp_path, {"evenvoice": [f"127.0.0.1:{port}" for port in site.ports]})
    try:
        prometheus.until(f"sum(evenvoice_commands_total) == {own}")
        each = f'max by (ledger, group, defense, model, outcome) ({name}{{attribute="accent"}})'
        assert prometheus.query(f"sum({each})") == [({}, stored)]
        assert prometheus.query(f'sum({name}{{attribute="accent"}})') == [({}, 2 * stored)]
        assert len(prometheus.query(f"count by (ledger) ({name})")) == 1
    finally:
        prometheus.stop()


def test_a_stream_goes_through_both_ways(balancer: Balancer, spoken: Spoken) -> None:
    samples, rate = spoken.pcm
    data = samples.astype("<i2").tobytes()
    with Client(url_of(balancer), tls=balancer.papers.trust, timeout=20) as client:
        *others, last = client.stream([data[:3200], data[3200:], END_UTTERANCE], rate=rate)
    assert [event.answer.kind for event in others if isinstance(event, Heard)] == ["answered"]
    assert isinstance(last, Ended)
    assert last.totals is not None
    assert last.totals.seconds == pytest.approx(len(samples) / rate, abs=1e-3)


def test_a_body_may_be_as_long_as_the_gateway_says_and_no_longer(balancer: Balancer) -> None:
    most = Settings().max_body_bytes
    frame = 200  # bytes: less than what a form puts around its file
    clip = encoded(np.zeros((5 * 48_000, 2)), rate=48_000)
    largest = {"audio": ("clip.wav", clip), "speaker": (None, " " * 8), "fill": (None, "x" * (most - len(clip) - 2000))}
    assert ask(balancer, "POST", "/v1/commands", files=largest).status_code != 413
    assert ask(balancer, "POST", "/v1/commands", files={"audio": ("clip.wav", clip)}).json()["reason"] == "no_speech"
    for content in (bytes(most + 1), iter([bytes(most), bytes(frame)])):
        assert_problem(ask(balancer, "POST", "/v1/commands", content=content, headers=WAV), 413)


@pytest.mark.parametrize("path", ["/metrics", "/%6detrics", "/metric%73?all", "//metrics"])
def test_counters_are_not_to_be_had_through_a_balancer(balancer: Balancer, path: str) -> None:
    assert ask(balancer, "GET", path).status_code == 404


def test_an_address_that_a_client_says_is_its_own_is_not_believed(
    site: Site, balancer: Balancer, own_address: str
) -> None:
    """Without keys the gateway serves this machine's loopback only, which it knows by the balancer's word."""
    if own_address.startswith("127."):
        pytest.skip("this machine has no other address than the loopback's")
    said = {"host": f"127.0.0.1:{balancer.port}", "x-forwarded-for": "127.0.0.1"}
    assert ask(balancer, "GET", "/v1/model", headers=said).status_code == 200
    elsewhere = f"https://{own_address}:{balancer.port}/v1/model"
    assert_problem(httpx.get(elsewhere, headers=said, verify=balancer.papers.trust), 401)
    direct = {**said, "x-forwarded-for": own_address}
    assert_problem(site.replicas[0].ask("GET", "/v1/model", headers=direct), 401)


class Faulty(ThreadingHTTPServer):
    """A gateway that says that it is ready, reads a command, and ends without an answer."""

    daemon_threads = True

    def __init__(self) -> None:
        self.commands = 0
        super().__init__(("127.0.0.1", 0), _Handler)
        threading.Thread(target=self.serve_forever, daemon=True).start()


class _Handler(BaseHTTPRequestHandler):
    server: Faulty

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("content-length", "0")
        self.end_headers()

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        self.server.commands += 1
        self.close_connection = True

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def faulty() -> Iterator[list[Faulty]]:
    servers = [Faulty(), Faulty()]
    yield servers
    for server in servers:
        server.shutdown()
        server.server_close()


def logged(folder: Path) -> str:
    return "".join(path.read_text() for path in folder.glob("*log"))


@pytest.mark.parametrize("name", ["nginx", "haproxy"])
@pytest.mark.parametrize(("headers", "times"), [({}, 1), ({"idempotency-key": "k"}, 2)], ids=["bare", "with a key"])
def test_a_command_that_was_sent_is_sent_again_only_with_a_key_and_no_log_says_who_spoke(
    faulty: list[Faulty], name: str, headers: dict[str, str], times: int, papers: Papers, tmp_path: Path
) -> None:
    if not is_here(name):
        pytest.skip(f"no {name} here; apt install {name}")
    balancer = BALANCERS[name](tmp_path / name, papers, [server.server_port for server in faulty])
    asked_for = {"headers": WAV | headers, "params": {"speaker": "s-17"}}
    try:
        answer = ask(balancer, "POST", "/v1/commands", content=b"RIFF", **asked_for)
        assert until(lambda: "POST" in logged(tmp_path / name))  # after the answer, at its own time
    finally:
        balancer.stop()
    assert "s-17" not in logged(tmp_path / name)
    assert_problem(answer, answer.status_code)
    assert answer.status_code in (502, 503)
    if not headers:
        assert "retry-after" not in answer.headers  # it may have been decided
    asked = sum(server.commands for server in faulty)
    assert (asked >= times) if headers else (asked == times)


@pytest.mark.parametrize("name", ["nginx", "haproxy"])
def test_a_command_for_which_there_was_no_connection_goes_to_the_other(
    faulty: list[Faulty], name: str, site: Site, spoken: Spoken, papers: Papers, tmp_path: Path
) -> None:
    if not is_here(name):
        pytest.skip(f"no {name} here; apt install {name}")
    gone = faulty.pop()
    balancer = BALANCERS[name](tmp_path / name, papers, [gone.server_port, site.ports[1]])
    gone.shutdown()
    gone.server_close()  # from now on a connection to it is refused
    try:
        assert {command(balancer, spoken.data).status_code for _ in range(4)} == {200}
    finally:
        balancer.stop()


def test_a_bundle_that_is_swapped_at_both_is_served_by_both(
    site: Site, spoken: Spoken, bundle: Path, tmp_path: Path
) -> None:
    new = other_bundle(bundle, tmp_path / "other")
    point(site.served, new)
    try:
        assert until(lambda: all("serving the bundle" in server.said for server in site.replicas), 60)
        served = [server.decide(spoken.data, defense="none").json() for server in site.replicas]
        assert {answer["model"]["version"] for answer in served} == {version_of(new)}
        assert {answer["command"] for answer in served} == {spoken.command}
    finally:
        point(site.served, bundle)
    assert until(lambda: all(server.said.count("serving the bundle") == 2 for server in site.replicas), 60)
