"""Keeper: makes services and routes follow the ledger, and stops failing rollouts even while no flow is running."""
