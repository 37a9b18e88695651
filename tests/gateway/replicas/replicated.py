"""Two gateways on one PostgreSQL, with whichever balancers this machine has before them."""

from __future__ import annotations

import signal
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from balancers import BALANCERS, Balancer, Papers, is_here
from postgres import DATABASE, Postgres
from test_served import Server, free_port

ENVIRONMENT = {
    "EVENVOICE_DEADLINE_MS": "20000",
    "EVENVOICE_VALID_FOR_MS": "30000",
    "EVENVOICE_BUNDLE_POLL_SECONDS": "0.2",
    "EVENVOICE_RELEASE_COMMANDS": "1",
    "EVENVOICE_RELEASE_SPEAKERS": "1",
    "EVENVOICE_LEDGER_SECONDS": "0.2",
    "EVENVOICE_LEDGER_GRACE_SECONDS": "0",
    "EVENVOICE_DRAIN_SECONDS": "4",
}
END_SECONDS = 60


@dataclass
class Site:
    """Started by `begin`; ended by `end`."""

    home: Path
    postgres: Postgres
    url: str
    """Of the database."""
    ports: list[int] = field(default_factory=lambda: [free_port(), free_port()])
    replicas: list[Server] = field(default_factory=list)
    balancers: dict[str, Balancer] = field(default_factory=dict)

    @property
    def served(self) -> Path:
        """The link to the bundle that both begin with."""
        return self.home / "served"

    def begin(self, bundle: Path, papers: Papers) -> None:
        self.served.symlink_to(bundle)
        for i in range(len(self.ports)):
            self.replicas.append(self.start(i, self.served))
        for server in self.replicas:
            server.ready()
        for name, balancer in BALANCERS.items():
            if is_here(name):
                self.balancers[name] = balancer(self.home / name, papers, self.ports)

    def start(self, replica: int, bundle: Path) -> Server:
        """A gateway's process, which may not be ready yet."""
        environment = {**ENVIRONMENT, "EVENVOICE_RECORDS": self.url}
        return Server(self.home / f"replica-{replica}", bundle, (), environment, self.ports[replica])

    def drain(self, replica: int) -> None:
        """What an operator does to take a gateway out: no new commands, SIGTERM, and wait."""
        for balancer in self.balancers.values():
            balancer.leave_out(replica)
        self.replicas[replica].process.send_signal(signal.SIGTERM)

    def replace(self, replica: int, bundle: Path) -> None:
        """A gateway that was drained by one that serves this bundle, on the same address."""
        assert self.replicas[replica].ended(END_SECONDS) == 0, self.replicas[replica].said
        self.replicas[replica] = self.start(replica, bundle).ready()
        for balancer in self.balancers.values():
            balancer.take_in(replica)

    def end(self) -> None:
        for balancer in self.balancers.values():
            balancer.stop()
        for server in self.replicas:
            server.kill()

    def rows(self, table: str = "decisions") -> list[dict[str, Any]]:
        """Every row, read without the gateway's code."""
        with self.postgres.connect(DATABASE) as connection:
            rows = connection.run(f"SELECT * FROM {table}")
            return [dict(zip((c["name"] for c in connection.columns or ()), row, strict=True)) for row in rows or ()]

    def run(self, *statements: str) -> None:
        """Statements in one transaction, as a migration's are."""
        with self.postgres.connect(DATABASE) as connection:
            connection.run("BEGIN")
            for statement in statements:
                connection.run(statement)
            connection.run("COMMIT")
