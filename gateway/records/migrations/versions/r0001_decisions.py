"""The decisions, as they were before there were migrations."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    op.create_table(
        "decisions",
        sa.Column("request_id", sa.String(36), primary_key=True),
        sa.Column("received_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("outcome", sa.String(16), nullable=False),
        sa.Column("reason", sa.String(24), nullable=False),
        sa.Column("command", sa.String(64)),
        sa.Column("defense", sa.String(128), nullable=False),
        sa.Column("confidence", sa.Float),
        sa.Column("p_value", sa.Float),
        sa.Column("draws", sa.Integer),
        sa.Column("seed", sa.BigInteger, nullable=False),
        sa.Column("replay", sa.JSON),
        sa.Column("speaker", sa.String(64)),
        sa.Column("groups", sa.JSON, nullable=False),
        sa.Column("model", sa.String(80), nullable=False),
        sa.Column("true_command", sa.String(64)),
        sa.Column("labelled_at", sa.DateTime(timezone=True)),
    )
    op.create_index("ix_decisions_received_at", "decisions", ["received_at"])
    op.create_index("ix_decisions_speaker", "decisions", ["speaker"])
