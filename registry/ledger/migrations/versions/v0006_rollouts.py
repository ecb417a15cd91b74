"""Rollouts: one row each, so that opening the ledger reads what is current and not all that there ever was."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    """Put the table in the place of the one that said who holds which target, and write its rows from the facts."""
    op.drop_index("one_holder_per_target")
    op.drop_table("targets")
    op.create_table(
        "rollouts",
        sa.Column("rollout", sa.Text, primary_key=True),
        *(sa.Column(name, sa.Integer, nullable=False) for name in ("place", "last")),
        *(sa.Column(name, sa.Text, nullable=False) for name in ("model", "variation", "version")),
        *(sa.Column(name, sa.Text, nullable=False) for name in ("strategy", "plan_digest")),
        *(sa.Column(name, sa.Text) for name in ("experiment", "follows")),
        *(sa.Column(name, sa.Text, nullable=False) for name in ("state", "reason")),
        *(sa.Column(name, sa.Boolean, nullable=False) for name in ("open", "holding")),
        *(sa.Column(name, sa.Text) for name in ("took_over_at", "ended_at")),
    )
    _create_indexes()
    from sluicegate.registry.ledger.rollout_rows import write_all_rows

    write_all_rows(op.get_bind())


def _create_indexes() -> None:
    op.create_index("rollouts_by_place", "rollouts", ["place"])
    op.create_index("rollouts_by_last", "rollouts", ["last"])
    op.create_index("rollouts_by_end", "rollouts", ["ended_at"])
    op.create_index("rollouts_by_target", "rollouts", ["model", "variation", "version"])
    op.create_index("rollouts_by_model", "rollouts", ["model", "place"])
    _index_some("open_rollouts", "open", ["place"])
    _index_some("comparisons", "experiment IS NOT NULL", ["experiment"])
    _index_some("followers", "follows IS NOT NULL", ["follows"])
    _index_some("takeovers", "took_over_at IS NOT NULL", ["model", "variation", "took_over_at"])
    _index_some("one_holder_per_target", "holding", ["model", "variation"], unique=True)


def _index_some(name: str, where: str, columns: list[str], *, unique: bool = False) -> None:
    op.create_index(
        name, "rollouts", columns, unique=unique, sqlite_where=sa.text(where), postgresql_where=sa.text(where)
    )
