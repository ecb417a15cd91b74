"""The record: facts, looks, documents, leases and notes."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Create every table of the first ledger."""
    op.create_table(
        "entries",
        sa.Column("id", sa.Integer, primary_key=True, autoincrement=True),
        sa.Column("rollout", sa.Text, nullable=False),
        sa.Column("seq", sa.Integer, nullable=False),
        sa.Column("at", sa.Text, nullable=False),
        sa.Column("fact", sa.Text, nullable=False),
        sa.Column("payload", sa.Text, nullable=False),
        sa.UniqueConstraint("rollout", "seq", name="one_fact_per_seq"),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "targets",
        sa.Column("rollout", sa.Text, primary_key=True),
        sa.Column("model", sa.Text, nullable=False),
        sa.Column("variation", sa.Text, nullable=False),
        sa.Column("holding", sa.Boolean, nullable=False),
    )
    op.create_index(
        "one_holder_per_target",
        "targets",
        ["model", "variation"],
        unique=True,
        sqlite_where=sa.text("holding"),
        postgresql_where=sa.text("holding"),
    )
    op.create_table(
        "looks",
        sa.Column("rollout", sa.Text, nullable=False),
        sa.Column("metric", sa.Text, nullable=False),
        sa.Column("k", sa.Integer, nullable=False),
        sa.Column("body", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("rollout", "metric", "k"),
    )
    _create_documents_and_notes()


def _create_documents_and_notes() -> None:
    op.create_table(
        "documents",
        sa.Column("id", sa.Integer, primary_key=True, autoincrement=True),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("body", sa.Text, nullable=False),
        sa.Column("digest", sa.Text, nullable=False),
        sa.Column("actor", sa.Text, nullable=False),
        sa.Column("at", sa.Text, nullable=False),
        sqlite_autoincrement=True,
    )
    op.create_index("documents_by_name", "documents", ["kind", "name", "id"])
    op.create_table(
        "leases",
        sa.Column("rollout", sa.Text, primary_key=True),
        sa.Column("owner", sa.Text, nullable=False),
        sa.Column("expires_at", sa.Text, nullable=False),
    )
    op.create_table("notes", sa.Column("key", sa.Text, primary_key=True), sa.Column("value", sa.Text, nullable=False))
