"""An Idempotency-Key: decided and stored once, answered alike, by whichever process is asked."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest
from databases import ACCEPTED, Database, claim_of, entry_of, late, put, soon, store

from gateway.records import AnsweredBefore, Claim, Records, RecordsError, Stored
from gateway.records.clock import Moment, now
from recognizer.decision import Decision, Reason

LATE = ACCEPTED.but_abstain(Reason.DEADLINE, "too late")


def test_the_first_is_stored_and_the_others_get_its_answer(
    open_records: Callable[..., Records], database: Database
) -> None:
    records, other = open_records(), open_records()
    assert records.earlier("key") is None
    assert put(records, entry_of(), claim_of("key")) == Stored(ACCEPTED)
    for door in (records, other):
        for answer in (put(door, entry_of(), claim_of("key", "another digest")), door.earlier("key")):
            assert isinstance(answer, AnsweredBefore)
            assert (answer.digest, answer.answer) == ("digest", '{"reason": "ok"}')
    assert len(database.rows()) == len(database.rows("answers")) == 1


def test_the_same_key_many_times_at_once_is_decided_once(
    open_records: Callable[..., Records], database: Database
) -> None:
    doors = [open_records(), open_records()]
    with ThreadPoolExecutor(8) as pool:
        for round_ in range(10):
            claim = claim_of(f"key {round_}")
            results = list(pool.map(lambda i, c=claim: put(doors[i % 2], entry_of(), c), range(8)))
            assert sum(isinstance(result, Stored) for result in results) == 1
            assert {result.answer for result in results if isinstance(result, AnsweredBefore)} == {'{"reason": "ok"}'}
    assert len(database.rows()) == 10


def test_the_same_key_twice_in_one_transaction_is_stored_once(records: Records, database: Database) -> None:
    with database.locked():
        first = records.add(entry_of(), until=soon(), late=late)
        queued = [records.add(entry_of(), until=soon(), late=late, claim=claim_of("key")) for _ in range(5)]
    assert first.result(timeout=30) == Stored(ACCEPTED)
    results = [future.result(timeout=30) for future in queued]
    assert results[0] == Stored(ACCEPTED)
    assert all(isinstance(result, AnsweredBefore) for result in results[1:])
    assert len(database.rows()) == 2


def test_the_stored_answer_of_a_late_acceptance_is_the_abstention(records: Records, database: Database) -> None:
    future = records.add(entry_of(), until=0.0, late=late, claim=claim_of("key"))
    assert future.result(timeout=30) == Stored(LATE)
    assert [row["answer"] for row in database.rows("answers")] == ['{"reason": "deadline"}']


class SlowAnswer:
    """Makes the transaction that stores it take longer than there is time."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.calls: list[Decision] = []

    def __call__(self, decision: Decision) -> str:
        self.calls.append(decision)
        time.sleep(self.seconds)
        return f'{{"reason": "{decision.reason}"}}'


def test_an_acceptance_whose_commit_ends_too_late_is_corrected_before_anybody_is_told(
    records: Records, database: Database
) -> None:
    store(records)  # the connection is there
    slow, entry = SlowAnswer(0.4), entry_of()
    until = time.perf_counter() + 0.2
    stored = records.add(entry, until=until, late=late, claim=Claim("key", "digest", slow)).result(timeout=30)
    assert slow.calls == [ACCEPTED, LATE]  # inserted as the one, corrected to the other
    assert stored == Stored(LATE)
    (row,) = [row for row in database.rows() if row["request_id"] == entry.request_id]
    assert (row["outcome"], row["reason"], row["command"]) == ("service", "deadline", None)
    assert [row["answer"] for row in database.rows("answers")] == ['{"reason": "deadline"}']


def test_an_acceptance_that_cannot_be_corrected_is_not_given(records: Records) -> None:
    store(records)

    def answer(decision: Decision) -> str:
        if not decision.is_accepted:
            raise ValueError("a fault")
        time.sleep(0.4)
        return "{}"

    future = records.add(entry_of(), until=time.perf_counter() + 0.2, late=late, claim=Claim("key", "digest", answer))
    assert isinstance(future.exception(timeout=30), RecordsError)


def test_an_answer_that_cannot_be_made_stores_nothing(records: Records, database: Database) -> None:
    def broken(_: Decision) -> str:
        raise KeyError("a fault")

    with pytest.raises(RecordsError):
        put(records, entry_of(), Claim("key", "digest", broken))
    assert records.earlier("key") is None
    assert database.rows() == []


def test_an_answer_ages_by_a_clock_that_nobody_sets(records: Records, database: Database) -> None:
    begun = time.monotonic()
    put(records, entry_of(), claim_of("key"))
    database.run("UPDATE answers SET stored_at = '2001-01-01 00:00:00'")  # as if the wall clock had been set since
    time.sleep(0.2)
    found = records.earlier("key")
    assert found is not None
    assert found.age is not None
    assert 0.2 <= found.age <= time.monotonic() - begun


def test_an_answer_of_another_boot_has_no_age(records: Records, database: Database) -> None:
    put(records, entry_of(), claim_of("key"))
    database.run(f"UPDATE answers SET boot = '{uuid.uuid4()}'")
    found = records.earlier("key")
    assert found is not None
    assert found.age is None


def test_a_moment_that_is_still_to_come_has_no_age() -> None:
    present = now()
    assert Moment(present.boot, present.seconds + 60).age() is None


def test_answers_are_forgotten_after_a_day_whatever_the_wall_clock_says(
    open_records: Callable[..., Records], database: Database
) -> None:
    records = open_records()
    keys = ("fresh", "set-back", "old", "other-boot", "old-of-other-boot")
    for key in keys:
        put(records, entry_of(), claim_of(key))
    records.close()
    long_ago = (datetime.now(UTC) - timedelta(days=2)).strftime("%Y-%m-%d %H:%M:%S.%f")
    database.run(
        f"UPDATE answers SET stored_at = '{long_ago}' WHERE key IN ('set-back', 'old-of-other-boot')",
        "UPDATE answers SET boot_seconds = boot_seconds - 90000 WHERE key = 'old'",
        f"UPDATE answers SET boot = '{uuid.uuid4()}' WHERE key IN ('other-boot', 'old-of-other-boot')",
    )
    records = open_records()
    store(records)  # after which the writer has time to look
    records.close()
    assert {row["key"] for row in database.rows("answers")} == {"fresh", "set-back", "other-boot"}
    assert len(database.rows()) == len(keys) + 1


def test_however_many_answers_are_old_they_are_forgotten(
    open_records: Callable[..., Records], database: Database
) -> None:
    records = open_records()
    put(records, entry_of(), claim_of("fresh"))
    records.close()
    columns = "request_id, digest, answer, stored_at, boot"
    database.run(
        f"INSERT INTO answers (key, {columns}, boot_seconds) WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 "
        f"FROM n WHERE i < 2500) SELECT 'old ' || i, {columns}, boot_seconds - 90000 FROM answers, n"
    )
    assert len(database.rows("answers")) == 2501
    records = open_records()
    for _ in range(3):
        store(records)
    records.close()
    assert [row["key"] for row in database.rows("answers")] == ["fresh"]
