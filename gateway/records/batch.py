"""What one transaction does with several drafts."""

from __future__ import annotations

from collections.abc import Sequence

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from gateway.records.answers import answer_row, answers_of
from gateway.records.draft import Draft
from gateway.records.entry import AnsweredBefore
from gateway.records.errors import RecordsError
from gateway.records.rows import decision_row, outcome_columns
from gateway.records.tables import ANSWERS, DECISIONS


def insert(connection: sa.Connection, drafts: Sequence[Draft]) -> dict[Draft, AnsweredBefore]:
    """Insert the drafts' rows; an acceptance that is late by now is inserted as the abstention that it becomes.

    Args:
        drafts: no two of them with the same claim.

    Returns:
        The drafts whose claim's key was there already, with what it was answered; of these nothing is inserted.
    """
    for draft in drafts:
        draft.hold_if_late()
    answered = _claim(connection, [draft for draft in drafts if draft.claim is not None])
    rows = [
        decision_row(draft.entry, draft.decision, clip_is_kept=draft.clip_is_kept)
        for draft in drafts
        if draft not in answered
    ]
    if rows:
        # RETURNING makes SQLAlchemy send the rows in one statement rather than one each
        connection.execute(DECISIONS.insert().returning(DECISIONS.c.request_id), rows).all()
    return answered


def hold(connection: sa.Connection, drafts: Sequence[Draft]) -> None:
    """Correct the rows of acceptances that were committed too late to be answered."""
    for draft in drafts:
        request_id = draft.entry.request_id
        changes = outcome_columns(draft.decision)
        connection.execute(DECISIONS.update().where(DECISIONS.c.request_id == request_id).values(changes))
        if draft.claim is not None:
            answer = draft.claim.answer(draft.decision)
            connection.execute(ANSWERS.update().where(ANSWERS.c.key == draft.claim.key).values(answer=answer))


def _claim(connection: sa.Connection, drafts: Sequence[Draft]) -> dict[Draft, AnsweredBefore]:
    by_key = {draft.claim.key: draft for draft in drafts if draft.claim is not None}
    if not by_key:
        return {}
    # in one order: of two gateways that store the same keys at once, one waits for the other, and never each for each
    in_order = [by_key[key] for key in sorted(by_key)]
    rows = [answer_row(d.claim, d.entry.request_id, d.decision) for d in in_order if d.claim is not None]
    on_conflict = sqlite.insert if connection.dialect.name == "sqlite" else postgresql.insert
    statement = on_conflict(ANSWERS).on_conflict_do_nothing().returning(ANSWERS.c.key)
    new = set(connection.execute(statement, rows).scalars())
    before = by_key.keys() - new
    answers = answers_of(connection, before) if before else {}
    if forgotten := before - answers.keys():
        raise RecordsError(f"{len(forgotten)} stored answers were deleted just now")
    return {by_key[key]: answer for key, answer in answers.items()}
