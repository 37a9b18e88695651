"""The tables, as the newest migration leaves them."""

from __future__ import annotations

import sqlalchemy as sa

REVISION = "0002"
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
)
"""`parts`: the scores of a combined defense's parts. `clip_type`: media type of the kept clip, or null."""

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
