"""The ledger of live fairness: what is held back, what is released, sessions, evidence.

Decisions and labels of before were counted by the evenvoice that stored them: their marks stay null.
"""

from __future__ import annotations

import secrets

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"

_ID_BYTES = 4


def upgrade() -> None:
    for mark, name, column in (
        ("is_pending", "ix_decisions_pending", "received_at"),
        ("is_label_pending", "ix_decisions_label_pending", "labelled_at"),
    ):
        op.add_column("decisions", sa.Column(mark, sa.Boolean))
        op.create_index(
            name, "decisions", [column], sqlite_where=sa.text(f"{mark} = 1"), postgresql_where=sa.text(mark)
        )  # SQLite takes the index only for a query in the same words
    ledger = op.create_table(
        "ledger",
        sa.Column("id", sa.String(16), primary_key=True),
        sa.Column("version", sa.BigInteger, nullable=False),
        sa.Column("position", sa.BigInteger, nullable=False),
        sa.Column("passed_at", sa.Float, nullable=False),
    )
    op.bulk_insert(ledger, [{"id": secrets.token_hex(_ID_BYTES), "version": 0, "position": 0, "passed_at": 0.0}])
    op.create_table(
        "ledger_models",
        sa.Column("model", sa.String(80), primary_key=True),
        sa.Column("defenses", sa.JSON, nullable=False),
        sa.Column("vocabulary", sa.JSON, nullable=False),
        sa.Column("served_at", sa.DateTime(timezone=True), nullable=False),
    )
    op.create_table(
        "held",
        *_cell(),
        sa.Column("is_of_labels", sa.Boolean, primary_key=True),
        sa.Column("speaker", sa.String(64), primary_key=True),
        sa.Column("since", sa.DateTime(timezone=True), nullable=False),
        sa.Column("tally", sa.JSON, nullable=False),
    )
    op.create_table("tallies", *_cell(), sa.Column("tally", sa.JSON, nullable=False))
    op.create_table(
        "tally_days",
        *_cell(),
        sa.Column("day", sa.Date, primary_key=True),
        sa.Column("accepted", sa.Integer, nullable=False),
        sa.Column("rejected", sa.Integer, nullable=False),
    )
    op.create_table(
        "sessions",
        sa.Column("model", sa.String(80), primary_key=True),
        sa.Column("defense", sa.String(128), primary_key=True),
        sa.Column("speaker", sa.String(64), primary_key=True),
        sa.Column("session_seconds", sa.Integer, primary_key=True),
        sa.Column("ends_at", sa.BigInteger, primary_key=True),
        sa.Column("first_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("groups", sa.JSON, nullable=False),
        sa.Column("decided", sa.Integer, nullable=False),
        sa.Column("rejected", sa.Integer, nullable=False),
    )
    op.create_table(
        "voices",
        *_cell(),
        sa.Column("speaker", sa.String(64), primary_key=True),
        sa.Column("ends_at", sa.BigInteger, nullable=False),
        sa.Column("position", sa.BigInteger, nullable=False),
    )
    for table in ("held", "sessions", "voices"):
        op.create_index(f"ix_{table}_speaker", table, ["speaker"])
    op.create_index("ix_sessions_ends_at", "sessions", ["ends_at"])
    op.create_table(
        "evidence",
        *_cell(),
        sa.Column("tolerance", sa.Float, primary_key=True),
        sa.Column("session_seconds", sa.Integer, primary_key=True),
        sa.Column("released", sa.JSON, nullable=False),
        sa.Column("current", sa.JSON, nullable=False),
    )


def _cell() -> tuple[sa.Column[str], ...]:
    return (
        sa.Column("model", sa.String(80), primary_key=True),
        sa.Column("defense", sa.String(128), primary_key=True),
        sa.Column("attribute", sa.Text, primary_key=True),
        sa.Column("group", sa.Text, primary_key=True),
    )
