"""The tables, as the newest migration leaves them."""

from __future__ import annotations

import sqlalchemy as sa

REVISION = "0004"
"""The newest migration in `migrations/versions`."""

METADATA = sa.MetaData()

DECISIONS = sa.Table(
    "decisions",
    METADATA,
    sa.Column("request_id", sa.String(36), primary_key=True),
    sa.Column("received_at", sa.DateTime(timezone=True), nullable=False, index=True),
    sa.Column("outcome", sa.String(16), nullable=False),
    sa.Column("reason", sa.String(24), nullable=False),
    sa.Column("command", sa.String(64)),
    sa.Column("defense", sa.String(128), nullable=False),
    sa.Column("confidence", sa.Float),
    sa.Column("p_value", sa.Float),
    sa.Column("draws", sa.Integer),
    sa.Column("seed", sa.BigInteger, nullable=False),
    sa.Column("replay", sa.JSON(none_as_null=True)),
    sa.Column("speaker", sa.String(64), index=True),
    sa.Column("groups", sa.JSON, nullable=False),
    sa.Column("model", sa.String(80), nullable=False),
    sa.Column("true_command", sa.String(64)),
    sa.Column("labelled_at", sa.DateTime(timezone=True)),
    sa.Column("parts", sa.JSON(none_as_null=True)),
    sa.Column("clip_type", sa.String(80)),
    sa.Column("is_pending", sa.Boolean),
    sa.Column("is_label_pending", sa.Boolean),
)
"""`parts`: the scores of a combined defense's parts. `clip_type`: media type of the kept clip, or null. `is_pending`:
whether the ledger has yet to take the decision in; null for those of before there was one. `is_label_pending`: the same
of its label; null where there is none to take in."""

sa.Index(
    "ix_decisions_pending",
    DECISIONS.c.received_at,
    sqlite_where=DECISIONS.c.is_pending,
    postgresql_where=DECISIONS.c.is_pending,
)
sa.Index(
    "ix_decisions_label_pending",
    DECISIONS.c.labelled_at,
    sqlite_where=DECISIONS.c.is_label_pending,
    postgresql_where=DECISIONS.c.is_label_pending,
)

ANSWERS = sa.Table(
    "answers",
    METADATA,
    sa.Column("key", sa.String(64), primary_key=True),
    sa.Column("request_id", sa.String(36), nullable=False, index=True),
    sa.Column("digest", sa.String(64), nullable=False),
    sa.Column("answer", sa.Text, nullable=False),
    sa.Column("stored_at", sa.DateTime(timezone=True), nullable=False, index=True),
    sa.Column("boot", sa.String(36), nullable=False),
    sa.Column("boot_seconds", sa.Float, nullable=False),
)
"""What requests with an Idempotency-Key were answered; see `clock.Moment` for the last two."""

SPEAKERS = sa.Table(
    "speakers",
    METADATA,
    sa.Column("speaker", sa.String(64), primary_key=True),
    sa.Column("declared", sa.JSON, nullable=False),
    sa.Column("enrolled_at", sa.DateTime(timezone=True), nullable=False),
    sa.Column("changed_at", sa.DateTime(timezone=True), nullable=False),
)
"""`declared`: attribute -> what was declared, trimmed and lower-cased."""

LEDGER = sa.Table(
    "ledger",
    METADATA,
    sa.Column("id", sa.String(16), primary_key=True),
    sa.Column("version", sa.BigInteger, nullable=False),
    sa.Column("position", sa.BigInteger, nullable=False),
    sa.Column("passed_at", sa.Float, nullable=False),
)
"""One row. `version`: changes with everything that the ledger's tables hold, so that two that count at once can't both
write. `position`: of the session that was settled last. `passed_at`: when a pass last came to
its end, seconds since the epoch."""

LEDGER_MODELS = sa.Table(
    "ledger_models",
    METADATA,
    sa.Column("model", sa.String(80), primary_key=True),
    sa.Column("defenses", sa.JSON, nullable=False),
    sa.Column("vocabulary", sa.JSON, nullable=False),
    sa.Column("served_at", sa.DateTime(timezone=True), nullable=False),
)
"""The bundles whose series are shown. `model`: short version, here and below."""


def _cell() -> tuple[sa.Column[str], ...]:
    return (
        sa.Column("model", sa.String(80), primary_key=True),
        sa.Column("defense", sa.String(128), primary_key=True),
        sa.Column("attribute", sa.Text, primary_key=True),
        sa.Column("group", sa.Text, primary_key=True),
    )


HELD = sa.Table(
    "held",
    METADATA,
    *_cell(),
    sa.Column("is_of_labels", sa.Boolean, primary_key=True),
    sa.Column("speaker", sa.String(64), primary_key=True, index=True),
    sa.Column("since", sa.DateTime(timezone=True), nullable=False),
    sa.Column("tally", sa.JSON, nullable=False),
)
"""What is held back, summed by speaker; the speaker of commands without one is empty. `since`: of the first of them."""

TALLIES = sa.Table("tallies", METADATA, *_cell(), sa.Column("tally", sa.JSON, nullable=False))
"""What is released."""

TALLY_DAYS = sa.Table(
    "tally_days",
    METADATA,
    *_cell(),
    sa.Column("day", sa.Date, primary_key=True),
    sa.Column("accepted", sa.Integer, nullable=False),
    sa.Column("rejected", sa.Integer, nullable=False),
)
"""What was released on each day (UTC)."""

SESSIONS = sa.Table(
    "sessions",
    METADATA,
    sa.Column("model", sa.String(80), primary_key=True),
    sa.Column("defense", sa.String(128), primary_key=True),
    sa.Column("speaker", sa.String(64), primary_key=True, index=True),
    sa.Column("session_seconds", sa.Integer, primary_key=True),
    sa.Column("ends_at", sa.BigInteger, primary_key=True, index=True),
    sa.Column("first_at", sa.DateTime(timezone=True), nullable=False),
    sa.Column("groups", sa.JSON, nullable=False),
    sa.Column("decided", sa.Integer, nullable=False),
    sa.Column("rejected", sa.Integer, nullable=False),
)
"""Sessions that are not settled yet. `ends_at`: of the window, seconds since the epoch."""

VOICES = sa.Table(
    "voices",
    METADATA,
    *_cell(),
    sa.Column("speaker", sa.String(64), primary_key=True, index=True),
    sa.Column("ends_at", sa.BigInteger, nullable=False),
    sa.Column("position", sa.BigInteger, nullable=False),
)
"""Whose sessions were settled; of the last one, when its window ended, and its position."""

EVIDENCE = sa.Table(
    "evidence",
    METADATA,
    *_cell(),
    sa.Column("tolerance", sa.Float, primary_key=True),
    sa.Column("session_seconds", sa.Integer, primary_key=True),
    sa.Column("released", sa.JSON, nullable=False),
    sa.Column("current", sa.JSON, nullable=False),
)
"""See `monitoring.evidence`: how it stands, and what of that is shown."""

AUDITS = sa.Table(
    "audits",
    METADATA,
    sa.Column("run", sa.String(16), primary_key=True),
    sa.Column("defense", sa.String(128), primary_key=True),
    sa.Column("attribute", sa.Text, primary_key=True),
    sa.Column("group", sa.Text, primary_key=True),
    sa.Column("metric", sa.String(16), primary_key=True),
    sa.Column("part", sa.String(128), primary_key=True),
    sa.Column("created_at", sa.DateTime(timezone=True), nullable=False, index=True),
    sa.Column("bundle", sa.String(64), nullable=False),
    sa.Column("model", sa.String(80), nullable=False),
    sa.Column("manifest", sa.Text, nullable=False),
    sa.Column("fingerprint", sa.String(80), nullable=False),
    sa.Column("outcome", sa.String(16), nullable=False),
    sa.Column("speakers", sa.Integer),
    sa.Column("clips", sa.Integer),
    sa.Column("value", sa.Float),
    sa.Column("lower", sa.Float),
    sa.Column("upper", sa.Float),
    sa.Column("verdict", sa.String(16), nullable=False),
)
"""See `monitoring.audit.history.HistoryRow`. No speaker is in them: erasing one leaves them as they are."""
