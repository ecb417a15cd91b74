"""Keepers: who leads by a lease, and who stands by."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    """Make the table."""
    op.create_table(
        "keepers",
        sa.Column("keeper", sa.Text, primary_key=True),
        sa.Column("term", sa.Integer, nullable=False),
        sa.Column("until", sa.Text),
        sa.Column("seen_at", sa.Text, nullable=False),
    )
