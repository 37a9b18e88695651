"""TLS and certificates of clients, against a real server and with certificates of authorities made for the test."""

from __future__ import annotations

import contextlib
import json
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
import trustme
from robot import Spoken
from test_served import START_SECONDS, Server

from gateway.client import END_UTTERANCE, Client, Ended, Heard


@dataclass(frozen=True)
class Papers:
    """Two authorities; ours signed the server."""

    ours: trustme.CA
    theirs: trustme.CA
    options: tuple[str, ...]

    def context(self, signed_by: trustme.CA | None) -> ssl.SSLContext:
        """A client's, which trusts our server and shows a certificate of that authority, or none."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        self.ours.configure_trust(context)
        if signed_by is not None:
            signed_by.issue_cert("robot-3@evenvoice.example").configure_cert(context)
        return context


@pytest.fixture(scope="module")
def papers(tmp_path_factory: pytest.TempPathFactory) -> Papers:
    folder = tmp_path_factory.mktemp("papers")
    ours, theirs = trustme.CA(), trustme.CA()
    server = ours.issue_cert("127.0.0.1", key_type=trustme.KeyType.RSA)
    files = {name: folder / f"{name}.pem" for name in ("cert", "key", "client-ca")}
    files["cert"].write_bytes(b"".join(blob.bytes() for blob in server.cert_chain_pems))
    server.private_key_pem.write_to_path(str(files["key"]))
    ours.cert_pem.write_to_path(str(files["client-ca"]))
    options = tuple(word for name, path in files.items() for word in (f"--tls-{name}", str(path)))
    return Papers(ours, theirs, options)


@pytest.fixture(scope="module")
def server(bundle: Path, papers: Papers, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    started = Server(tmp_path_factory.mktemp("tls"), bundle, papers.options)
    context = papers.context(papers.ours)
    ends = time.monotonic() + START_SECONDS
    try:
        while True:
            try:
                if httpx.get(url_of(started, "/readyz"), verify=context, timeout=2).status_code == 200:
                    break
            except httpx.HTTPError:
                time.sleep(0.1)
            assert started.process.poll() is None, started.said
            assert time.monotonic() < ends, started.said
        yield started
    finally:
        started.kill()


def url_of(server: Server, path: str = "") -> str:
    return f"https://127.0.0.1:{server.port}{path}"


@dataclass(frozen=True)
class Talk:
    """What came of one connection."""

    version: str | None
    cipher: str
    answer: bytes


def talk(server: Server, context: ssl.SSLContext) -> Talk | None:
    """A request without httpx; None where nothing is answered, with an alert or, as uvloop does, without a word."""
    try:
        with (
            socket.create_connection(("127.0.0.1", server.port), timeout=10) as plain,
            context.wrap_socket(plain, server_hostname="127.0.0.1") as secure,
        ):
            secure.sendall(b"GET /livez HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
            cipher = secure.cipher()
            assert cipher is not None
            answer = secure.recv(100)
            return Talk(secure.version(), cipher[0], answer) if answer else None
    except (ssl.SSLError, ConnectionError):
        return None


def would_agree(client: ssl.SSLContext, server: ssl.SSLContext) -> str | None:
    """The TLS version of a handshake in memory: shows that a client is able to what a real server refuses."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = [
        client.wrap_bio(to_client, to_server, server_hostname="127.0.0.1"),
        server.wrap_bio(to_server, to_client, server_side=True),
    ]
    for _ in range(5):  # more than a handshake has flights
        for end in ends:
            with contextlib.suppress(ssl.SSLWantReadError):
                end.do_handshake()
    return ends[0].version()


def lax_server(papers: Papers) -> ssl.SSLContext:
    """Takes whatever OpenSSL still can."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    papers.ours.issue_cert("127.0.0.1", key_type=trustme.KeyType.RSA).configure_cert(context)
    context.set_ciphers("ALL:@SECLEVEL=0")
    context.minimum_version = ssl.TLSVersion.TLSv1
    return context


def test_a_robot_with_a_certificate_of_ours_is_answered(server: Server, papers: Papers, spoken: Spoken) -> None:
    with Client(url_of(server), tls=papers.context(papers.ours)) as robot:
        assert robot.is_ready()
        answer = robot.decide(spoken.data, defense="none")
    assert answer.response is not None, answer.detail
    assert answer.response.command == spoken.command


def test_a_robot_with_a_certificate_of_ours_is_heard_in_a_stream_and_another_is_not(
    server: Server, papers: Papers, spoken: Spoken
) -> None:
    frames = [bytes(16_000), spoken.pcm[0].tobytes(), END_UTTERANCE]
    with Client(url_of(server), tls=papers.context(papers.ours)) as robot:
        events = list(robot.stream(frames, rate=spoken.pcm[1], defense="none"))
    assert any(isinstance(event, Heard) for event in events)
    assert isinstance(events[-1], Ended)
    assert events[-1].totals is not None, events
    with Client(url_of(server), tls=papers.context(None)) as stranger:
        (ended,) = stranger.stream(frames, rate=spoken.pcm[1])
    assert isinstance(ended, Ended)


def test_send_and_listen_trust_an_authority_and_show_a_certificate_that_files_hold(
    server: Server, papers: Papers, spoken: Spoken, tmp_path: Path
) -> None:
    issued, authority = papers.ours.issue_cert("engineer@evenvoice.example"), tmp_path / "ca.pem"
    files = {name: tmp_path / f"{name}.pem" for name in ("cert", "key", "both")}
    papers.ours.cert_pem.write_to_path(authority)
    issued.cert_chain_pems[0].write_to_path(files["cert"])
    issued.private_key_pem.write_to_path(files["key"])
    issued.private_key_and_cert_chain_pem.write_to_path(files["both"])
    where = ("--url", url_of(server), "--ca-file", authority, "--json")
    two = ("--client-cert", files["cert"], "--client-key", files["key"])
    sent = run("send", spoken.path, *where, *two, "--timeout", 20)
    assert [json.loads(line)["kind"] for line in sent.stdout.splitlines()] == ["answered"], sent
    heard = run(
        "listen", "--file", spoken.path, "--fast", "--detector", "energy", *where, "--client-cert", files["both"]
    )
    assert [json.loads(line)["request_id"] is None for line in heard.stdout.splitlines()] == [False], heard
    stranger = run("send", spoken.path, *where, "--timeout", 20)
    assert [json.loads(line)["kind"] for line in stranger.stdout.splitlines()] == ["no_answer"], stranger
    assert stranger.returncode == 3


def run(*words: object) -> subprocess.CompletedProcess[str]:
    program = Path(sys.executable).with_name("evenvoice")
    return subprocess.run([program, *map(str, words)], capture_output=True, text=True, timeout=120)


def test_without_a_certificate_or_with_another_authoritys_nothing_is_answered_and_a_robot_holds(
    server: Server, papers: Papers, spoken: Spoken
) -> None:
    for signed_by in (None, papers.theirs):
        assert talk(server, papers.context(signed_by)) is None
        with Client(url_of(server), tls=papers.context(signed_by)) as stranger:
            assert not stranger.is_ready()
            answer = stranger.decide(spoken.data)
            assert (answer.command, answer.response) == (None, None)


def test_a_robot_that_does_not_know_the_servers_authority_holds(server: Server, papers: Papers, spoken: Spoken) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    papers.theirs.configure_trust(context)
    papers.ours.issue_cert("robot-3@evenvoice.example").configure_cert(context)
    with Client(url_of(server), tls=context) as robot:
        assert robot.decide(spoken.data).detail.startswith("no answer")


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_tls_1_2_and_1_3_are_spoken_with_forward_secrecy(
    server: Server, papers: Papers, version: ssl.TLSVersion
) -> None:
    context = papers.context(papers.ours)
    context.minimum_version = context.maximum_version = version
    heard = talk(server, context)
    assert heard is not None
    assert heard.version == version.name.replace("_", ".")
    assert heard.answer.startswith(b"HTTP/1.1 200 OK")
    assert heard.cipher.startswith(("ECDHE-", "TLS_"))
    assert any(kind in heard.cipher for kind in ("GCM", "CHACHA20"))


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion")
def test_tls_1_1_is_refused(server: Server, papers: Papers) -> None:
    context = papers.context(papers.ours)
    context.set_ciphers("ALL:@SECLEVEL=0")
    context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_1
    assert would_agree(context, lax_server(papers)) == "TLSv1.1"
    assert talk(server, context) is None


@pytest.mark.parametrize("ciphers", ["AES128-GCM-SHA256", "ECDHE-RSA-AES128-SHA"])
@pytest.mark.filterwarnings("ignore:ssl.TLSVersion")
def test_ciphers_without_forward_secrecy_or_authentication_are_refused(
    server: Server, papers: Papers, ciphers: str
) -> None:
    context = papers.context(papers.ours)
    context.set_ciphers(f"{ciphers}:@SECLEVEL=0")
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    assert would_agree(context, lax_server(papers)) == "TLSv1.2"
    assert talk(server, context) is None


def test_plain_http_is_not_answered(server: Server) -> None:
    with pytest.raises(httpx.TransportError):
        server.ask("GET", "/livez")


def test_strangers_leave_no_traceback_in_the_log(server: Server, papers: Papers) -> None:
    assert talk(server, papers.context(None)) is None
    assert "Traceback" not in server.said
    assert all(json.loads(line)["level"] in ("info", "warning") for line in server.said.splitlines())
