"""The demo as a user runs it, timed, and its accuracies: `python -m benchmarks.demo [--quick]`.

All three defenses answer the same clips in one run. `--quick` takes fewer voices and epochs: it measures the line, not
the demo, and its accuracies are lower.
"""

from __future__ import annotations

import argparse
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks.goals import Goal, finish
from gateway.cli.demo import SUMMARY_FILE, Summary

QUICK = ["--voices", "42", "--epochs", "3"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="at most 60 seconds")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        summary = run_demo(Path(place) / "demo", QUICK if arguments.quick else [])
    table = Table("defense", "rejected", "correct", "ms a command", title=f"{summary.test_voices} test voices, HTTP")
    for defense, figures in summary.over_http.items():
        table.add_row(
            defense,
            f"{figures['rejected']:.1%}",
            f"{figures['correct']:.1%}",
            f"{figures['milliseconds']:.1f}",
        )
    console = Console()
    console.print(table)
    console.print(
        f"seconds: {summary.seconds}; sigma {summary.sigma}, median certified radius {summary.median_radius_l2:.3f}"
    )
    finish(
        "demo-quick" if arguments.quick else "demo",
        {"quick": arguments.quick, **summary.model_dump()},
        [
            Goal("demo seconds", summary.seconds["all"], 180, at_least=False),
            Goal("clean accuracy on test voices", summary.clean_accuracy, 0.95),
            Goal("smoothed accuracy on test voices", summary.smoothed_accuracy, 0.90),
            Goal("sigma", summary.sigma, 0.02),
            Goal("voices", summary.voices, 120),
        ],
    )


def run_demo(folder: Path, options: list[str]) -> Summary:
    """Run `evenvoice demo --once` in a process of its own, and read what it measured."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "gateway.cli.main", "demo", "--once", "--folder", str(folder), "--port", str(port)]
    subprocess.run([*command, *options], check=True)
    return Summary.model_validate_json((folder / SUMMARY_FILE).read_bytes())


if __name__ == "__main__":
    main()
