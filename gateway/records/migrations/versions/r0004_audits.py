"""What audits found, run by run."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    op.create_table(
        "audits",
        sa.Column("run", sa.String(16), primary_key=True),
        sa.Column("defense", sa.String(128), primary_key=True),
        sa.Column("attribute", sa.Text, primary_key=True),
        sa.Column("group", sa.Text, primary_key=True),
        sa.Column("metric", sa.String(16), primary_key=True),
        sa.Column("part", sa.String(128), primary_key=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
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
    op.create_index("ix_audits_created_at", "audits", ["created_at"])
