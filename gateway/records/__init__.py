"""Every decision, stored before it is answered: no record, no acceptance.

SQLite in WAL mode, or PostgreSQL: a committed decision survives a killed process; with `full` sync, a power cut too. No
audio is stored unless a folder for it is given.
"""

from __future__ import annotations

from gateway.records.engine import RECORDS_FILE, records_url
from gateway.records.entry import AnsweredBefore, Claim, Entry, Recorded, Stored
from gateway.records.errors import LabelledBefore, NotRecorded, RecordsError
from gateway.records.migration import migrate
from gateway.records.records import Records
from gateway.records.register import TableRegister

__all__ = [
    "RECORDS_FILE",
    "AnsweredBefore",
    "Claim",
    "Entry",
    "LabelledBefore",
    "NotRecorded",
    "Recorded",
    "Records",
    "RecordsError",
    "Stored",
    "TableRegister",
    "migrate",
    "records_url",
]
