"""The scores of combined defenses' parts, kept clips, stored answers, and the register of speakers."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.add_column("decisions", sa.Column("parts", sa.JSON))
    op.add_column("decisions", sa.Column("clip_type", sa.String(80)))
    op.create_table(
        "answers",
        sa.Column("key", sa.String(64), primary_key=True),
        sa.Column("request_id", sa.String(36), nullable=False),
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("answer", sa.Text, nullable=False),
        sa.Column("stored_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("boot", sa.String(36), nullable=False),
        sa.Column("boot_seconds", sa.Float, nullable=False),
    )
    op.create_index("ix_answers_request_id", "answers", ["request_id"])
    op.create_index("ix_answers_stored_at", "answers", ["stored_at"])
    op.create_table(
        "speakers",
        sa.Column("speaker", sa.String(64), primary_key=True),
        sa.Column("declared", sa.JSON, nullable=False),
        sa.Column("enrolled_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("changed_at", sa.DateTime(timezone=True), nullable=False),
    )
