"""Passes through stored decisions over and over until it is killed: `passer.py URL K M SESSION_SECONDS`."""

from __future__ import annotations

import os
import sys
import time

from gateway.records import Records, RecordsError
from monitoring.live import LiveSettings
from monitoring.release import ReleaseRule

if __name__ == "__main__":
    url, k, m, seconds = sys.argv[1], *map(int, sys.argv[2:])
    ledger = Records(url, busy_seconds=10).ledger(LiveSettings(ReleaseRule(k, m), session_seconds=seconds), grace=0.0)
    os.write(1, b"begun\n")
    while True:
        try:
            ledger.run()
        except RecordsError as error:
            print(error, file=sys.stderr)
        time.sleep(0.005)
