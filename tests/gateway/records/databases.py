"""What the tests of the records store, and both databases, read and locked without the gateway's code."""

from __future__ import annotations

import sqlite3
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from postgres import Postgres

from gateway.records import AnsweredBefore, Claim, Entry, Records, Stored
from recognizer.decision import Certificate, Decision, Part, Reason, abstention

GROUPS = {"accent": "north", "gender": "undeclared"}
CERTIFICATE = Certificate(defense="smoothing", sigma=0.1, error_alpha=0.001, draws=100, p_value=0.25)
ACCEPTED = Decision(command="left", reason=Reason.OK, detail="", confidence=0.75, certificate=CERTIFICATE)
SILENCE = abstention(Reason.NO_SPEECH, "silence")
COMBINED = Decision(
    command=None,
    reason=Reason.SMOOTHING_TIE,
    detail="",
    confidence=0.75,
    certificate=CERTIFICATE,
    parts=(
        Part("neural_rejection", Decision(command="left", reason=Reason.OK, detail="", confidence=0.875)),
        Part("smoothing", Decision(None, Reason.SMOOTHING_TIE, "", 0.75, certificate=CERTIFICATE)),
    ),
)
RECEIVED = datetime(2026, 1, 2, 3, 4, 5, 678900, tzinfo=UTC)
MODEL = "sha256:" + "0" * 64
WAV = b"RIFF....WAVEfmt "


def entry_of(decision: Decision = ACCEPTED, request_id: str | None = None, **fields: Any) -> Entry:
    given: dict[str, Any] = {
        "received_at": RECEIVED,
        "defense": "smoothing",
        "seed": 2**62 - 1,
        "speaker": "a1",
        "groups": GROUPS,
        "model": MODEL,
    }
    return Entry(request_id=request_id or str(uuid.uuid4()), decision=decision, **{**given, **fields})


def late(decision: Decision) -> Decision:
    return decision.but_abstain(Reason.DEADLINE, "too late")


def claim_of(key: str, digest: str = "digest") -> Claim:
    return Claim(key, digest, lambda decision: f'{{"reason": "{decision.reason}"}}')


def soon() -> float:
    """An `until` that no test reaches."""
    return time.perf_counter() + 3600


def put(records: Records, entry: Entry, claim: Claim | None = None) -> Stored | AnsweredBefore:
    return records.add(entry, until=soon(), late=late, claim=claim).result(timeout=60)


def store(records: Records, decision: Decision = ACCEPTED, request_id: str | None = None, **fields: Any) -> str:
    """Store one decision, in time; its request id."""
    entry = entry_of(decision, request_id, **fields)
    assert put(records, entry) == Stored(decision)
    return entry.request_id


@dataclass(frozen=True)
class Database:
    """An empty database."""

    url: str
    file: Path | None = None
    """SQLite's"""
    server: Postgres | None = None

    @property
    def is_sqlite(self) -> bool:
        return self.file is not None

    def run(self, *statements: str) -> None:
        """Statements, each in a transaction of its own."""
        if self.file is not None:
            connection = sqlite3.connect(self.file, isolation_level=None)
            for statement in statements:
                connection.execute(statement)
            connection.close()
        else:
            assert self.server is not None
            with self.server.connect(self._name) as other:
                for statement in statements:
                    other.run(statement)

    def rows(self, table: str = "decisions") -> list[dict[str, Any]]:
        """Every row of a table."""
        if self.file is not None:
            connection = sqlite3.connect(self.file)
            connection.row_factory = sqlite3.Row
            found = [dict(row) for row in connection.execute(f"SELECT * FROM {table}")]
            connection.close()
            return found
        assert self.server is not None
        with self.server.connect(self._name) as other:
            rows = other.run(f"SELECT * FROM {table}")
            return [dict(zip((c["name"] for c in other.columns or ()), row, strict=True)) for row in rows or ()]

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Another connection holds the tables."""
        if self.file is not None:
            connection = sqlite3.connect(self.file, isolation_level=None)
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield
            finally:
                connection.execute("ROLLBACK")
                connection.close()
            return
        assert self.server is not None
        with self.server.connect(self._name) as other:
            other.run("BEGIN")
            other.run("LOCK TABLE decisions, answers, speakers IN ACCESS EXCLUSIVE MODE")
            try:
                yield
            finally:
                other.run("ROLLBACK")

    @property
    def _name(self) -> str:
        return self.url.rpartition("/")[2]
