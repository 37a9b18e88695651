"""The ledger under several processes that are killed in the middle of a pass: every decision is counted once."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

from databases import Database, entry_of, late, soon
from ground_truth import DEFENSES, PEOPLE, VOCABULARY, some_command, utc

from gateway.records import Records, migrate
from monitoring.fairness import Bundle
from monitoring.live import LiveSettings
from monitoring.release import ReleaseRule

PASSER = Path(__file__).with_name("passer.py")
SHORT = "0" * 12
SESSION_SECONDS = 10


def begin_passer(url: str) -> subprocess.Popen[bytes]:
    """A child that passes, and has begun."""
    folders = (str(PASSER.parent), str(Path(__file__).parents[3]))
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(folders), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, str(PASSER), url, "1", "1", str(SESSION_SECONDS)]
    child = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert child.stdout is not None
    assert child.stdout.readline() == b"begun\n"
    return child


def test_two_processes_that_are_killed_in_mid_pass_count_everything_once(database: Database) -> None:
    migrate(database.url)
    records = Records(database.url, busy_seconds=20)
    settings = LiveSettings(ReleaseRule(1, 1), session_seconds=SESSION_SECONDS)
    ledger = records.ledger(settings, grace=0.0)
    ledger.serve(Bundle(SHORT, VOCABULARY, DEFENSES))
    chance = random.Random(3)
    begun = time.time() - 3600
    said = [some_command(chance, begun + number / 2) for number in range(900)]
    entries = [
        entry_of(s.decision, speaker=s.speaker, groups=s.groups, defense=s.defense, received_at=utc(s.at)) for s in said
    ]
    children = [begin_passer(database.url) for _ in range(2)]
    kills = 0
    try:
        for start in range(0, len(entries), 300):
            futures = [records.add(entry, until=soon(), late=late) for entry in entries[start : start + 300]]
            for future in futures:
                future.result(timeout=60)
            for entry in entries[start : start + 300 : 5]:
                records.label(entry.request_id, "left")
            victim = children.pop(0)
            victim.kill()
            assert victim.wait(10) == -signal.SIGKILL
            kills += 1
            children.append(begin_passer(database.url))
    finally:
        for child in children:
            child.kill()
            child.wait(10)
    ledger.run()
    assert kills == 3
    snapshot = ledger.snapshot()
    expected = Counter(
        (attribute, group, s.defense, s.decision.outcome.value) for s in said for attribute, group in s.groups.items()
    )
    found = {
        (cell.attribute, cell.group, cell.defense, outcome): count
        for cell, tally in snapshot.tallies.items()
        for outcome, count in tally.outcomes.items()
        if count
    }
    assert found == expected
    labelled = [s for s in said[::5] if s.score is not None]
    for attribute in VOCABULARY:
        tallies = [tally for cell, tally in snapshot.tallies.items() if cell.attribute == attribute]
        assert sum(sum(tally.labelled.values()) for tally in tallies) == len(labelled)
        of_days = [day for cell, days in ledger.days().items() if cell.attribute == attribute for day in days]
        outcomes = Counter(s.decision.outcome.value for s in said)
        assert sum(day.accepted for day in of_days) == outcomes["accepted"]
        assert sum(day.rejected for day in of_days) == outcomes["rejected"]
    # a session of which a part came while its window was already settled is left out, never bet on twice
    windows = {(s.speaker, s.defense, s.at // SESSION_SECONDS) for s in said if s.speaker and s.score is not None}
    for attribute in VOCABULARY:
        standings = [s for cell, s in snapshot.standings.items() if cell.attribute == attribute]
        declared = [w for w in windows if PEOPLE[str(w[0])][attribute] != "undeclared"]
        assert 0 < sum(standing.sessions for standing in standings) <= len(declared)
    records.close()
