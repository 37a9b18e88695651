"""Smoothed decisions beside the authors' loop and ART: `python -m benchmarks.smoothing BUNDLE MANIFEST`.

BUNDLE and MANIFEST as `make real-speech` leaves them; its test clips are decided on, one at a time. The peers hear the
same network, sigma and error_alpha: Cohen's loop in batches of 100, over the network in its published layers and over
ours, and ART's PyTorchRandomizedSmoothing where it is installed (`make bench-smoothing` installs it). All take turns in
one run. M5 has random weights: at a fixed N its time does not depend on them.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn

from benchmarks.cohen import ABSTAIN, cohen_predict, published
from benchmarks.floors import floors, measure_machine, work_of
from benchmarks.goals import Goal, finish
from recognizer.bundle import load_bundle
from recognizer.decision import Decision
from recognizer.defense import DefenseName
from recognizer.manifest import load_manifest
from recognizer.mode import Mode
from recognizer.network import M5, architecture
from recognizer.smoothing import RandomizedSmoothing, VoteTest, voting_of
from training.dataset import ClipSet, load_clips

ERROR_ALPHA = 0.001
N, LARGE_N = 1000, 10_000
WINDOW = 16_000  # samples; the bundle's is to be this
ATTRIBUTES = ("gender", "native", "age")
console = Console(width=110)

Predict = Callable[[Tensor], int]
"""A clip, [samples], to its label or ABSTAIN."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("manifest", type=Path)
    parser.add_argument("--peer-clips", type=int, default=12, help="that the peers decide on")
    parser.add_argument("--m5-clips", type=int, default=2)
    parser.add_argument("--peak", type=int, metavar="N", help=argparse.SUPPRESS)
    parser.add_argument("--mode", type=Mode, default=Mode.FAST, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    smoothing, clips = real_speech(arguments.bundle, arguments.manifest)
    if arguments.peak:
        print(peak_of_this_process(smoothing, clips, arguments.mode, arguments.peak))
        return

    machine = measure_machine()
    fixed = {
        "m5-small": fixed_n(smoothing, clips.waveforms[: arguments.peer_clips]),
        "m5": fixed_n(untrained_m5(smoothing), clips.waveforms[: arguments.m5_clips]),
    }
    for name, times in fixed.items():
        show_fixed(name, times, floors(work_of(architecture(name, 10), clips.waveforms.shape[1]), machine, N))
    decisions = {
        "fixed": decide_each(engine(smoothing, Mode.EXACT, VoteTest.FIXED, N), clips),
        "fixed, another seed": decide_each(engine(smoothing, Mode.EXACT, VoteTest.FIXED, N), clips, seed=1),
        "sequential, exact": decide_each(engine(smoothing, Mode.EXACT, VoteTest.SEQUENTIAL, N), clips),
        "sequential, fast": decide_each(engine(smoothing, Mode.FAST, VoteTest.SEQUENTIAL, N), clips),
        "sequential, fast, cap 10,000": decide_each(engine(smoothing, Mode.FAST, VoteTest.SEQUENTIAL, LARGE_N), clips),
    }
    loop = float(np.median(fixed["m5-small"]["Cohen's loop, published layers"]))
    own_loop = float(np.median(fixed["m5-small"]["Cohen's loop, our layers"]))
    show_sequential(decisions, loop)
    groups = by_group(clips, decisions["sequential, fast"])
    memory = {
        f"{mode}, N = {draws}": peak_memory(arguments.bundle, arguments.manifest, mode, draws)
        for mode in Mode
        for draws in (100, N, LARGE_N)
    }
    for name, mib in memory.items():
        print(f"peak memory, {name}: {mib:.0f} MiB")

    large_loop = time_of(
        lambda x: cohen_predict(
            published(as_m5(smoothing)), x, sigma=smoothing.sigma, draws=LARGE_N, alpha=ERROR_ALPHA
        )[0],
        clips.waveforms[:1],
    )
    fast = decisions["sequential, fast"]["ms"].to_numpy()
    large = decisions["sequential, fast, cap 10,000"]["ms"].to_numpy()
    own_fixed = float(np.median(fixed["m5-small"]["ours, fast"]))
    finish(
        "smoothing",
        {
            "clips": len(clips),
            "sigma": smoothing.sigma,
            "error_alpha": ERROR_ALPHA,
            "threads": torch.get_num_threads(),
            "machine": {k: round(v / 1e9, 2) for k, v in vars(machine).items()},
            "fixed_n_ms": {k: {n: [round(t, 2) for t in ts] for n, ts in v.items()} for k, v in fixed.items()},
            "cohen_large_n_ms": [round(t, 1) for t in large_loop],
            "sequential": {name: summary(table) for name, table in decisions.items()},
            "groups": groups,
            "peak_memory_mib": memory,
        },
        [
            *(
                Goal(f"{name}, N = 1000, {mode}: times the loop", ratio(times, f"ours, {mode}"), goal)
                for name, goals in (("m5-small", (6, 2.5)), ("m5", (4, 1.2)))
                for times in [fixed[name]]
                for mode, goal in zip(("fast", "exact"), goals, strict=True)
            ),
            Goal("sequential, cap 1000: times the loop, median", loop / float(np.median(fast)), 80),
            Goal("sequential, cap 1000: times the loop, mean", loop / float(fast.mean()), 15),
            Goal("the same on our layers, median", own_loop / float(np.median(fast)), 80),
            Goal("the same on our layers, mean", own_loop / float(fast.mean()), 15),
            Goal("decisions equal to fixed N's, same draws", equal(decisions, "sequential, exact"), 0.995),
            Goal("sequential, cap 10,000: times the loop, median", large_loop[0] / float(np.median(large)), 500),
            Goal("p50 of a decision, ms", float(np.median(fast)), 10, at_least=False),
            Goal("p99 over our own fixed-N time", float(np.percentile(fast, 99)) / own_fixed, 1, at_least=False),
            *(
                Goal(
                    f"peak memory, {mode}, of N = 10,000 over N = 100",
                    memory[f"{mode}, N = {LARGE_N}"] / memory[f"{mode}, N = 100"],
                    1.02,
                    at_least=False,
                )
                for mode in Mode
            ),
        ],
    )


def real_speech(bundle: Path, manifest: Path) -> tuple[RandomizedSmoothing, ClipSet]:
    """The bundle's smoothing and its test clips."""
    loaded = load_bundle(bundle)
    smoothing = loaded.defenses[DefenseName.SMOOTHING]
    assert isinstance(smoothing, RandomizedSmoothing)
    return smoothing, load_clips(load_manifest(manifest).split("test"), loaded.labels, loaded.audio)


def as_m5(smoothing: RandomizedSmoothing) -> M5:
    assert isinstance(smoothing.network, M5)
    return smoothing.network


def untrained_m5(like: RandomizedSmoothing) -> RandomizedSmoothing:
    """M5 under the same settings."""
    torch.manual_seed(0)
    network = M5(architecture("m5", len(like.labels))).eval()
    return RandomizedSmoothing(network, like.labels, sigma=like.sigma, error_alpha=ERROR_ALPHA)


def engine(like: RandomizedSmoothing, mode: Mode, test: VoteTest, draws: int) -> RandomizedSmoothing:
    """Our engine in one of its ways."""
    voting = voting_of(like.network, mode, sigma=like.sigma, samples=WINDOW, seed=5)
    return RandomizedSmoothing(
        like.network, like.labels, sigma=like.sigma, error_alpha=ERROR_ALPHA, draws=draws, test=test, voting=voting
    )


def fixed_n(smoothing: RandomizedSmoothing, clips: Tensor) -> dict[str, list[float]]:
    """Name -> milliseconds of each clip at N = 1000; one clip each in turn."""
    network = as_m5(smoothing)
    settings = {"sigma": smoothing.sigma, "draws": N, "alpha": ERROR_ALPHA}
    ways: dict[str, Predict] = {
        "Cohen's loop, published layers": _loop(published(network), settings),
        "Cohen's loop, our layers": _loop(network, settings),
        "ours, exact": _ours(engine(smoothing, Mode.EXACT, VoteTest.FIXED, N)),
        "ours, fast": _ours(engine(smoothing, Mode.FAST, VoteTest.FIXED, N)),
    }
    if (peer := _art(network, smoothing, clips.shape[1])) is not None:
        ways["ART"] = peer
    for predict in ways.values():
        predict(clips[0])  # warm
    times: dict[str, list[float]] = {name: [] for name in ways}
    for clip in clips:
        for name, predict in ways.items():
            times[name] += time_of(predict, clip[None])
    return times


def _loop(network: nn.Module, settings: dict[str, Any]) -> Predict:
    return lambda x: cohen_predict(network, x, **settings)[0]


def _ours(smoothing: RandomizedSmoothing) -> Predict:
    def predict(x: Tensor) -> int:
        (decision,) = smoothing.decide(x[None], clip_ids=["clip"], seed=0)
        return smoothing.labels.index(decision.command) if decision.command else ABSTAIN

    return predict


def _art(network: M5, smoothing: RandomizedSmoothing, samples: int) -> Predict | None:
    """ART's smoothing of the network in its published layers; None where ART is not installed."""
    try:
        from art.estimators.certification.randomized_smoothing import PyTorchRandomizedSmoothing
    except ModuleNotFoundError:
        return None
    smoothed = PyTorchRandomizedSmoothing(
        model=published(network),
        loss=nn.CrossEntropyLoss(),
        input_shape=(samples,),
        nb_classes=len(smoothing.labels),
        sample_size=N,
        scale=smoothing.sigma,
        alpha=ERROR_ALPHA,
        device_type="cpu",
    )

    def predict(x: Tensor) -> int:
        scores = smoothed.predict(x[None].numpy(), batch_size=100)[0]
        return int(scores.argmax()) if scores.any() else ABSTAIN

    return predict


def time_of(predict: Predict, clips: Tensor) -> list[float]:
    """Milliseconds of each clip, [clips, samples]."""
    taken = []
    for clip in clips:
        started = time.perf_counter()
        predict(clip)
        taken.append(1000 * (time.perf_counter() - started))
    return taken


def decide_each(smoothing: RandomizedSmoothing, clips: ClipSet, *, seed: int = 0) -> pd.DataFrame:
    """One row a clip, decided by itself: `said` (empty where it abstains), `draws, ms`."""
    rows = []
    smoothing.decide(clips.waveforms[:1], clip_ids=["warm"], seed=seed)
    for waveform, clip_id in zip(clips.waveforms, clips.manifest.clip_ids, strict=True):
        started = time.perf_counter()
        (decision,) = smoothing.decide(waveform[None], clip_ids=[clip_id], seed=seed)
        rows.append((decision.command or "", _draws(decision), 1000 * (time.perf_counter() - started)))
    return pd.DataFrame(rows, columns=["said", "draws", "ms"])


def _draws(decision: Decision) -> int:
    assert decision.certificate is not None
    assert decision.certificate.draws is not None
    return decision.certificate.draws


def equal(decisions: dict[str, pd.DataFrame], name: str) -> float:
    """The share of decisions that are those of a fixed N."""
    return float((decisions[name]["said"] == decisions["fixed"]["said"]).mean())


def summary(table: pd.DataFrame) -> dict[str, float]:
    ms, draws = table["ms"], table["draws"]
    return {
        "accepted": round(float((table["said"] != "").mean()), 4),
        "draws_median": float(draws.median()),
        "draws_mean": round(float(draws.mean()), 1),
        "ms_median": round(float(ms.median()), 3),
        "ms_mean": round(float(ms.mean()), 3),
        "ms_p99": round(float(ms.quantile(0.99)), 2),
    }


def by_group(clips: ClipSet, table: pd.DataFrame) -> dict[str, dict[str, float]]:
    """Draws and milliseconds of each group: a group that pays more latency is a finding."""
    rows = pd.concat([clips.manifest.table.reset_index(drop=True), table], axis=1)
    found: dict[str, dict[str, float]] = {}
    shown = Table("group", "speakers", "clips", "draws, mean", "ms, median", "ms, mean", "ms, 95th percentile")
    for attribute in ATTRIBUTES:
        for group, part in rows.groupby(attribute):
            found[f"{attribute} {group}"] = cells = {
                "speakers": int(part["speaker"].nunique()),
                "clips": len(part),
                "draws_mean": round(float(part["draws"].mean()), 1),
                "ms_median": round(float(part["ms"].median()), 2),
                "ms_mean": round(float(part["ms"].mean()), 2),
                "ms_p95": round(float(part["ms"].quantile(0.95)), 2),
            }
            shown.add_row(f"{attribute} {group}", *map(str, cells.values()))
    console.print(shown)
    return found


def show_fixed(name: str, times: dict[str, list[float]], floor: dict[str, float]) -> None:
    table = Table("way", "ms, median", "times the loop", title=f"{name}, N = {N}, one clip")
    for way in times:
        table.add_row(way, f"{np.median(times[way]):.1f}", f"{ratio(times, way):.2f}")
    for way, milliseconds in floor.items():
        table.add_row(f"floor, {way}", f"{milliseconds:.1f}", "")
    console.print(table)


def ratio(times: dict[str, list[float]], way: str) -> float:
    """How many times as many clips a second as the loop over the published layers."""
    return float(np.median(times["Cohen's loop, published layers"]) / np.median(times[way]))


def show_sequential(decisions: dict[str, pd.DataFrame], loop: float) -> None:
    table = Table(
        "way", "accepted", "as fixed N", "draws, median", "mean", "ms, median", "mean", "p99", "median / loop"
    )
    for name, rows in decisions.items():
        found = summary(rows)
        table.add_row(
            name,
            f"{found['accepted']:.3f}",
            f"{equal(decisions, name):.4f}",
            *(f"{found[key]:.1f}" for key in ("draws_median", "draws_mean", "ms_median", "ms_mean", "ms_p99")),
            f"{loop / found['ms_median']:.0f}",
        )
    console.print(table)


def peak_of_this_process(smoothing: RandomizedSmoothing, clips: ClipSet, mode: Mode, draws: int) -> float:
    """MiB of memory at the most, from after the clips were loaded to the end of a vote of so many draws."""
    test = engine(smoothing, mode, VoteTest.FIXED, draws)
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # the peak so far is forgotten
    test.decide(clips.waveforms[:1], clip_ids=["clip"], seed=0)
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024


def peak_memory(bundle: Path, manifest: Path, mode: Mode, draws: int) -> float:
    """MiB, of a process of its own."""
    command = [sys.executable, "-m", "benchmarks.smoothing", bundle, manifest, "--peak", str(draws), "--mode", mode]
    said = subprocess.run([str(part) for part in command], capture_output=True, text=True, check=True)
    return round(float(said.stdout.split()[-1]), 1)


if __name__ == "__main__":
    main()
