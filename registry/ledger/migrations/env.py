"""Runs the migrations on the connection, and in the transaction, that sluicegate.registry.ledger.migrate opened."""

from __future__ import annotations

from alembic import context

from sluicegate.registry.ledger.migrate import VERSION_TABLE

context.configure(connection=context.config.attributes["connection"], version_table=VERSION_TABLE)
context.run_migrations()
