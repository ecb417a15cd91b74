"""Keeper: makes the world follow the ledger, and stops what must be stopped whether or not any flow is alive."""
