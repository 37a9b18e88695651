"""Damaged clips against the decode gate, the HTTP door and the stream: `python -m benchmarks.fuzz [N]`.

Of N inputs 75 % go to the gate, 20 % through the door and 5 %, as the messages of a stream each, to `/v1/stream`. All
run in processes that are watched from outside: one that crashes or hangs is a fault as an exception is, its input is
kept, and another process goes on behind it. An input is known by the seed and its number; time is processor time, so
that other work on the machine does not count.
"""

from __future__ import annotations

import argparse
import mmap
import multiprocessing
import pickle
import struct
import tempfile
import time
import traceback
import tracemalloc
from collections.abc import Callable, Collection
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks.fuzz_targets import TARGETS, Target
from benchmarks.goals import Goal, finish

SHARES = {"gate": 0.75, "door": 0.2, "stream": 0.05}
BUNDLE = Path("runs/real-speech/bundle")
KEPT = Path("runs/fuzz")
HANGING_SECONDS, OPENING_SECONDS = 60.0, 300.0
WARM = 200  # inputs before memory is looked at
TRACED_EACH = 50  # inputs; tracing slows
SAVED_EACH = 500  # inputs
SLOWEST_MS = {"gate": 250.0, "door": 1000.0, "stream": 5000.0}
MOST_TRACED_MIB, MOST_GROWTH_MIB = 32.0, 64.0

Opens = Callable[[Path, Path, ExitStack], Target]


@dataclass
class Tally:
    """What became of a target's inputs."""

    inputs: int = 0
    outcomes: dict[str, int] = field(default_factory=dict)
    faults: dict[int, str] = field(default_factory=dict)
    """Number -> what was seen."""
    slowest_ms: tuple[float, int] = (0.0, -1)
    """Processor time of the worst input, and its number."""
    traced_mib: tuple[float, int] = (0.0, -1)
    """Memory that the hungriest of the traced inputs held at once."""
    growth_mib: float = 0.0
    """Of the process, from its first inputs to its peak."""
    seconds: float = 0.0
    next: int = 0

    def add(self, number: int, outcome: str, milliseconds: float) -> None:
        self.inputs += 1
        self.outcomes[outcome] = self.outcomes.get(outcome, 0) + 1
        self.slowest_ms = max(self.slowest_ms, (milliseconds, number))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("inputs", type=int, nargs="?", default=100_000)
    parser.add_argument("--bundle", type=Path, default=BUNDLE)
    parser.add_argument("--seed", type=int, default=int(time.time()), help="default: another one each time")
    parser.add_argument("--keep", type=Path, default=KEPT, metavar="FOLDER", help="for inputs that do harm")
    parser.add_argument("--quick", action="store_true", help="2,000 inputs, to see that this runs")
    arguments = parser.parse_args()
    inputs = 2_000 if arguments.quick else arguments.inputs
    tallies = {}
    for name, share in SHARES.items():
        print(f"{name}: {round(share * inputs):,} inputs, seed {arguments.seed} ...", flush=True)
        tallies[name] = fuzz(
            TARGETS[name],
            arguments.bundle,
            seed=arguments.seed,
            inputs=round(share * inputs),
            keep=arguments.keep / name,
        )
    show(tallies)
    finish(
        "fuzz-quick" if arguments.quick else "fuzz",
        {"seed": arguments.seed, "targets": {name: asdict(tally) for name, tally in tallies.items()}},
        goals(tallies, inputs),
    )
    raise SystemExit(any(tally.faults for tally in tallies.values()))


def fuzz(
    opens: Opens, bundle: Path, *, seed: int, inputs: int, keep: Path, hanging_seconds: float = HANGING_SECONDS
) -> Tally:
    """Throw so many inputs at a target, in processes that may die of it.

    Args:
        opens: opens the target from a bundle, a folder of its own and what is closed at the end; importable by name.
        keep: folder for inputs that do harm, `SEED-NUMBER.bin` and, beside it, what was seen.
    """
    spawn = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory() as folder:
        note, saved = Path(folder, "number"), Path(folder, "tally")
        note.write_bytes(struct.pack("<q", -1))
        saved.write_bytes(pickle.dumps(Tally()))
        dead: dict[int, str] = {}
        while (tally := _load(saved)).next < inputs:
            worker = spawn.Process(target=throw, args=(opens, bundle, seed, inputs, frozenset(dead), note, saved, keep))
            worker.start()
            ended = _watch(worker, note, hanging_seconds)
            if ended is not None:
                (number,) = struct.unpack("<q", note.read_bytes())
                if number in (-1, *dead):
                    raise RuntimeError(f"the target could not be opened: {ended}")
                dead[number] = ended
                keep_input(keep, seed, number, ended)
    tally.faults |= dead
    return tally


def throw(
    opens: Opens, bundle: Path, seed: int, inputs: int, skipped: Collection[int], note: Path, saved: Path, keep: Path
) -> None:
    """What one process does: go on where the one before was, saying each number before it is tried."""
    tally = _load(saved)
    first, begun = tally.next, time.perf_counter()
    with ExitStack() as opened, note.open("r+b") as file:
        state = Path(opened.enter_context(tempfile.TemporaryDirectory()))
        number_now = opened.enter_context(mmap.mmap(file.fileno(), 8))
        target = opens(bundle, state, opened)
        resident = 0.0
        for number in range(first, inputs):
            if number in skipped:
                continue
            number_now[:8] = struct.pack("<q", number)
            if number == first + WARM:
                resident = _forget_peak()
            _try(target, seed, number, tally, keep)
            if number % SAVED_EACH == SAVED_EACH - 1 or number == inputs - 1:
                tally.growth_mib = max(tally.growth_mib, _status("VmHWM") - resident if resident else 0.0)
                tally.seconds += time.perf_counter() - begun
                begun = time.perf_counter()
                tally.next = number + 1
                _save(tally, saved)
        tally.next = inputs
        _save(tally, saved)


def _try(target: Target, seed: int, number: int, tally: Tally, keep: Path) -> None:
    is_traced = number % TRACED_EACH == 0
    if is_traced:
        tracemalloc.start()
    since = time.process_time()
    try:
        outcome = target.outcome(seed, number)
    except Exception as error:
        outcome = f"FAULT {type(error).__name__}"
        tally.faults[number] = f"{type(error).__name__}: {error}"
        keep_input(keep, seed, number, traceback.format_exc(), target)
    tally.add(number, outcome, 0.0 if is_traced else 1000 * (time.process_time() - since))
    if is_traced:
        tally.traced_mib = max(tally.traced_mib, (tracemalloc.get_traced_memory()[1] / 2**20, number))
        tracemalloc.stop()


def _watch(worker: multiprocessing.process.BaseProcess, note: Path, hanging_seconds: float) -> str | None:
    """Wait for a process; what was wrong with its end, if anything was."""
    before, since, patience = note.read_bytes(), time.monotonic(), OPENING_SECONDS
    while worker.is_alive():
        worker.join(0.2)
        if (now := note.read_bytes()) != before:
            before, since, patience = now, time.monotonic(), hanging_seconds
        elif time.monotonic() - since > patience:
            worker.kill()
            worker.join()
            return f"it hung for {patience:g} s"
    return None if worker.exitcode == 0 else f"the process ended with {worker.exitcode}"


def keep_input(keep: Path, seed: int, number: int, seen: str, target: Target | None = None) -> None:
    """Keep what did harm: why, and where there still is a target that can make it again, the input."""
    keep.mkdir(parents=True, exist_ok=True)
    (keep / f"{seed}-{number}.txt").write_text(seen, encoding="utf-8")
    if target is not None:
        (keep / f"{seed}-{number}.bin").write_bytes(target.input(seed, number))


def _load(saved: Path) -> Tally:
    tally = pickle.loads(saved.read_bytes())
    assert isinstance(tally, Tally)
    return tally


def _save(tally: Tally, saved: Path) -> None:
    new = saved.with_suffix(".new")
    new.write_bytes(pickle.dumps(tally))
    new.replace(saved)


def _status(name: str) -> float:
    """MiB of this process' `VmRSS` or `VmHWM`."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(name)) / 1024


def _forget_peak() -> float:
    """Begin a new peak; MiB that are resident now."""
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    return _status("VmRSS")


def goals(tallies: dict[str, Tally], inputs: int) -> list[Goal]:
    faults = sum(len(tally.faults) for tally in tallies.values())
    return [
        Goal("inputs", sum(tally.inputs for tally in tallies.values()), inputs),
        Goal("crashes, hangs, exceptions of no declared type, statuses 5xx", faults, 0, at_least=False),
        *(
            Goal(f"{n}: slowest input, ms of processor", t.slowest_ms[0], SLOWEST_MS[n], False)
            for n, t in tallies.items()
        ),
        *(Goal(f"{n}: memory of one input, MiB", t.traced_mib[0], MOST_TRACED_MIB, False) for n, t in tallies.items()),
        *(Goal(f"{n}: the process grew by, MiB", t.growth_mib, MOST_GROWTH_MIB, False) for n, t in tallies.items()),
    ]


def show(tallies: dict[str, Tally]) -> None:
    console = Console(width=110)
    for name, tally in tallies.items():
        table = Table("outcome", "inputs", title=f"{name}: {tally.inputs:,} inputs in {tally.seconds:.0f} s")
        for outcome, count in sorted(tally.outcomes.items(), key=lambda item: -item[1]):
            table.add_row(outcome, f"{count:,}")
        console.print(table)
        print(
            f"slowest: {tally.slowest_ms[0]:.1f} ms (number {tally.slowest_ms[1]}); most memory at once:"
            f" {tally.traced_mib[0]:.2f} MiB (number {tally.traced_mib[1]}); the process grew by"
            f" {tally.growth_mib:.1f} MiB"
        )
        for number, seen in tally.faults.items():
            print(f"FAULT {name} {number}: {seen}")


if __name__ == "__main__":
    main()
