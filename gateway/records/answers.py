"""What requests with an Idempotency-Key were answered, for a day."""

from __future__ import annotations

from collections.abc import Collection
from datetime import UTC, datetime, timedelta
from typing import Any

import sqlalchemy as sa

from gateway.records import clock
from gateway.records.entry import AnsweredBefore, Claim
from gateway.records.tables import ANSWERS
from recognizer.decision import Decision

KEPT = timedelta(hours=24)

_MOST_AT_ONCE = 1000
"""Answers forgotten in one transaction: the next decision waits for it."""


def answer_row(claim: Claim, request_id: str, decision: Decision) -> dict[str, Any]:
    moment = clock.now()
    return {
        "key": claim.key,
        "request_id": request_id,
        "digest": claim.digest,
        "answer": claim.answer(decision),
        "stored_at": datetime.now(UTC),
        "boot": moment.boot,
        "boot_seconds": moment.seconds,
    }


def answers_of(connection: sa.Connection, keys: Collection[str]) -> dict[str, AnsweredBefore]:
    """Key -> what is stored for it; without the keys that nothing is stored for."""
    rows = connection.execute(sa.select(ANSWERS).where(ANSWERS.c.key.in_(keys)))
    return {
        row.key: AnsweredBefore(row.digest, row.answer, clock.Moment(row.boot, row.boot_seconds).age()) for row in rows
    }


def forget_old(connection: sa.Connection) -> bool:
    """Delete answers that are older than `KEPT`, at most so many at once; says whether those were all.

    Those of this boot by its own clock, so that setting the wall clock forward forgets no fresh one.
    """
    moment = clock.now()
    is_old = sa.case(
        (ANSWERS.c.boot == moment.boot, ANSWERS.c.boot_seconds < moment.seconds - KEPT.total_seconds()),
        else_=ANSWERS.c.stored_at < datetime.now(UTC) - KEPT,
    )
    old = sa.select(ANSWERS.c.key).where(is_old).limit(_MOST_AT_ONCE)
    return connection.execute(ANSWERS.delete().where(ANSWERS.c.key.in_(old))).rowcount < _MOST_AT_ONCE
