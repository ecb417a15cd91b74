"""Samples: readings of what other systems measure, for external gates."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Create the table."""
    op.create_table(
        "samples",
        sa.Column("rollout", sa.Text, nullable=False),
        sa.Column("gate", sa.Text, nullable=False),
        sa.Column("k", sa.Integer, nullable=False),
        sa.Column("epoch", sa.Integer, nullable=False),
        sa.Column("at", sa.Text, nullable=False),
        sa.Column("value", sa.Double),
        sa.Column("measured_at", sa.Text),
        sa.Column("lacking", sa.Text),
        sa.PrimaryKeyConstraint("rollout", "gate", "k"),
    )
