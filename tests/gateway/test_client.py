"""Whatever is not a fresh acceptance is a hold."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import pytest

from gateway.client import Client

ACCEPTANCE: dict[str, Any] = {
    "request_id": "16913bab-cc18-4ff6-b2f6-b0fbb2c61fe5",
    "decision": "accept",
    "command": "left",
    "reason": "ok",
    "detail": "p = 1e-30 <= error_alpha = 0.001 after 100 draws",
    "confidence": 1.0,
    "top": [{"command": "left", "share": 1.0}],
    "certificate": None,
    "safe_action": "hold",
    "model": {"name": "tones", "version": "sha256:00"},
    "audio": {"seconds": 0.6, "sample_rate": 16000},
    "received_at": "2026-01-01T00:00:00Z",
    "valid_for_ms": 1500,
    "timings_ms": {"total": 50.0},
}
ABSTENTION = ACCEPTANCE | {"decision": "abstain", "command": None, "reason": "smoothing_tie"}

Answer = Callable[[BaseHTTPRequestHandler], None]


def says(status: int, body: object, *, after: float = 0.0) -> Answer:
    """A server's answer: a status, and JSON or bytes, so many seconds later."""

    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.rfile.read(int(handler.headers.get("Content-Length", 0)))
        time.sleep(after)
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        handler.send_response(status)
        handler.send_header("Content-Length", str(len(content)))
        handler.end_headers()
        handler.wfile.write(content)

    return answer


@pytest.fixture
def client_of() -> Iterator[Callable[[Answer], Client]]:
    """Starts a real HTTP server that always gives one answer, and a client of it."""
    started: list[tuple[ThreadingHTTPServer, Client]] = []

    def start(answer: Answer) -> Client:
        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                answer(self)

            def log_message(self, *_: object) -> None:
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        Thread(target=server.serve_forever, daemon=True).start()
        client = Client(f"http://127.0.0.1:{server.server_port}", timeout=0.5)
        started.append((server, client))
        return client

    yield start
    for server, client in started:
        client.close()
        server.shutdown()
        server.server_close()


def test_a_fresh_acceptance_is_a_command(client_of: Callable[[Answer], Client]) -> None:
    answer = client_of(says(200, ACCEPTANCE)).decide(b"RIFF")
    assert answer.command == "left"


def test_an_abstention_is_a_hold(client_of: Callable[[Answer], Client]) -> None:
    answer = client_of(says(200, ABSTENTION)).decide(b"RIFF")
    assert answer.command is None
    assert answer.response is not None


def test_an_acceptance_is_void_once_it_is_older_than_valid_for_ms(client_of: Callable[[Answer], Client]) -> None:
    client = client_of(says(200, ACCEPTANCE | {"valid_for_ms": 200}))
    answer = client.decide(b"RIFF")
    assert answer.command == "left"
    time.sleep(0.25)
    assert answer.command is None


def test_the_time_under_way_counts_against_an_acceptance(client_of: Callable[[Answer], Client]) -> None:
    answer = client_of(says(200, ACCEPTANCE | {"valid_for_ms": 100}, after=0.2)).decide(b"RIFF")
    assert answer.response is not None
    assert answer.command is None


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (503, {"detail": "busy", "decision": "abstain"}),
        (500, b"oh no"),
        (202, ACCEPTANCE),
        (200, b""),
        (200, b"<html>welcome to the hotel's wireless network</html>"),
        (200, {"decision": "accept", "command": "left"}),
        (200, ACCEPTANCE | {"confidence": "very"}),
        (200, ACCEPTANCE | {"decision": "perhaps"}),
        (302, b""),
    ],
)
def test_anything_else_is_a_hold(client_of: Callable[[Answer], Client], status: int, body: object) -> None:
    answer = client_of(says(status, body)).decide(b"RIFF")
    assert answer.command is None
    assert answer.response is None
    assert answer.detail


def test_no_answer_in_time_is_a_hold(client_of: Callable[[Answer], Client]) -> None:
    client = client_of(says(200, ACCEPTANCE, after=1.0))
    assert client.decide(b"RIFF").command is None


def test_no_gateway_is_a_hold() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with Client(f"http://127.0.0.1:{port}") as client:
        assert client.decide(b"RIFF").command is None
        assert not client.label(ACCEPTANCE["request_id"], "left")
        assert not client.is_ready()
