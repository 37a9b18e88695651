"""What large audits and much traffic take, computed from what was measured: `python -m benchmarks.scaling`.

Prints the tables of docs/scaling.md; `--write` puts them there. The rates come from `benchmarks/results/`, so a machine
measured anew changes the plan. Prices are the reader's: `--core-hour`, `--gpu-hour`.
"""

from __future__ import annotations

import argparse
import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.floors import work_of
from benchmarks.goals import RESULTS
from monitoring.betting import BETS, SIDES
from monitoring.tally import DRAWS_BUCKETS, LABEL_RESULTS, OUTCOMES, SCORE_BUCKETS
from recognizer.network import architecture

PAGE = Path(__file__).parent.parent / "docs" / "scaling.md"
BEGIN, END = "<!-- tables: python -m benchmarks.scaling --write -->", "<!-- end of tables -->"

CLIPS, DRAWS = 10**6, 10**4
COMMANDS = 10_000
"""A second."""
STREAMS = 1000
SAMPLES, LABELS = 16_000, 10
CLIP_BYTES = 32_044
"""One second of 16-bit samples at 16 kHz, as WAV."""
BUSY = 0.6
"""Of the time, what a gateway's cores may be busy, so that those that wait stay few."""
DATABASE_CORES = 2
"""Of the machine on which a database was measured, with those that wrote to it."""
TIMED_DRAWS = 1000
"""Of the timings in smoothing.json."""
HOUR, DAY = 3600.0, 86_400.0
NETWORKS = ("m5-small", "m5")
TITLES = {"m5-small": "M5-small", "m5": "M5"}


@dataclass(frozen=True)
class Prices:
    """What the reader pays."""

    core_hour: float
    gpu_hour: float


@dataclass(frozen=True)
class Rates:
    """What was measured."""

    multiply_adds: dict[str, int]
    """Network -> of one draw."""
    core_ms_a_draw: dict[str, float]
    """Network -> in exact mode, milliseconds times cores."""
    mean_draws: float
    """Of the sequential test in exact mode, M5-small on real digits."""
    core_ms_a_clip: float
    """Of a sequential decision, as it was timed: of one clip at a time."""
    command_ms: dict[str, float]
    """Defense -> milliseconds of a core that one command takes of the gateway's processes, 16 clients."""
    commands_a_second: dict[str, float]
    """Defense -> that one gateway answered meanwhile, on its 2 cores."""
    stream_ms: float
    """Milliseconds of a core for a second of audio of an open stream."""
    writes: float
    """A second, of one gateway's writer on PostgreSQL."""
    several_writes: float
    """A second, of the number of gateways that got most out of one PostgreSQL."""
    counted: float
    """Decisions a second that a ledger takes in."""
    row_bytes: float

    @classmethod
    def read(cls, results: Path = RESULTS) -> Rates:
        smoothing, gateway, streaming, records, replicas = (
            json.loads((results / f"{name}.json").read_text())
            for name in ("smoothing", "gateway", "streaming", "records", "replicas")
        )
        loads = [load for load in gateway["beside"] if load["server"] == "evenvoice" and load["clients"] == 16]
        threads = smoothing["threads"]
        exact = smoothing["sequential"]["sequential, exact"]
        return cls(
            multiply_adds={name: multiply_adds(name) for name in NETWORKS},
            core_ms_a_draw={
                name: threads * float(np.median(smoothing["fixed_n_ms"][name]["ours, exact"])) / TIMED_DRAWS
                for name in NETWORKS
            },
            mean_draws=exact["draws_mean"],
            core_ms_a_clip=threads * exact["ms_mean"],
            command_ms={load["defense"]: load["server_cpu_ms"] for load in loads},
            commands_a_second={load["defense"]: load["per_second"] for load in loads},
            stream_ms=streaming["cpu_ms_a_second"]["SileroDetector, 16000 Hz"],
            writes=_one(records["timings"], database="postgresql", sync="normal", callers=16, commits="group commit")[
                "adds_per_second"
            ],
            several_writes=max(writing["adds_per_second"] for writing in replicas["writers"]),
            counted=replicas["ledger_decisions_per_second"],
            row_bytes=replicas["bytes_per_decision"],
        )


def multiply_adds(network: Any) -> int:
    """Of one draw, one second of audio."""
    work = work_of(architecture(network, LABELS), SAMPLES)
    return work.first_layer + work.other_layers


@dataclass(frozen=True)
class AuditPlan:
    """What smoothing clips takes."""

    draws: float
    """A clip."""
    multiply_adds: float
    core_hours: float

    @classmethod
    def of(cls, clips: int, draws: float, *, multiply_adds: float, core_ms_a_draw: float) -> AuditPlan:
        return cls(draws, clips * draws * multiply_adds, clips * draws * core_ms_a_draw / 1000 / HOUR)


@dataclass(frozen=True)
class TrafficPlan:
    """What so many commands a second take."""

    cores: int
    databases_by_writes: int
    databases_by_counts: int

    @classmethod
    def of(
        cls, commands: float, *, command_ms: float, writes: float, counted: float, busy: float = BUSY
    ) -> TrafficPlan:
        return cls(
            math.ceil(commands * command_ms / 1000 / busy), math.ceil(commands / writes), math.ceil(commands / counted)
        )


def series_of(groups: list[int], defenses: int) -> int:
    """Series of groups of one bundle on one ledger; each gateway shows all of them.

    Args:
        groups: of each attribute, `other` and `undeclared` among them.
        defenses: none of them combined.
    """
    histogram = 1 + 2  # the bucket above all others, sum and count
    cells = sum(groups) * defenses
    bet_on = (sum(groups) - len(groups)) * defenses  # nothing is bet on `undeclared`
    counts = cells * (len(OUTCOMES) + len(LABEL_RESULTS) + len(SCORE_BUCKETS) + histogram)
    draws = sum(groups) * (len(DRAWS_BUCKETS) + histogram)
    return counts + draws + bet_on * (len(SIDES) * len(BETS) + 2) + 2  # the level of an alarm, the last pass


def audit_table(rates: Rates, prices: Prices) -> str:
    rows = ["| network | test | draws a clip | multiply-adds | core-hours | hours on 64 cores | price |"]
    rows.append("|---|---|--:|--:|--:|--:|--:|")
    for network in NETWORKS:
        for test, draws in (("N fixed", float(DRAWS)), ("sequential", rates.mean_draws)):
            plan = AuditPlan.of(
                CLIPS,
                draws,
                multiply_adds=rates.multiply_adds[network],
                core_ms_a_draw=rates.core_ms_a_draw[network],
            )
            rows.append(
                f"| {TITLES[network]} | {test} | {draws:,g} | {plan.multiply_adds:.2e} | "
                f"{_rounded(plan.core_hours)} | {_rounded(plan.core_hours / 64)} | "
                f"{_rounded(plan.core_hours * prices.core_hour)} |"
            )
    timed = CLIPS * rates.core_ms_a_clip / 1000 / HOUR
    rows.append(
        f"| M5-small | sequential, as timed clip by clip | {rates.mean_draws:.4g} | | {_rounded(timed)} | "
        f"{_rounded(timed / 64)} | {_rounded(timed * prices.core_hour)} |"
    )
    return "\n".join(rows)


def traffic_table(rates: Rates, prices: Prices) -> str:
    rows = [
        f"| {COMMANDS:,} commands a second | measured on 2 cores, a second | core-ms a command | "
        f"cores, {BUSY:.0%} busy | price a month |",
        "|---|--:|--:|--:|--:|",
    ]
    for defense, milliseconds in rates.command_ms.items():
        plan = TrafficPlan.of(COMMANDS, command_ms=milliseconds, writes=rates.several_writes, counted=rates.counted)
        month = plan.cores * 730 * prices.core_hour
        answered = rates.commands_a_second[defense]
        rows.append(f"| defense `{defense}` | {answered:.0f} | {milliseconds:.1f} | {plan.cores} | {_rounded(month)} |")
    streams = math.ceil(STREAMS * rates.stream_ms / 1000 / BUSY)
    rows.append(
        f"| beside them {STREAMS:,} open streams | | {rates.stream_ms:.1f} a second of audio | {streams} | "
        f"{_rounded(streams * 730 * prices.core_hour)} |"
    )
    databases = max(plan.databases_by_writes, plan.databases_by_counts)
    cores = databases * DATABASE_CORES
    rows.append(
        f"| {databases} databases of {DATABASE_CORES} cores, see below | | | {cores} | "
        f"{_rounded(cores * 730 * prices.core_hour)} |"
    )
    return "\n".join(rows)


def database_table(rates: Rates) -> str:
    plan = TrafficPlan.of(COMMANDS, command_ms=0, writes=rates.several_writes, counted=rates.counted)
    day = COMMANDS * DAY
    lines = [
        "| of the databases | measured | for these commands |",
        "|---|--:|--:|",
        f"| decisions stored a second, one gateway | {rates.writes:,.0f} | |",
        f"| decisions stored a second, several gateways on one database | {rates.several_writes:,.0f} | "
        f"{plan.databases_by_writes} databases |",
        f"| decisions counted a second, one ledger | {rates.counted:,.0f} | {plan.databases_by_counts} databases |",
        f"| bytes a decision, with indexes | {rates.row_bytes:,.0f} | {day * rates.row_bytes / 1e9:,.0f} GB a day |",
        f"| bytes of clips, 1 s at 16 kHz as WAV | {CLIP_BYTES:,} | {COMMANDS * CLIP_BYTES * 8 / 1e9:.1f} Gbit/s |",
    ]
    return "\n".join(lines)


def gpu_formula(rates: Rates, prices: Prices) -> str:
    """What a GPU would have to do to be worth its price, since none was measured."""
    lines = ["| network | draws a second of one core | of a GPU that is worth its price |", "|---|--:|--:|"]
    for network in NETWORKS:
        of_a_core = 1000 / rates.core_ms_a_draw[network]
        worth = of_a_core * prices.gpu_hour / prices.core_hour
        lines.append(f"| {TITLES[network]} | {_rounded(of_a_core)} | {_rounded(worth)} |")
    return "\n".join(lines)


def tables(rates: Rates, prices: Prices) -> str:
    assumed = f"Prices assumed: {prices.core_hour:g} a core-hour, {prices.gpu_hour:g} a GPU-hour."
    parts = [assumed, audit_table(rates, prices), traffic_table(rates, prices), database_table(rates)]
    return "\n\n".join([*parts, gpu_formula(rates, prices)])


def with_tables(page: str, content: str) -> str:
    """The page with these tables in the place of what it had."""
    before, _, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not end:
        raise ValueError(f"the page lacks {BEGIN} or, after it, {END}")
    return f"{before}{BEGIN}\n\n{content}\n\n{END}{after}"


def _rounded(value: float) -> str:
    """Two or three figures: more would pretend to know them."""
    digits = 1 - math.floor(math.log10(abs(value))) if value else 0
    rounded = round(value, digits)
    return f"{rounded:,.{max(0, digits)}f}"


def _one(rows: list[dict[str, Any]], **wanted: object) -> dict[str, Any]:
    (found,) = [row for row in rows if wanted.items() <= row.items()]
    return found


DEFAULT_PRICES = Prices(core_hour=0.05, gpu_hour=2.0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--core-hour", type=float, default=DEFAULT_PRICES.core_hour)
    parser.add_argument("--gpu-hour", type=float, default=DEFAULT_PRICES.gpu_hour)
    parser.add_argument("--write", action="store_true", help="put the tables into docs/scaling.md")
    arguments = parser.parse_args()
    content = tables(Rates.read(), Prices(arguments.core_hour, arguments.gpu_hour))
    print(content)
    if arguments.write:
        PAGE.write_text(with_tables(PAGE.read_text(encoding="utf-8"), content), encoding="utf-8")


if __name__ == "__main__":
    main()
