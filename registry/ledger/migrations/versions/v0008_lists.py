"""Lists: indexes by which their first page is found without going through all that there ever was."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    """Make the indexes."""
    op.create_index("rollouts_by_state", "rollouts", ["state", "place"])
    of_experiments = sa.text("experiment IS NOT NULL")
    for name, columns in (("comparisons_by_place", ["place"]), ("comparisons_by_model", ["model", "place"])):
        op.create_index(name, "rollouts", columns, sqlite_where=of_experiments, postgresql_where=of_experiments)
