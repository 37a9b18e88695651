"""Runs a command every so often, in the foreground: `schedule.py --every 7d --stamp FILE -- COMMAND ...`.

Written for `evenvoice audit run`, whose exit codes 0, 1 and 2 are verdicts: after one of them the next turn comes when
`--every` has passed, whether or not the container was started anew meanwhile (the time of the last verdict is the stamp
file's). After any other code it is tried again in an hour, or in `--every` where that is less; the audit itself tells
Prometheus that it failed. The standard library alone: it is mounted into the image.
"""

from __future__ import annotations

import argparse
import json
import re
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

VERDICTS = {0: "pass", 1: "disparity", 2: "inconclusive"}
RETRY_SECONDS = 3600.0
SLICE_SECONDS = 60.0
"""The longest sleep: a clock that is set is noticed then."""
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}


def seconds_of(text: str) -> float:
    """Seconds of a duration such as `7d`."""
    match = re.fullmatch(r"(\d+)([smhdw])", text)
    if match is None or int(match[1]) == 0:
        raise argparse.ArgumentTypeError(f"{text!r} is no duration; a number and s, m, h, d or w is, such as 7d")
    return float(match[1]) * _UNITS[match[2]]


def due_at(stamp: Path, every: float) -> float:
    """When the next turn is, seconds since 1970: at once where there was no verdict yet."""
    return stamp.stat().st_mtime + every if stamp.exists() else 0.0


def wait_until(moment: float) -> None:
    while (left := moment - time.time()) > 0:
        time.sleep(min(left, SLICE_SECONDS))


def take_turn(command: list[str], stamp: Path) -> bool:
    """Run the command and say in one line of JSON how it ended.

    Returns:
        Whether it came to a verdict.
    """
    started, ended_early = time.monotonic(), False
    with subprocess.Popen(command) as child:

        def end(*_: object) -> None:
            nonlocal ended_early
            ended_early = True
            child.terminate()

        before = signal.signal(signal.SIGTERM, end)
        code = child.wait()
        signal.signal(signal.SIGTERM, before)
    if ended_early:
        sys.exit(0)
    if code in VERDICTS:
        stamp.touch()
    say(exit_code=code, verdict=VERDICTS.get(code), seconds=round(time.monotonic() - started, 1))
    return code in VERDICTS


def say(**facts: object) -> None:
    now = datetime.now(UTC).isoformat(timespec="seconds")
    print(json.dumps({"time": now, "event": "audit", **facts}), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--every", type=seconds_of, required=True, help="such as 7d")
    parser.add_argument("--stamp", type=Path, required=True, help="the file whose time is that of the last verdict")
    parser.add_argument("command", nargs="+")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))  # process 1 of a container has no default
    due = due_at(options.stamp, options.every)
    while True:
        wait_until(due)
        if take_turn(options.command, options.stamp):
            due = due_at(options.stamp, options.every)
        else:
            due = time.time() + min(RETRY_SECONDS, options.every)


if __name__ == "__main__":
    main()
