"""Storing decisions, many in a transaction beside one in each: `python -m benchmarks.records`.

Callers add one decision, wait until it is durable, and add the next. SQLite lies in a temporary folder on this disk,
and so does a PostgreSQL that is started from the binaries of the system, where there are any; `--postgresql URL` names
another one, whose tables are filled. The variants take turns in each round.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.goals import finish
from gateway.records import Entry, Records, migrate
from gateway.records.writer import MOST_AT_ONCE
from gateway.settings import Sync
from recognizer.decision import Certificate, Decision, Reason

CALLERS = (1, 16)
AT_ONCE = {"group commit": MOST_AT_ONCE, "one a transaction": 1}
GROUPS = {"accent": "north", "age": "twenties", "gender": "female", "native": "yes"}
CERTIFICATE = Certificate(defense="smoothing", sigma=0.02, error_alpha=0.001, draws=100, p_value=1e-4)
DECISION = Decision("left", Reason.OK, "", 0.75, certificate=CERTIFICATE)


@dataclass(frozen=True)
class Timing:
    database: str
    sync: str
    callers: int
    commits: str
    adds_per_second: float
    p50_ms: float
    p99_ms: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--postgresql", metavar="URL")
    parser.add_argument("--seconds", type=float, default=2.0, help="of each variant in each round")
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    with databases(arguments.postgresql) as urls:
        timings = measure(urls, arguments.seconds, arguments.rounds)
    show(timings)
    finish("records", {"timings": [asdict(timing) for timing in timings]}, [])


@contextmanager
def databases(postgresql: str | None) -> Iterator[dict[str, str]]:
    """Name -> URL of those that can be had."""
    with tempfile.TemporaryDirectory() as folder:
        urls = {"sqlite": f"sqlite:///{folder}/records.sqlite3"}
        if postgresql is not None:
            yield {**urls, "postgresql": postgresql}
            return
        sys.path.insert(0, str(Path(__file__).parent.parent / "tests" / "gateway" / "records"))
        from postgres import NoPostgres, Postgres

        try:
            server = Postgres.begin()
        except NoPostgres as error:
            print(error)
            yield urls
            return
        try:
            yield {**urls, "postgresql": server.new_database()}
        finally:
            server.remove()


def measure(urls: dict[str, str], seconds: float, rounds: int) -> list[Timing]:
    waits: dict[tuple[str, str, int, str], list[float]] = {}
    spent: dict[tuple[str, str, int, str], float] = {}
    for url in urls.values():
        migrate(url)
    for _ in range(rounds):
        for database, url in urls.items():
            for sync in Sync:
                for callers in CALLERS:
                    for commits, at_once in AT_ONCE.items():
                        key = (database, sync.value, callers, commits)
                        found, took = adds(url, sync, callers, at_once, seconds)
                        waits.setdefault(key, []).extend(found)
                        spent[key] = spent.get(key, 0.0) + took
    return [
        Timing(*key, len(found) / spent[key], *(float(q) for q in np.percentile(np.array(found) * 1000, [50, 99])))
        for key, found in waits.items()
    ]


def adds(url: str, sync: Sync, callers: int, at_once: int, seconds: float) -> tuple[list[float], float]:
    """Seconds that each addition took, and all of them together."""
    records = Records(url, sync=sync, at_once=at_once, busy_seconds=60)
    add_one(records)  # connected
    waits: list[float] = []
    begun = time.perf_counter()
    end = begun + seconds

    def call() -> None:
        while (since := time.perf_counter()) < end:
            add_one(records)
            waits.append(time.perf_counter() - since)

    threads = [threading.Thread(target=call) for _ in range(callers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    took = time.perf_counter() - begun
    records.close()
    return waits, took


def add_one(records: Records) -> None:
    entry = Entry(str(uuid.uuid4()), datetime.now(UTC), DECISION, "smoothing", 7, "s-17", GROUPS, "sha256:" + "0" * 64)
    records.add(entry, until=time.perf_counter() + 60, late=lambda d: d.but_abstain(Reason.DEADLINE, "late")).result()


def show(timings: list[Timing]) -> None:
    table = Table("database", "sync", "callers", "commits", "adds/s", "p50, ms", "p99, ms", title="Storing a decision")
    for t in sorted(timings, key=lambda t: (t.database != "sqlite", t.sync != "normal", t.callers)):
        numbers = (f"{t.adds_per_second:.0f}", f"{t.p50_ms:.2f}", f"{t.p99_ms:.2f}")
        table.add_row(t.database, t.sync, str(t.callers), t.commits, *numbers)
    Console(width=110).print(table)


if __name__ == "__main__":
    main()
