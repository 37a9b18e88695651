"""Stores decisions from several threads until it is killed, and prints each id once it is durable: `adder.py URL`."""

from __future__ import annotations

import os
import sys
import threading

from databases import claim_of, entry_of, put

from gateway.records import Records, Stored


def add(records: Records) -> None:
    while True:
        entry = entry_of()
        assert isinstance(put(records, entry, claim_of(entry.request_id)), Stored)
        os.write(1, f"{entry.request_id}\n".encode())  # one write: whole lines whatever the other threads do


if __name__ == "__main__":
    shared = Records(sys.argv[1])
    for _ in range(6):
        threading.Thread(target=add, args=(shared,)).start()
