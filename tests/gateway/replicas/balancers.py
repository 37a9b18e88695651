"""nginx and HAProxy of this machine with the configurations of deploy/, their places and addresses replaced."""

from __future__ import annotations

import os
import shutil
import ssl
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Protocol

import httpx
import trustme
from test_served import free_port

DEPLOY = Path(__file__).parents[3] / "deploy"
START_SECONDS = 20
_PATH = f"{os.environ.get('PATH', '')}:/usr/sbin"
"""Debian's daemons lie where a user's PATH may not look."""


@dataclass(frozen=True)
class Papers:
    """The balancer's certificate, and whoever trusts it."""

    certificate: Path
    key: Path
    both: Path
    trust: ssl.SSLContext

    @classmethod
    def issued(cls, folder: Path, *names: str) -> Papers:
        folder.mkdir(parents=True, exist_ok=True)
        authority = trustme.CA()
        issued = authority.issue_cert(*names, key_type=trustme.KeyType.RSA)
        certificate = b"".join(blob.bytes() for blob in issued.cert_chain_pems)
        found = cls(*(folder / name for name in ("cert.pem", "key.pem", "both.pem")), ssl.create_default_context())
        found.certificate.write_bytes(certificate)
        found.key.write_bytes(issued.private_key_pem.bytes())
        found.both.write_bytes(certificate + issued.private_key_pem.bytes())
        authority.configure_trust(found.trust)
        return found


def replaced(text: str, changes: Mapping[str, str]) -> str:
    """A configuration with other places; each of them has to be in it."""
    for old, new in changes.items():
        assert old in text, old
        text = text.replace(old, new)
    return text


class Balancer(Protocol):
    """One that runs."""

    name: ClassVar[str]
    papers: Papers
    port: int

    def leave_out(self, replica: int) -> None:
        """What an operator does before a gateway ends."""

    def take_in(self, replica: int) -> None:
        """And once it is ready."""

    def stop(self) -> None: ...


def url_of(balancer: Balancer) -> str:
    return f"https://127.0.0.1:{balancer.port}"


def ask(balancer: Balancer, method: str, path: str, **options: object) -> httpx.Response:
    """On a connection of its own."""
    url = url_of(balancer) + path
    return httpx.request(method, url, verify=balancer.papers.trust, timeout=30, **options)  # type: ignore[arg-type]


@dataclass
class Nginx:
    """nginx with deploy/nginx before gateways on these ports."""

    name: ClassVar[str] = "nginx"

    folder: Path
    papers: Papers
    ports: Sequence[int]

    def __post_init__(self) -> None:
        program = found("nginx")
        self.port = free_port()
        self._down: set[int] = set()
        (self.folder / "evenvoice").mkdir(parents=True)
        changes = {
            "/etc/evenvoice/balancer.pem": str(self.papers.certificate),
            "/etc/evenvoice/balancer.key": str(self.papers.key),
            "/var/log/nginx/evenvoice.log": str(self.folder / "access.log"),
            "/var/log/nginx/evenvoice-error.log": str(self.folder / "error.log"),
            "listen 8443 ssl": f"listen {self.port} ssl",
        }
        served = replaced((DEPLOY / "nginx" / "evenvoice.conf").read_text(), changes)
        (self.folder / "evenvoice.conf").write_text(served)
        self._write_replicas()
        bodies = "".join(
            f"{kind}_temp_path {self.folder}/{kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        )
        user = "user root;" if os.getuid() == 0 else ""
        main = self.folder / "nginx.conf"
        main.write_text(
            f"{user} worker_processes 1; daemon off; pid {self.folder}/pid; error_log {self.folder}/error.log;"
            f"events {{}} http {{ {bodies} include evenvoice.conf; }}"
        )
        self._process = subprocess.Popen([program, "-p", self.folder, "-c", main, "-e", self.folder / "error.log"])
        wait_for(self, lambda: (self.folder / "error.log").read_text())

    @property
    def log(self) -> list[list[str]]:
        """What it did with each request: see `log_format`."""
        return [line.split() for line in (self.folder / "access.log").read_text().splitlines()]

    def leave_out(self, replica: int) -> None:
        self._down.add(replica)
        self._reload()

    def take_in(self, replica: int) -> None:
        self._down.discard(replica)
        self._reload()

    def _write_replicas(self) -> None:
        text = (DEPLOY / "nginx" / "replicas.conf").read_text()
        for i, port in enumerate(self.ports):
            line = f"server 127.0.0.1:{3001 + i} max_fails=1 fail_timeout=2s;"
            new = line.replace(str(3001 + i), str(port)).replace(";", " down;" if i in self._down else ";")
            text = replaced(text, {line: new})
        (self.folder / "evenvoice" / "replicas.conf").write_text(text)

    def _reload(self) -> None:
        """Returns once the workers that know the new file are there."""
        before = self._workers()
        self._write_replicas()
        subprocess.run(
            [found("nginx"), "-p", self.folder, "-c", self.folder / "nginx.conf", "-s", "reload"],
            check=True,
            capture_output=True,
        )
        ends = time.monotonic() + START_SECONDS
        while not self._workers() - before:
            assert time.monotonic() < ends
            time.sleep(0.05)
        time.sleep(0.2)  # the old ones have been told, too

    def _workers(self) -> set[str]:
        children = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children").read_text()
        return set(children.split())

    def stop(self) -> None:
        self._process.terminate()
        self._process.wait(20)


@dataclass
class Haproxy:
    """HAProxy with deploy/haproxy before gateways on these ports. It sees by itself who is ready."""

    name: ClassVar[str] = "haproxy"

    folder: Path
    papers: Papers
    ports: Sequence[int]

    def __post_init__(self) -> None:
        program = found("haproxy")
        self.port = free_port()
        self.folder.mkdir(parents=True)
        changes = {
            "bind :8443": f"bind :{self.port}",
            "/etc/evenvoice/balancer-with-key.pem": str(self.papers.both),
            **{f"127.0.0.1:{3001 + i}": f"127.0.0.1:{port}" for i, port in enumerate(self.ports)},
        }
        config, log = self.folder / "haproxy.cfg", self.folder / "log"
        config.write_text(replaced((DEPLOY / "haproxy" / "haproxy.cfg").read_text(), changes))
        with log.open("w") as out:
            self._process = subprocess.Popen([program, "-db", "-f", config], stdout=out, stderr=out)
        wait_for(self, log.read_text)

    def leave_out(self, replica: int) -> None:
        pass

    def take_in(self, replica: int) -> None:
        pass

    def stop(self) -> None:
        self._process.kill()  # SIGTERM would wait for open streams
        self._process.wait(20)


def found(program: str) -> str:
    path = shutil.which(program, path=_PATH)
    assert path is not None
    return path


def is_here(program: str) -> bool:
    return shutil.which(program, path=_PATH) is not None


def wait_for(balancer: Balancer, said: Callable[[], str]) -> None:
    """Until it passes a request on to a gateway."""
    ends = time.monotonic() + START_SECONDS
    while True:
        try:
            if ask(balancer, "GET", "/livez").status_code == 200:
                return
        except httpx.HTTPError:
            pass
        assert time.monotonic() < ends, said()
        time.sleep(0.1)


BALANCERS: dict[str, type[Nginx] | type[Haproxy]] = {"nginx": Nginx, "haproxy": Haproxy}
