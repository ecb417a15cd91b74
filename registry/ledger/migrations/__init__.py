"""Alembic's folder of the ledger."""
