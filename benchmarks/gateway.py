"""A served gateway beside a bare server: `python -m benchmarks.gateway BUNDLE [MANIFEST]`.

Both serve the bundle on this machine and take turns in each round: `evenvoice serve` as installed, and
`benchmarks.bare_server`, FastAPI on uvicorn that decodes and calls the same recogniser in its thread pool, and knows
nothing of records, registers, metrics or limits. The clips are the manifest's test clips, or tones. Every answer is
compared with the recogniser's own decision in exact mode, and every request id is looked for in the records. Then: what
each database and sync costs, and how long a start takes.
"""

from __future__ import annotations

import argparse
import json
import sqlite3
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.bare_server import COHEN
from benchmarks.clips import sounds, spoken
from benchmarks.goals import Goal, finish
from benchmarks.load import Answer, Order, ask_from_outside
from benchmarks.servers import Server, bare, evenvoice
from recognizer.audio import decode
from recognizer.bundle import load_bundle
from recognizer.defense import DefenseName
from recognizer.recognizer import Recognizer

NONE, SMOOTHING = DefenseName.NONE.value, DefenseName.SMOOTHING.value
MANY = 16
OURS = "evenvoice"
console = Console(width=120)


@dataclass
class Measured:
    """One server under one load, over all rounds."""

    server: str
    defense: str
    clients: int
    latencies: list[float] = field(default_factory=list)
    """Seconds, of the answers with status 200."""
    seconds: float = 0.0
    cpu_seconds: float = 0.0
    clients_share: list[float] = field(default_factory=list)
    """Of one core, what the clients took in each round."""
    lost: int = 0
    wrong: int = 0
    ids: list[str] = field(default_factory=list)
    stages: dict[str, list[float]] = field(default_factory=dict)
    """Milliseconds, as the answers tell; `outside` is what the client waited beyond them."""

    @property
    def per_second(self) -> float:
        return len(self.latencies) / self.seconds if self.seconds else 0.0

    def ms(self, percentile: float) -> float:
        return 1000 * float(np.percentile(self.latencies, percentile)) if self.latencies else float("inf")

    @property
    def equal_share(self) -> float:
        """Of the answers, those that are the recogniser's own decisions."""
        return 1 - self.wrong / max(1, len(self.latencies))

    def add(self, answer: Answer, expected: Sequence[tuple[str, str | None]]) -> None:
        if answer.status != 200:
            self.lost += 1
            return
        body = json.loads(answer.body)
        self.latencies.append(answer.seconds)
        self.wrong += (body["decision"], body["command"]) != expected[answer.clip]
        if "request_id" in body:
            self.ids.append(body["request_id"])
            told = body["timings_ms"]
            for stage, milliseconds in (told | {"outside": 1000 * answer.seconds - told["total"]}).items():
                self.stages.setdefault(stage, []).append(milliseconds)

    def summary(self) -> dict[str, Any]:
        return {
            "server": self.server,
            "defense": self.defense,
            "clients": self.clients,
            "answers": len(self.latencies),
            "per_second": round(self.per_second, 1),
            "p50_ms": round(self.ms(50), 3),
            "p99_ms": round(self.ms(99), 3),
            "server_cpu_ms": round(1000 * self.cpu_seconds / max(1, len(self.latencies)), 3),
            "clients_cpu_share": round(float(np.mean(self.clients_share)), 3),
            "lost": self.lost,
            "equal_share": round(self.equal_share, 4),
            "stages_ms": {s: [round(float(np.percentile(v, p)), 3) for p in (50, 99)] for s, v in self.stages.items()},
        }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("manifest", type=Path, nargs="?")
    parser.add_argument("--clips", type=int, default=60)
    parser.add_argument("--seconds", type=float, default=6.0, help="of each load in each round")
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--starts", type=int, default=5)
    parser.add_argument(
        "--bare-threads",
        type=int,
        nargs="+",
        default=[1],
        help="torch's in the bare server; of several the best counts",
    )
    parser.add_argument("--quick", action="store_true", help="a second of each, to see that this runs")
    arguments = parser.parse_args()
    seconds, rounds, starts = (
        (1.0, 1, 1) if arguments.quick else (arguments.seconds, arguments.rounds, arguments.starts)
    )
    recognizer = load_bundle(arguments.bundle)
    clips = sounds(recognizer, arguments.clips)
    if arguments.manifest is not None:
        clips = spoken(arguments.manifest, recognizer, arguments.clips)

    measured = beside(arguments.bundle, recognizer, clips, arguments.bare_threads, seconds, rounds)
    show("beside a bare server", measured)
    show_stages([m for m in measured if m.server == OURS])
    stores = by_records(arguments.bundle, recognizer, clips, seconds, rounds)
    show("by where decisions are stored", stores)
    ready = start_up(arguments.bundle, starts)
    print("ready after, s:", ", ".join(f"{s:.2f}" for s in ready))
    finish(
        "gateway-quick" if arguments.quick else "gateway",
        {
            "bundle": {"name": recognizer.name, "defenses": list(recognizer.defenses)},
            "clips": len(clips),
            "beside": [m.summary() for m in measured],
            "records": [m.summary() for m in stores],
            "ready_seconds": [round(s, 2) for s in ready],
        },
        goals(measured, stores, ready),
    )


def beside(
    bundle: Path, recognizer: Recognizer, clips: Sequence[bytes], threads: Sequence[int], seconds: float, rounds: int
) -> list[Measured]:
    """Ours and the bare ones, each load in turn."""
    with ExitStack() as running, tempfile.TemporaryDirectory() as folder:
        servers = {OURS: running.enter_context(evenvoice(bundle, Path(folder, "ours")))}
        for count in threads:
            opened = bare(bundle, Path(folder, f"bare-{count}"), threads=count)
            servers[f"bare, {count} thread{'s' * (count > 1)}"] = running.enter_context(opened)
        loads = [(name, NONE, clients) for clients in (1, MANY) for name in servers]
        if SMOOTHING in recognizer.defenses:
            loads += [(name, SMOOTHING, clients) for clients in (1, MANY) for name in servers]
            loads += [(name, COHEN, MANY) for name in servers if name != OURS]
        measured = measure(servers, loads, recognizer, clips, seconds, rounds)
        check_records(servers[OURS].state, measured)
    return measured


def by_records(
    bundle: Path, recognizer: Recognizer, clips: Sequence[bytes], seconds: float, rounds: int
) -> list[Measured]:
    """Ours, with each database and sync that can be had."""
    with ExitStack() as running, tempfile.TemporaryDirectory() as folder, postgresql() as url:
        kinds = {f"sqlite, {sync}": {"EVENVOICE_RECORDS_SYNC": sync} for sync in ("normal", "full")}
        if url is not None:
            kinds["postgresql, full"] = {"EVENVOICE_RECORDS_SYNC": "full", "EVENVOICE_RECORDS": url}
        servers = {
            name: running.enter_context(evenvoice(bundle, Path(folder, name), environment=environment))
            for name, environment in kinds.items()
        }
        loads = [(name, NONE, clients) for clients in (1, MANY) for name in servers]
        return measure(servers, loads, recognizer, clips, seconds, rounds)


@contextmanager
def postgresql() -> Iterator[str | None]:
    """An empty database of a server of its own; None where there is no PostgreSQL to start."""
    sys.path.insert(0, str(Path(__file__).parent.parent / "tests" / "gateway" / "records"))
    from postgres import NoPostgres, Postgres

    try:
        server = Postgres.begin()
    except NoPostgres as error:
        print(error)
        yield None
        return
    try:
        yield server.new_database()
    finally:
        server.remove()


def measure(
    servers: Mapping[str, Server],
    loads: Sequence[tuple[str, str, int]],
    recognizer: Recognizer,
    clips: Sequence[bytes],
    seconds: float,
    rounds: int,
) -> list[Measured]:
    """Each load (server, defense, clients) in each round, after a moment of it that does not count."""
    expected = {defense: decisions(recognizer, clips, defense) for defense in {defense for _, defense, _ in loads}}
    found = {load: Measured(*load) for load in loads}
    for _ in range(rounds):
        for name, defense, clients in loads:
            server, measured = servers[name], found[name, defense, clients]
            warm = ask_from_outside(Order(server.port, clips, defense, clients, seconds / 10))
            measured.ids += [json.loads(a.body).get("request_id", "") for a in warm.answers if a.status == 200]
            before = server.cpu_seconds()
            answers = ask_from_outside(Order(server.port, clips, defense, clients, seconds))
            measured.cpu_seconds += server.cpu_seconds() - before
            measured.seconds += answers.seconds
            measured.clients_share.append(answers.cpu_share)
            for answer in answers.answers:
                measured.add(answer, expected[defense])
    return list(found.values())


def decisions(recognizer: Recognizer, clips: Sequence[bytes], defense: str) -> list[tuple[str, str | None]]:
    """What the recogniser itself says of the clips, in exact mode: decision and command. Cohen's loop is the test that
    smoothing stands for."""
    name = SMOOTHING if defense == COHEN else defense
    heard = [decode(clip, recognizer.audio) for clip in clips]
    ids = [f"clip {i}" for i in range(len(clips))]
    decided = recognizer.decide(heard, clip_ids=ids, seed=0, defense=name)
    return [("accept" if d.is_accepted else "abstain", d.command) for d in decided]


def check_records(state: Path, measured: Sequence[Measured]) -> None:
    """Count, as lost, what was answered and is not in the records exactly once."""
    stored = stored_ids(state)
    for one in measured:
        if one.server == OURS:
            one.lost += len(one.ids) - len(stored & set(one.ids))


def stored_ids(state: Path) -> set[str]:
    """The request ids in a gateway's records, each of which is there once: it is the table's key."""
    connection = sqlite3.connect(state / "records.sqlite3")
    try:
        return {row[0] for row in connection.execute("SELECT request_id FROM decisions")}
    finally:
        connection.close()


def start_up(bundle: Path, starts: int) -> list[float]:
    """Seconds from the command to ready, each with a folder of its own that is new."""
    ready = []
    for _ in range(starts):
        with tempfile.TemporaryDirectory() as folder, evenvoice(bundle, Path(folder, "state")) as server:
            ready.append(server.ready_seconds)
    return ready


def show(title: str, measured: Sequence[Measured]) -> None:
    table = Table(
        "server", "defense", "clients", "a second", "p50, ms", "p99, ms", "CPU, ms", "clients' CPU", "lost", "equal",
        title=title,
    )  # fmt: skip
    for m in measured:
        found = m.summary()
        numbers = (f"{found[key]:.2f}" for key in ("per_second", "p50_ms", "p99_ms", "server_cpu_ms"))
        share, equal = f"{found['clients_cpu_share']:.0%}", f"{found['equal_share']:.2%}"
        table.add_row(m.server, m.defense, str(m.clients), *numbers, share, str(m.lost), equal)
    console.print(table)


def show_stages(measured: Sequence[Measured]) -> None:
    stages = [stage for stage in measured[0].stages if stage != "total"]
    table = Table("defense", "clients", *stages, title="where the time goes, ms: p50 (p99)")
    for m in measured:
        cells = [f"{np.percentile(m.stages[s], 50):.2f} ({np.percentile(m.stages[s], 99):.2f})" for s in stages]
        table.add_row(m.defense, str(m.clients), *cells)
    console.print(table)


def goals(measured: Sequence[Measured], stores: Sequence[Measured], ready: Sequence[float]) -> list[Goal]:
    def ours(defense: str, clients: int) -> Measured:
        return next(m for m in measured if (m.server, m.defense, m.clients) == (OURS, defense, clients))

    def theirs(defense: str, clients: int) -> list[Measured]:
        return [m for m in measured if m.server != OURS and (m.defense, m.clients) == (defense, clients)]

    def times(defense: str, peer: str) -> float:
        return ours(defense, MANY).per_second / max(m.per_second for m in theirs(peer, MANY))

    own = [m for m in (*measured, *stores) if m.server == OURS or m in stores]
    found = [
        Goal("p50 beyond the bare server's, one client, ms", ours(NONE, 1).ms(50) - _best(theirs(NONE, 1)), 1.5, False),
        Goal("p99, one client, ms", ours(NONE, 1).ms(99), 10, at_least=False),
        Goal(f"times the bare server's throughput, {MANY} clients, no RS", times(NONE, NONE), 0.7),
        Goal("answers lost, or not in the records exactly once", sum(m.lost for m in own), 0, at_least=False),
        Goal("answers wrong, no RS", sum(m.wrong for m in own if m.defense == NONE), 0, at_least=False),
        Goal("ready after, s, median", median(ready), 6, at_least=False),
    ]
    if any(m.defense == COHEN for m in measured):
        fast = [m for m in own if m.defense == SMOOTHING]
        found += [
            Goal(f"times Cohen's loop's throughput, {MANY} clients, RS", times(SMOOTHING, COHEN), 3),
            Goal(f"times the sequential test's in a thread pool, {MANY} clients, RS", times(SMOOTHING, SMOOTHING), 1),
            Goal("answers as the recogniser's in exact mode, RS", min(m.equal_share for m in fast), 0.99),
        ]
    return found


def _best(measured: Sequence[Measured]) -> float:
    return min(m.ms(50) for m in measured)


if __name__ == "__main__":
    main()
