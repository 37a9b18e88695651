"""What several gateways ask of one PostgreSQL: `python -m benchmarks.replicas`.

Each process is one gateway's writer with sixteen callers: decisions stored a second, by 1, 2 and 4 of them at once.
Then how many stored decisions a second one ledger takes in, alone, and what a decision takes on the disk, its indexes
included. A PostgreSQL of its own is started from the system's binaries; it computes on the same cores.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from itertools import cycle

import sqlalchemy as sa
from rich.console import Console
from rich.table import Table

from benchmarks.goals import finish
from benchmarks.records import DECISION, adds, databases
from gateway.records import Entry, Records, migrate
from gateway.records.writer import MOST_AT_ONCE
from gateway.settings import Sync
from monitoring.live import LiveSettings
from recognizer.decision import Reason

WRITERS = (1, 2, 4)
CALLERS = 16
ATTRIBUTES = {"accent": ("north", "south"), "age": ("twenties", "forties"), "gender": ("female", "male")}
SPEAKERS = 200
_LOADING_SECONDS = 8.0  # until the last of the writers has loaded what it needs
_TABLE = "SELECT pg_total_relation_size('decisions')"


@dataclass(frozen=True)
class Writing:
    writers: int
    adds_per_second: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=5.0, help="of each number of writers")
    parser.add_argument("--backlog", type=int, default=5000, help="decisions that the ledger takes in")
    parser.add_argument("--postgresql", metavar="URL", help="an empty database, in the place of one of its own")
    parser.add_argument("--writer", type=float, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.writer is not None:
        url, begins = sys.stdin.readline().split()
        time.sleep(max(0.0, float(begins) - time.time()))
        waits, took = adds(url, Sync.NORMAL, CALLERS, MOST_AT_ONCE, arguments.writer)
        print(json.dumps([len(waits), time.time() - took, time.time()]))
        return
    with databases(arguments.postgresql) as urls:
        if "postgresql" not in urls:
            raise SystemExit("no PostgreSQL here; apt install postgresql, or name one with --postgresql URL")
        url = urls["postgresql"]
        migrate(url)
        writings = [Writing(n, written_a_second(url, n, arguments.seconds)) for n in WRITERS]
        bytes_a_decision = size_of_a_decision(url)
        counted = counted_a_second(url, arguments.backlog)
    table = Table("gateways", "stored a second", title=f"One PostgreSQL, {CALLERS} callers a gateway")
    for writing in writings:
        table.add_row(str(writing.writers), f"{writing.adds_per_second:.0f}")
    Console(width=100).print(table)
    print(f"the ledger takes in {counted:.0f} decisions a second; a decision takes {bytes_a_decision:.0f} bytes")
    results = {
        "writers": [asdict(writing) for writing in writings],
        "ledger_decisions_per_second": counted,
        "bytes_per_decision": bytes_a_decision,
    }
    finish("replicas", results, [])


def written_a_second(url: str, writers: int, seconds: float) -> float:
    """By all of them together, from when the first of them began to when the last came to its end."""
    command = [sys.executable, "-m", "benchmarks.replicas", "--writer", str(seconds)]
    running = [subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) for _ in range(writers)]
    begins = time.time() + _LOADING_SECONDS
    for process in running:
        assert process.stdin is not None
        process.stdin.write(f"{url} {begins}\n".encode())
        process.stdin.flush()
    told = [process.communicate()[0] for process in running]
    stored, begun, ended = zip(*(json.loads(said) for said in told), strict=True)
    return float(sum(stored) / (max(ended) - min(begun)))


def size_of_a_decision(url: str) -> float:
    """Bytes, of what the writers stored."""
    engine = sa.create_engine(url)
    with engine.connect() as connection:
        size = connection.execute(sa.text(_TABLE)).scalar_one()
        rows = connection.execute(sa.text("SELECT count(*) FROM decisions")).scalar_one()
        connection.execute(sa.text("UPDATE decisions SET is_pending = FALSE"))  # the ledger begins with its own
        connection.commit()
    engine.dispose()
    return float(size / rows)


def counted_a_second(url: str, backlog: int) -> float:
    """Decisions that one ledger takes in while nothing else is stored: of many speakers, three attributes."""
    records = Records(url, busy_seconds=60)
    pairs = cycle([(i, f"s-{i}") for i in range(SPEAKERS)])
    begun = time.time()
    received = datetime.fromtimestamp(begun, UTC)
    futures = []
    for number in range(backlog):
        i, speaker = next(pairs)
        groups = {attribute: values[i % 2] for attribute, values in ATTRIBUTES.items()}
        entry = Entry(f"{number:036}", received, DECISION, "smoothing", 7, speaker, groups, "sha256:" + "1" * 64)
        until = time.perf_counter() + 600
        futures.append(records.add(entry, until=until, late=lambda d: d.but_abstain(Reason.DEADLINE, "late")))
    for future in futures:
        future.result()
    ledger = records.ledger(LiveSettings(), grace=0.0, now=lambda: begun + 60)
    since = time.perf_counter()
    ledger.run()
    took = time.perf_counter() - since
    counted = sum(sum(tally.outcomes.values()) for tally in ledger.snapshot().tallies.values())
    records.close()
    assert counted > 0
    return backlog / took


if __name__ == "__main__":
    main()
