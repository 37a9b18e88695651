"""A gateway under mixed load for a while: `python -m benchmarks.soak BUNDLE [MANIFEST] [--minutes 10]`.

Robots with every defense, idempotent retries, labels, bad audio, unknown speakers, streams, clients that write slowly
and clients that vanish speak to one served gateway. Every second its memory, file handles and threads are written down;
every answer is compared with the recogniser's own decision, and in the end every request id is looked for in the
records. Leaves a CSV and a chart.
"""

from __future__ import annotations

import argparse
import asyncio
import csv
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import theilslopes

from benchmarks.clips import sounds, spoken
from benchmarks.gateway import decisions, stored_ids
from benchmarks.goals import Goal, finish
from benchmarks.robots import Crowd, Told
from benchmarks.servers import Server, evenvoice
from recognizer.bundle import load_bundle

SAMPLE_SECONDS = 1.0
PRIVATE = "uss"  # memory that ends with the process: what is shared with others would be counted twice
COLUMNS = ("second", "resident_mib", "private_mib", "file_handles", "threads", "cpu_seconds")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("manifest", type=Path, nargs="?")
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--out", type=Path, default=Path("runs/soak"), help="folder for the CSV and the chart")
    parser.add_argument("--quick", action="store_true", help="15 seconds, to see that this runs")
    arguments = parser.parse_args()
    seconds = 15.0 if arguments.quick else 60 * arguments.minutes
    recognizer = load_bundle(arguments.bundle)
    clips = sounds(recognizer, 24)
    if arguments.manifest is not None:
        clips = spoken(arguments.manifest, recognizer, 24)
    expected = {defense: decisions(recognizer, clips, defense) for defense in recognizer.defenses}
    with tempfile.TemporaryDirectory() as folder, evenvoice(arguments.bundle, Path(folder, "state")) as server:
        crowd = Crowd(server.port, clips, expected, label=recognizer.commands[0])
        samples = asyncio.run(soak(server, crowd, seconds))
        lost = sorted(set(crowd.answered) - stored_ids(server.state))
    arguments.out.mkdir(parents=True, exist_ok=True)
    write(arguments.out / "soak.csv", samples)
    draw(arguments.out / "soak.png", samples, crowd.told, seconds)
    report(samples, crowd, lost, seconds, name="soak-quick" if arguments.quick else "soak")


async def soak(server: Server, crowd: Crowd, seconds: float) -> list[dict[str, float]]:
    """Let the crowd speak; what the server weighed, second by second."""
    samples: list[dict[str, float]] = []
    begun = time.monotonic()
    speaking = asyncio.create_task(crowd.speak(seconds))
    while not speaking.done():
        samples.append({"second": time.monotonic() - begun, **await asyncio.to_thread(weigh, server)})
        await asyncio.wait([speaking], timeout=SAMPLE_SECONDS)
    await speaking
    return samples


def weigh(server: Server) -> dict[str, float]:
    """All processes of a server together."""
    family = server.family()
    memory = [process.memory_full_info() for process in family]
    return {
        "resident_mib": sum(m.rss for m in memory) / 2**20,
        "private_mib": sum(getattr(m, PRIVATE) for m in memory) / 2**20,
        "file_handles": sum(process.num_fds() for process in family),
        "threads": sum(process.num_threads() for process in family),
        "cpu_seconds": server.cpu_seconds(),
    }


def growth(samples: list[dict[str, float]], column: str) -> tuple[float, float, float]:
    """Per cent an hour over the second half: Theil and Sen's slope, and the limits of its 95 % interval."""
    half = samples[len(samples) // 2 :]
    values, hours = [s[column] for s in half], [s["second"] / 3600 for s in half]
    slope, _, low, high = theilslopes(values, hours)
    return tuple(100 * float(x) / float(np.median(values)) for x in (slope, low, high))  # type: ignore[return-value]


def by_minute(told: list[Told], seconds: float) -> list[dict[str, float]]:
    """p50 and p99 of commands' answers in each of at most 60 stretches of time."""
    width = max(seconds / 60, 5.0)
    found = []
    for start in np.arange(0, seconds, width):
        waits = [1000 * t.seconds for t in told if t.kind == "command" and start <= t.at < start + width]
        if waits:
            p50, p99 = np.percentile(waits, [50, 99])
            found.append({"second": float(start), "answers": len(waits), "p50_ms": float(p50), "p99_ms": float(p99)})
    return found


def write(path: Path, samples: list[dict[str, float]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        writer.writerows({name: round(sample[name], 3) for name in COLUMNS} for sample in samples)


def draw(path: Path, samples: list[dict[str, float]], told: list[Told], seconds: float) -> None:
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(4, 1, figsize=(8, 9), sharex=True, layout="constrained")
    at = [s["second"] for s in samples]
    for ax, names, title in (
        (axes[0], ("resident_mib", "private_mib"), "memory, MiB"),
        (axes[1], ("file_handles",), "file handles"),
        (axes[2], ("threads",), "threads"),
    ):
        for name in names:
            ax.plot(at, [s[name] for s in samples], label=name.removesuffix("_mib"))
        ax.set_ylabel(title)
        ax.set_ylim(bottom=0)
    axes[0].legend()
    stretches = by_minute(told, seconds)
    for name in ("p50_ms", "p99_ms"):
        axes[3].plot([s["second"] for s in stretches], [s[name] for s in stretches], label=name.removesuffix("_ms"))
    axes[3].set_ylabel("commands' answers, ms")
    axes[3].set_xlabel("seconds")
    axes[3].legend()
    figure.savefig(path, dpi=120)
    pyplot.close(figure)


def report(samples: list[dict[str, float]], crowd: Crowd, lost: list[str], seconds: float, *, name: str) -> None:
    kinds = Counter(f"{t.kind}: {t.outcome}" for t in crowd.told)
    for kind, count in sorted(kinds.items()):
        print(f"{kind}: {count:,}")
    for seen in (crowd.wrong + crowd.unexpected)[:20]:
        print("WRONG", seen)
    stretches = by_minute(crowd.told, seconds)
    slope, low, high = growth(samples, "resident_mib")
    print(f"memory, second half: {slope:+.2f} % an hour, 95 % interval {low:+.2f} to {high:+.2f}")
    handles, threads = ([s[column] for s in samples] for column in ("file_handles", "threads"))
    middle = len(samples) // 2
    smoothed = [is_same for each in crowd.smoothed.values() for is_same in each]
    results: dict[str, Any] = {
        "seconds": seconds,
        "told": dict(kinds),
        "growth_percent_an_hour": {"resident": [slope, low, high], "private": list(growth(samples, "private_mib"))},
        "file_handles": {"middle": handles[middle], "end": handles[-1], "most": max(handles)},
        "threads": {"middle": threads[middle], "end": threads[-1], "most": max(threads)},
        "latency": stretches,
    }
    finish(
        name,
        results,
        [
            Goal("commands answered", sum(t.kind == "command" for t in crowd.told), 1),
            Goal("memory's growth, % an hour, second half", slope, 1, at_least=False),
            Goal("answers that are not in the records", len(lost), 0, at_least=False),
            Goal("answers wrong", len(crowd.wrong), 0, at_least=False),
            Goal("answers as in exact mode, with RS", float(np.mean(smoothed)) if smoothed else 1.0, 0.99),
            Goal(
                "answers that did not come, or of another status than they should be",
                len(crowd.unexpected),
                0,
                at_least=False,
            ),
            Goal("file handles at the end beyond the middle's", handles[-1] - handles[middle], 8, at_least=False),
            Goal("threads at the end beyond the middle's", threads[-1] - threads[middle], 4, at_least=False),
        ],
    )


if __name__ == "__main__":
    main()
